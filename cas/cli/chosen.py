"""Which version a command is about: its REF, its --lock, or what the environment names."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cas.cli.options import Settings
from cas.errors import InputError

if TYPE_CHECKING:
    from cas.refs.selection import Choice

lock_option = click.option(
    "--lock", metavar="FILE", help="The version in a file that `cas lock` wrote, instead of REF."
)


def chosen_version(settings: Settings, reference: str | None, lock: str | None) -> Choice:
    """The version that a command is about, with the reason; raises InputError when nothing names one, or two do."""
    from cas import events
    from cas.cli.progress import Reporter
    from cas.refs import selection

    if reference is not None and lock is not None:
        raise InputError("REF and --lock name a version each: give one of them")
    if lock is not None:
        return selection.Choice(f"lock file {lock}", lock=Path(lock))
    if reference is not None:
        return selection.Choice("named by the caller", reference)
    chosen = selection.choose(os.environ, store=settings.store)
    Reporter(quiet=settings.quiet, verbose=settings.verbose, out=sys.stderr).listen(
        events.Noted(f"the version is {chosen}: {chosen.reason}")
    )
    return chosen
