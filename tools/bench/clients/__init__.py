"""Programs that are measured as they are: the shortest use of a library that a person would write."""
