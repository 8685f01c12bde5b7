"""Timings against peers, on the same files in the same run: `python -m tools.bench`."""
