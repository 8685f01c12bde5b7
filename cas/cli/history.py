"""`cas history`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cas.cli import output
from cas.cli.options import Settings, common

if TYPE_CHECKING:
    from cas.refs.history import PastMove


@click.command(short_help="Show what a tag or pin named, and who moved it.")
@click.argument("reference", metavar="REF")
@common
def history(settings: Settings, reference: str) -> None:
    """Show every move of the tag or pin REF, newest first; * marks the one in force. Times are the store's."""
    from cas.refs import history as past
    from cas.store.store import open_store

    found = past.history(open_store(settings.store), reference)[::-1]
    if settings.json:
        output.document([_document(entry, in_force=entry is found[0]) for entry in found])
        return
    rows = [
        (
            f"{'*' if entry is found[0] else ' '} {entry.number}",
            _when(entry),
            _version(entry),
            entry.move.entry.by or "-",
            entry.error or entry.move.entry.reason,
        )
        for entry in found
    ]
    output.table(("  ENTRY", "WHEN", "VERSION", "BY", "REASON"), rows)


def _document(past: PastMove, *, in_force: bool) -> dict[str, object]:
    entry = past.move.entry
    return {
        "entry": past.number,
        "name": past.move.name,
        "at": _when(past),
        "manifest": entry.manifest,
        "removed": not past.error and entry.manifest is None,
        "created": entry.created if not past.error else None,
        "by": entry.by,
        "program": entry.program or None,
        "reason": entry.reason,
        "in_force": in_force,
        "lost": past.lost,
        "error": past.error or None,
    }


def _when(past: PastMove) -> str:
    from cas.formats.manifest import timestamp

    return timestamp(past.move.at)


def _version(past: PastMove) -> str:
    if past.error:
        return "unreadable"
    return f"{output.short(past.digest) if past.digest else 'removed'}{' (lost)' if past.lost else ''}"
