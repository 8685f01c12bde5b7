"""Fuzz every parser of foreign bytes with atheris (libFuzzer): `python -m tools.fuzz`, `make fuzz`."""
