"""`cas audit`."""

from __future__ import annotations

import datetime
import sys
from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.display.table import Column, Kind
from cas.cli.options import Settings, common
from cas.cli.units import Duration

if TYPE_CHECKING:
    from cas.ops.audit.result import Audit, AuditedMove, Run


@click.command(short_help="Say who released what, and what is not signed.")
@click.argument("reference", metavar="[REF]", required=False)
@click.option(
    "--since",
    type=Duration(),
    default="30d",
    show_default=True,
    metavar="TIME",
    help="Leave alone receipts, and past moves that did not count, that are older.",
)
@common
def audit(settings: Settings, reference: str | None, since: datetime.timedelta) -> None:
    """Say for each deployment and tag who released what when, and who signed it; with REF, each move of that one.

    Exit code 8 when something is wrong: the entry in force is not signed by a trusted key, was altered, or lies below
    the floor; a log or a manifest is gone; a receipt tells of a version that no signed entry names; or no keys are
    trusted here, so that nothing was checked.
    """
    from cas.cli.display.progress import reporter_for
    from cas.errors import SignatureError
    from cas.ops.audit import auditor

    with reporter_for(settings) as reporter:
        found = auditor.audit(reference, settings.store, since=since, on_event=reporter.listen)
    if settings.json:
        output.document(found.document())
    else:
        _print(settings, found, every_move=reference is not None)
    if found.problems:
        raise SignatureError(
            f"{output.count(len(found.problems), 'problem')} in {found.store}: "
            + ("see above" if not settings.json else "see `problems`")
        )
    if not settings.quiet:
        looked = f"{output.count(len(found.refs), 'ref')} and {output.count(found.receipts, 'receipt')}"
        print(f"{found.store}: {looked}, nothing is wrong", file=sys.stderr)


def _print(settings: Settings, found: Audit, *, every_move: bool) -> None:
    from cas.cli.display.terminal import print_line
    from cas.formats.printable import printable

    quiet = settings.quiet
    rows = []
    for ref in found.refs:
        for move in reversed(ref.moves) if every_move else (ref.last,):
            mark = ("* " if move.in_force else "  ") if every_move else ""
            rows.append(
                (
                    str(ref.ref),
                    f"{mark}{move.entry}",
                    _version(move),
                    move.at,
                    move.by or "-",
                    _signed_by(found, move),
                    "lost to another move" if move.is_lost else move.reason,
                )
            )
    if rows and not quiet:
        columns = (
            Column("REF"),
            Column("ENTRY"),
            Column("VERSION", Kind.DIGEST),
            Column("WHEN", Kind.TIME, rank=2),
            Column("BY", Kind.TEXT, rank=1),
            Column("SIGNED BY", Kind.TEXT),
            Column("REASON", Kind.TEXT, rank=3),
        )
        output.table(settings, columns, rows)
    if found.runs and not quiet:
        if rows:
            print_line("")
        output.table(
            settings,
            (
                Column("DEPLOYMENT"),
                Column("RAN", Kind.DIGEST),
                Column("RECEIPTS", rank=1),
                Column("LAST", Kind.TIME, rank=2),
                Column("RELEASED AS", Kind.TEXT),
            ),
            [
                (
                    run.deployment,
                    f"{run.model}@{_digits(run.manifest)}",
                    str(run.count),
                    run.last,
                    _released(found, run),
                )
                for run in found.runs
            ],
        )
    if (rows or found.runs) and not quiet and (found.problems or found.notes or any(ref.floor for ref in found.refs)):
        print_line("")
    for ref in found.refs:
        if ref.floor and not quiet:
            forbidden = sum(move.entry < ref.floor for move in ref.moves)
            print_line(f"floor    {ref.ref}: {ref.floor}, which forbids {output.count(forbidden, 'move')} of its log")
    for problem in found.problems:
        print_line(f"{'problem':<8} {printable(output.short(problem.text, whole=settings.no_trunc))}")
    for note in found.notes if not quiet else ():
        print_line(f"{'note':<8} {printable(note.text)}")


def _version(move: AuditedMove) -> str:
    if move.manifest is None:
        return "removed" if move.created else "unreadable"
    return _digits(move.manifest)


def _digits(manifest: str) -> str:
    return manifest.removeprefix("blake3:")


def _released(found: Audit, run: Run) -> str:
    return f"{run.ref} entry {run.entry} of {run.at} by {run.by or '?'}, {_called(found, run.key_id) or 'not checked'}"


def _signed_by(found: Audit, move: AuditedMove) -> str:
    """Who signed a move, as it is proven; where no keys are trusted, as it says."""
    if move.problem:
        return move.problem
    if move.key_id:
        return _called(found, move.key_id)
    return f"{', '.join(move.signers)} (not checked)" if move.signers else "-"


def _called(found: Audit, key_id: str) -> str:
    name = found.trusted.get(key_id)
    return f"{key_id} ({name})" if name else key_id
