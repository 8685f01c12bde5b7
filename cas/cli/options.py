"""The options every command takes, before its name or after it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click


@dataclass(slots=True)
class Settings:
    """What the user asked of every command. store: None for the default."""

    store: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False


def common(function: Callable[..., None]) -> Callable[..., Any]:
    """Adds --store, --json, -q and -v to a command and hands it the merged Settings as its first argument."""

    @click.option(
        "--store", metavar="URL", help="s3://bucket/prefix, a path, or https://… to read. Default: CAS_STORE."
    )
    @click.option("--json", is_flag=True, help="One JSON document on standard output.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress; warnings and errors only.")
    @click.option("-v", "--verbose", is_flag=True, help="More notes, and tracebacks of errors.")
    @functools.wraps(function)
    def wrapped(store: str | None, json: bool, quiet: bool, verbose: bool, **given: Any) -> None:
        ctx = click.get_current_context()
        settings = ctx.ensure_object(Settings)
        settings.store = store or settings.store
        settings.json |= json
        settings.quiet |= quiet
        settings.verbose |= verbose
        if settings.quiet and settings.verbose:
            raise click.UsageError("-q and -v exclude each other", ctx)
        function(settings, **given)

    return wrapped
