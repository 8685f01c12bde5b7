"""`cas history` and `cas rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cas.cli import output
from cas.cli.move import recorded
from cas.cli.options import Settings, common
from cas.formats.manifest import timestamp

if TYPE_CHECKING:
    from cas.refs.history import Past

_SHORT = 12


@click.command(short_help="Show what a tag or pin named, and who moved it.")
@click.argument("reference", metavar="REF")
@common
def history(settings: Settings, reference: str) -> None:
    """Show every move of the tag or pin REF, newest first; * marks the one in force. Times are the store's."""
    from cas.refs import history as past
    from cas.store.store import open_store

    found = past.history(open_store(settings.store), reference)[::-1]
    if settings.json:
        output.document([_document(one, in_force=one is found[0]) for one in found])
        return
    rows = [
        (f"{'*' if one is found[0] else ' '} {one.number}", _when(one), _version(one), one.move.entry.by or "-",
         one.error or one.move.entry.reason)
        for one in found
    ]  # fmt: skip
    output.table(("  ENTRY", "WHEN", "VERSION", "BY", "REASON"), rows)


@click.command(short_help="Move a tag or pin back to an earlier version.")
@click.argument("reference", metavar="REF")
@click.option("--to", metavar="REF2", help="The version, one that REF named before. Default: one step back.")
@recorded(None)
@common
def rollback(settings: Settings, reference: str, to: str | None, by: str | None, reason: str | None) -> None:
    """Move the tag or pin REF one step back, or to REF2; a removed one is put back.

    Called again it goes one step further back: what was rolled back is no longer on the way.
    """
    from cas.cli.progress import Reporter
    from cas.formats.digest import named
    from cas.refs import history as past
    from cas.store.store import open_store

    with Reporter(quiet=settings.quiet, verbose=settings.verbose) as reporter:
        done = past.rollback(open_store(settings.store), reference, to, reason=reason, by=by, listen=reporter.listen)
    exact = f"{done.ref.model}@{named(done.after)}"
    if settings.json:
        before = named(done.before) if done.before else None
        output.document({"ref": str(done.ref), "before": before, "reference": exact, "moved": done.moved})
        return
    came = f" (was {done.before[:_SHORT] if done.before else 'nothing'})" if done.moved else " (as before)"
    print(f"{done.ref} -> {exact}{came}")


def _document(one: Past, *, in_force: bool) -> dict[str, object]:
    entry = one.move.entry
    return {
        "entry": one.number,
        "name": one.move.name,
        "at": _when(one),
        "manifest": entry.manifest,
        "removed": not one.error and entry.manifest is None,
        "created": entry.created if not one.error else None,
        "by": entry.by,
        "reason": entry.reason,
        "in_force": in_force,
        "lost": one.lost,
        "error": one.error or None,
    }


def _when(one: Past) -> str:
    return timestamp(one.move.at)


def _version(one: Past) -> str:
    if one.error:
        return "unreadable"
    return f"{one.digest[:_SHORT] if one.digest else 'removed'}{' (lost)' if one.lost else ''}"
