"""The JSON Schemas of what commands print with --json: the types they are made from, and what makes them."""
