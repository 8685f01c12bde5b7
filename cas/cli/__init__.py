"""The `cas` command."""

from cas.cli.main import main

__all__ = ["main"]
