"""Programs that are measured as a whole: each is the shortest use of a library that a person would write."""
