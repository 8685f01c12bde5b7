"""`cas report`."""

from __future__ import annotations

import datetime
import sys
from typing import TYPE_CHECKING

import click

from cas.cli.display import output, paint
from cas.cli.options import Settings, common
from cas.cli.units import Duration

if TYPE_CHECKING:
    from cas.ops.report.figures import Report

_ADVICE = 3  # shown in the terminal; the page has all


@click.command(short_help="Write one page about every start, and what to fix.")
@click.argument("about", metavar="[MODEL|DEPLOYMENT]", required=False)
@click.option(
    "-o", "--output", "path", metavar="FILE", help="Where to write the page. Default: report.html; -: stdout."
)
@click.option(
    "--since", type=Duration(), default="30d", show_default=True, metavar="TIME", help="How far back to look."
)
@click.option("--price", type=float, metavar="DOLLARS", help="What a GB in the store costs a month.")
@click.option("--no-store", is_flag=True, help="Leave out what the store holds, which takes long where it is large.")
@click.option("--benchmark", metavar="FILE", help="Show the results of `make bench` in this file, too.")
@common
def report(
    settings: Settings,
    about: str | None,
    path: str | None,
    since: datetime.timedelta,
    price: float | None,
    no_store: bool,
    benchmark: str | None,
) -> None:
    """Write one page (HTML) about the starts that left receipts: how long they took by version, deployment, datacenter,
    host and GPU, in which phases, where bytes came from, what failed, what to fix first, and what the store costs.

    The page is one file, which needs no network. With --json, print the same figures; then a page is written only
    where -o says so.
    """
    from cas.cli.display.progress import reporter_for
    from cas.ops.report import reporter
    from cas.ops.report.page import page

    if path is None and not settings.json:
        path = "report.html"
    with reporter_for(settings) as progress:
        found = reporter.report(
            about,
            settings.store,
            since=since,
            price=price,
            with_store=not no_store,
            benchmark=benchmark,
            path=None if path == "-" else path,
            on_event=progress.listen,
        )
    if found.unread:
        paint.warn(sys.stderr, f"{output.count(found.unread, 'receipt')} cannot be read, and count nowhere")
    if settings.json:
        import msgspec

        output.document(msgspec.to_builtins(found))
    elif path == "-":
        sys.stdout.buffer.write(page(found))
    elif not settings.quiet:
        for line in _summary(found):
            print(line)
        print(f"page      {path}")


def _summary(found: Report) -> list[str]:
    everything = found.all
    if not everything.starts:
        hint = "`cas restore --receipt`, CAS_RECEIPT=1 and the RunPod worker write receipts"
        of = f" of {found.about}" if found.about else ""
        return [f"starts    none{of} since {found.since[:10]}: {hint}"]
    lines = [f"starts    {everything.starts:,}, of which {everything.failed:,} failed"]
    if everything.p50 is not None and everything.p95 is not None and everything.max is not None:
        lines.append(f"seconds   {everything.p50:.1f} median, {everything.p95:.1f} p95, {everything.max:.1f} longest")
    for advice in found.advice[:_ADVICE]:
        saves = f" ({_saves(advice.seconds, at_most=advice.at_most)})" if advice.seconds else ""
        lines.append(f"fix       {advice.title}{saves}")
    if found.stored:
        lines.append(f"store     {output.size(found.stored.stored)} in {output.count(found.stored.count, 'version')}")
    return lines


def _saves(seconds: float, *, at_most: bool) -> str:
    return f"{'at most ' if at_most else ''}{seconds:,.0f} s"
