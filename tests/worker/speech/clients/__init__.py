"""Programs that run in the worker's environment and answer with JSON."""
