"""`cas gc`."""

from __future__ import annotations

import dataclasses
import datetime
import sys
from typing import TYPE_CHECKING

import click

from cas.cli import hints
from cas.cli.display import output, paint
from cas.cli.options import Settings, common
from cas.cli.units import Duration
from cas.errors import InputError

if TYPE_CHECKING:
    from cas.ops.gc.explain import Explained
    from cas.ops.gc.result import Collected

_SHORTEST_GRACE = datetime.timedelta(hours=1)


@click.command(short_help="Free what nothing uses.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be marked and deleted; change nothing.")
@click.option(
    "--grace", type=Duration(), default="24h", show_default=True, metavar="TIME", help="Leave alone what is younger."
)
@click.option(
    "--keep", type=click.IntRange(1), default=20, show_default=True, help="Versions that each tag and pin keeps."
)
@click.option(
    "--wait", type=Duration(), default="60s", show_default=True, metavar="TIME", help="Wait for those who publish."
)
@click.option("--force", is_flag=True, help="Take a grace period below an hour.")
@click.option("--explain", metavar="DIGEST", help="Say what keeps a chunk or a version, and do nothing.")
@common
def gc(
    settings: Settings,
    dry_run: bool,
    grace: datetime.timedelta,
    keep: int,
    wait: datetime.timedelta,
    force: bool,
    explain: str | None,
) -> None:
    """Free what no tag, pin or recent receipt needs, in two steps.

    A run marks for deletion what nothing needs; a later one, at least the grace period on, deletes what still is not
    needed. Run it once a day, from one place.
    """
    from cas.cli.display.progress import reporter_for
    from cas.cli.process import keep_memory_together
    from cas.ops.gc import collector
    from cas.store.store import open_store

    if explain:
        from cas.ops.gc.explain import explain as explained

        _explain(settings, explained(open_store(settings.store), explain, grace=grace, keep=keep))
        return
    if grace < _SHORTEST_GRACE and not force and not dry_run:
        raise InputError(
            f"--grace {grace.total_seconds():g}s is below an hour: a publish, restore or copy that is going on, or one "
            "whose clock differs, may need what this run deletes. Leave it out for a day, or add --force if you know "
            "that nothing else uses the store now"
        )
    store = open_store(settings.store)
    keep_memory_together()
    with reporter_for(settings) as reporter:
        done = collector.gc(
            store,
            grace=grace,
            keep=keep,
            dry_run=dry_run,
            wait=wait.total_seconds(),
            on_event=reporter.listen,
        )
    if done.put_off:
        paint.warn(sys.stderr, f"nothing was deleted, as somebody is publishing; run again later ({done.put_off})")
    if settings.json:
        output.document({**dataclasses.asdict(done), "store": store.url})
    elif not settings.quiet:
        output.print_store(settings, store)
        for line in _summary(done):
            print(hints.carry(line))


def _summary(done: Collected) -> list[str]:
    would = "would be " if done.dry_run else ""
    lines = [f"kept       {_chunks_and_versions(done.kept_chunks, done.kept_versions)}"]
    if done.swept_chunks or done.swept_versions:
        what = _chunks_and_versions(done.swept_chunks, done.swept_versions)
        lines.append(f"{would}deleted    {what}, {output.size(done.freed)}, marked before and still unused")
    if done.condemned_chunks or done.condemned_versions:
        what = _chunks_and_versions(done.condemned_chunks, done.condemned_versions)
        lines.append(f"{would}marked     {what}, {output.size(done.condemned)}, for deletion")
    if done.waiting:
        lines.append(f"waiting    {output.count(done.waiting, 'chunk')} marked for deletion before")
    if done.superseded_versions:
        what = output.count(done.superseded_versions, "superseded version")
        lines.append(f"{would}erased     {what}, {output.size(done.superseded)}, which the bucket still kept")
    if done.cleared:
        lines.append(f"cleared    {done.cleared} old entries, leases and uploads")
    if done.due:
        lines.append(f"next       `cas gc` after {done.due} deletes what is marked and still unused")
    if len(lines) == 1:
        lines.append("nothing to free")
    return lines


def _chunks_and_versions(chunks: int, versions: int) -> str:
    return f"{output.count(chunks, 'chunk')} and {output.count(versions, 'version')}"


def _explain(settings: Settings, found: Explained) -> None:
    if settings.json:
        output.document(dataclasses.asdict(found))
        return
    print(f"{found.kind} {found.name}")
    for words in (*found.kept_by, *(f"{version}, which nothing keeps" for version in found.needed_by)):
        print(f"  {'kept by' if words in found.kept_by else 'needed by'} {words}")
    if not found.kept_by:
        print("  nothing keeps it")
    for words in found.condemned:
        print(f"  {words}")
