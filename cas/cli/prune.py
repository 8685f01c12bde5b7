"""`cas prune`."""

from __future__ import annotations

import dataclasses
import datetime
import sys
from typing import TYPE_CHECKING

import click

from cas.cli.display import output, paint
from cas.cli.display.table import Column, Kind
from cas.cli.options import Settings, cache_dir_option, common
from cas.cli.units import Duration, Size

if TYPE_CHECKING:
    from cas.ops.prune.result import Pruned


@click.command(short_help="Free what restores put on this machine.")
@click.option("--keep-free", type=Size(), metavar="SIZE", help="Stop when so much space is free, such as 20GB.")
@click.option(
    "--keep", type=click.IntRange(0), default=0, metavar="N", help="Keep the N versions of each model used last."
)
@click.option("--unused-for", type=Duration(), metavar="TIME", help="Keep what was used since, such as 30d.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be removed; change nothing.")
@cache_dir_option
@common
def prune(
    settings: Settings,
    keep_free: int | None,
    keep: int,
    unused_for: datetime.timedelta | None,
    dry_run: bool,
    cache_dir: str | None,
) -> None:
    """Free what restores put into this machine's hub cache, the versions used least recently first.

    Without options, every version goes that nothing uses; each can be restored again. What a `cas run` or a worker
    uses stays, and so does every file that no restore made.
    """
    from cas.cli.display.progress import reporter_for
    from cas.ops.prune import pruner

    with reporter_for(settings) as reporter:
        done = pruner.prune(
            cache_dir=cache_dir,
            keep_free=keep_free,
            keep=keep,
            unused_for=unused_for.total_seconds() if unused_for else 0.0,
            dry_run=dry_run,
            on_event=reporter.listen,
        )
    if settings.json:
        output.document(dataclasses.asdict(done))
    elif not settings.quiet:
        _print(settings, done)
    if keep_free is not None and done.free < keep_free and not settings.quiet:
        paint.warn(
            sys.stderr, f"{output.size(done.free)} are free, not {output.size(keep_free)}: nothing else may be removed"
        )


def _print(settings: Settings, done: Pruned) -> None:
    would = "would remove" if done.dry_run else "removed"
    rows = [
        (would, each.reference, each.last_use, f"{output.count(each.files, 'file')}, {output.size(each.freed)}")
        for each in done.removed
    ]
    rows += [("kept", each.reference, each.last_use, each.reason) for each in done.kept]
    if rows:
        columns = (
            Column("", Kind.NAME),
            Column("VERSION", Kind.DIGEST),
            Column("LAST USED", Kind.TIME, rank=1),
            Column("WHAT", Kind.TEXT),
        )
        output.table(settings, columns, rows)
    else:
        print(f"no restore has put anything into {done.hub}")
    freed = "would be freed" if done.dry_run else "freed"
    print(f"{output.size(done.freed)} {freed}, {output.size(done.free)} free")
