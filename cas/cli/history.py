"""`cas history`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.display.table import Column, Kind
from cas.cli.options import Settings, common

if TYPE_CHECKING:
    from cas.refs.entry import RefEntry
    from cas.refs.past_moves import PastMove


@click.command(short_help="Show what a tag or pin named, and who moved it.")
@click.argument("reference", metavar="REF")
@common
def history(settings: Settings, reference: str) -> None:
    """Show every move of the tag or pin REF, newest first; * marks the one in force. Times are the store's.

    Where moves are signed, a column says by which keys; with (?) that is not verified, as no key is trusted here.
    """
    from cas.refs import history as past
    from cas.store.store import open_store

    store = open_store(settings.store)
    found = past.history(store, reference)[::-1]
    if settings.json:
        verified = store.trust is not None
        output.document([_document(entry, in_force=entry is found[0], verified=verified) for entry in found])
        return
    if settings.quiet:
        from cas.refs.ref_named import ref_named

        model = ref_named(store, reference).model
        versions = [f"{model}@{entry.digest}" for entry in found if entry.digest and not entry.problem]
        output.ids(output.short(version, whole=settings.no_trunc) for version in versions)
        return
    columns = [
        Column("  ENTRY"),
        Column("WHEN", Kind.TIME),
        Column("VERSION", Kind.DIGEST),
        Column("BY", Kind.TEXT, rank=1),
        Column("REASON", Kind.TEXT, rank=2),
    ]
    rows = [
        [
            f"{'*' if entry is found[0] else ' '} {entry.number}",
            _when(entry),
            _version(entry),
            _told(entry).by or "-",
            _reason(entry),
        ]
        for entry in found
    ]
    if store.trust is not None or any(entry.signers for entry in found):
        columns.append(Column("SIGNED BY" if store.trust is not None else "SIGNED BY (?)", Kind.TEXT, rank=3))
        for row, entry in zip(rows, found, strict=True):
            row.append(_signer(entry))
    output.table(settings, columns, rows)


def _told(past: PastMove) -> RefEntry:
    """What the entry says, also where that does not count."""
    return past.claimed or past.move.entry


def _reason(past: PastMove) -> str:
    return past.error if past.problem == "unreadable" else _told(past).reason


def _signer(past: PastMove) -> str:
    """The keys that signed an entry, or why it does not count."""
    if past.problem == "unreadable":
        return "-"
    return past.problem or past.move.key_id or ", ".join(past.signers) or "-"


def _document(past: PastMove, *, in_force: bool, verified: bool) -> dict[str, object]:
    entry = past.move.entry
    return {
        "entry": past.number,
        "name": past.move.name,
        "at": _when(past),
        "manifest": None if past.problem else entry.manifest,
        "removed": not past.error and entry.manifest is None,
        "created": entry.created if not past.error else None,
        "by": entry.by,
        "program": entry.program or None,
        "reason": entry.reason,
        "in_force": in_force,
        "lost": past.lost,
        "error": past.error or None,
        "signers": [past.move.key_id] if past.move.key_id else past.signers,
        "verified": verified and not past.error,
        "problem": past.problem or None,
        "claimed": _told(past).manifest if past.problem else None,
    }


def _when(past: PastMove) -> str:
    from cas.formats.manifest import timestamp

    return timestamp(past.move.at)


def _version(past: PastMove) -> str:
    if past.problem and not past.claimed and not past.move.key_id:
        return "unreadable"
    if past.problem:
        digest = _told(past).digest
        return f"{digest if digest else 'removed'} (does not count)"
    return f"{past.digest if past.digest else 'removed'}{' (lost)' if past.lost else ''}"
