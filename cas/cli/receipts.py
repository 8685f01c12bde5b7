"""`cas receipts`."""

from __future__ import annotations

import datetime
import sys
from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.display.table import Column, Kind
from cas.cli.options import Settings, common
from cas.cli.units import Duration
from cas.errors import InputError

if TYPE_CHECKING:
    from cas.store.receipt import Bytes, Receipt
    from cas.store.receipts import Stored

_SHORT_ID = 8  # digits


@click.command(short_help="List what started where and how fast, or draw one start.")
@click.argument("words", metavar="[MODEL|DEPLOYMENT|show ID]", nargs=-1)
@click.option("--since", type=Duration(), default="7d", show_default=True, metavar="TIME", help="Leave out older ones.")
@click.option("--until", type=Duration(), default="0", metavar="TIME", help="Leave out younger ones.")
@click.option("--failed", is_flag=True, help="Only restores and boots that failed.")
@click.option("-n", "--last", type=click.IntRange(1), metavar="N", help="Only the newest N.")
@common
def receipts(
    settings: Settings,
    words: tuple[str, ...],
    since: datetime.timedelta,
    until: datetime.timedelta,
    failed: bool,
    last: int | None,
) -> None:
    """List the starts that receipts tell of, newest first: of a MODEL or a version of it, of a DEPLOYMENT, or all.

    `cas receipts show ID` draws one start as a waterfall: when each phase was under way, how long it took, what it
    moved. ID is one of the list, or `latest`. A receipt is kept where --receipt or CAS_RECEIPT=1 asks for it; the
    RunPod worker leaves one of every boot.
    """
    if words[:1] == ("show",):
        if len(words) != 2:
            raise InputError("name one receipt: `cas receipts show ID`, or `cas receipts show latest`")
        _show(settings, words[1])
        return
    if len(words) > 1:
        raise InputError(f"name one model or deployment, not {len(words)}: or leave all out to list everything")
    from cas.ops.inspect import receipts as operation

    found = operation.receipts(
        words[0] if words else None, settings.store, since=since, until=until, failed=failed, last=last
    )
    for key in found.damaged:
        from cas.cli.display import paint

        paint.warn(sys.stderr, f"the receipt {key} cannot be read, and is left out")
    if settings.json:
        output.document([operation.document(one) for one in found.receipts])
        return
    if settings.quiet:
        output.ids(one.id if settings.no_trunc else one.id[:_SHORT_ID] for one in found.receipts)
        return
    if not found.receipts:
        kind = "failed start" if failed else "receipt"
        print(
            f"no {kind} in this time: --since 90d looks further back; restores keep receipts with --receipt, or where "
            "CAS_RECEIPT=1 is set",
            file=sys.stderr,
        )
        return
    output.table(settings, _COLUMNS, [_row(settings, one) for one in found.receipts])
    if found.left_out:
        print(f"{output.count(found.left_out, 'older receipt')} left out", file=sys.stderr)


_COLUMNS = (
    Column("ID"),
    Column("WHEN", Kind.TIME),
    Column("MODEL"),
    Column("VERSION", Kind.DIGEST, rank=2),
    Column("DEPLOYMENT", rank=1),
    Column("WHERE", Kind.TEXT, rank=4),
    Column("SECONDS"),
    Column("BYTES", Kind.TEXT, rank=3),
    Column("RESULT", Kind.TEXT),
)


def _row(settings: Settings, one: Stored) -> tuple[str, ...]:
    receipt = one.receipt
    return (
        one.id if settings.no_trunc else one.id[:_SHORT_ID],
        receipt.when,
        receipt.model,
        receipt.manifest.removeprefix("blake3:"),
        receipt.deployment,
        _where(receipt),
        f"{receipt.wall:.2f}",
        _bytes(receipt.bytes),
        "ok" if receipt.error is None and receipt.ok else _cause(receipt),
    )


def _where(receipt: Receipt) -> str:
    host = receipt.host
    return " ".join(filter(None, (host.datacenter, host.pod or host.hostname, ", ".join(sorted(set(host.gpus))))))


def _bytes(moved: Bytes) -> str:
    parts = ((moved.fetched, "fetched"), (moved.reused, "reused"), (moved.present or 0, "here before"))
    return ", ".join(f"{output.size(size)} {word}" for size, word in parts if size) or "none"


def _cause(receipt: Receipt) -> str:
    return f"{receipt.error.kind}: {receipt.error.message}" if receipt.error else "failed"


def _show(settings: Settings, identity: str) -> None:
    from cas.cli.display import terminal
    from cas.cli.display.waterfall import waterfall
    from cas.ops.inspect import receipts as operation

    one = operation.receipt(identity, settings.store)
    if settings.json:
        output.document(operation.document(one))
        return
    if settings.quiet:
        output.ids([one.id if settings.no_trunc else one.id[:_SHORT_ID]])
        return
    receipt = one.receipt
    limit = None if settings.no_trunc else terminal.width()
    version = output.short(f"{receipt.model}@{receipt.manifest.removeprefix('blake3:')}", whole=settings.no_trunc)
    facts: list[tuple[str, str]] = [
        ("receipt", f"{one.id} of {receipt.when}"),
        ("version", f"{version} ({receipt.reason})"),
        ("deployment", receipt.deployment),
        ("where", f"{_where(receipt)}, {output.count(receipt.host.cores, 'core')}"),
    ]
    if receipt.directory:
        facts.append(("directory", f"{receipt.directory} ({receipt.directory_reason})"))
    facts.append(("bytes", f"{output.size(receipt.bytes.total)}: {_bytes(receipt.bytes)}"))
    facts.append(("result", "ok" if receipt.ok else _cause(receipt)))
    for name, text in facts:
        _print_fact(name, text, limit)
    terminal.print_line("")
    intervals = receipt.intervals()
    for line in waterfall(intervals, receipt.began, receipt.ended, _details(receipt), limit):
        terminal.print_line(line)
    terminal.print_line("")
    _print_fact("total", f"{receipt.wall:.2f} s, of which phases name {100 * share_named(receipt):.1f} %", limit)


def share_named(receipt: Receipt) -> float:
    """Return which share of a start's time some phase covers."""
    return receipt.named / receipt.wall if receipt.wall else 1.0


def _print_fact(name: str, text: str, limit: int | None) -> None:
    from cas.cli.display import terminal
    from cas.formats.printable import printable

    text = printable(text)
    terminal.print_line(terminal.fitted(f"{name:<11}", text, limit=limit))


def _details(receipt: Receipt) -> dict[int, str]:
    """Return bytes and rate of the phases that move some, by their place; of several of one name, of the longest."""
    moved = {"fetch": receipt.bytes.wire, "copy": receipt.bytes.reused}
    seconds_of = [(interval.name, interval.ended - interval.begun) for interval in receipt.intervals()]
    found = {}
    for name, size in moved.items():
        places = [at for at, (of_phase, _) in enumerate(seconds_of) if of_phase == name]
        if size and places:
            place = max(places, key=lambda at: seconds_of[at][1])
            seconds = seconds_of[place][1]
            found[place] = output.size(size) + (f", {output.size(size / seconds)}/s" if seconds > 0 else "")
    return found
