"""`cas fsck`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from cas.cli import output
from cas.cli.options import Settings, common
from cas.errors import IntegrityError

if TYPE_CHECKING:
    from cas.ops.fsck.checker import Checked, Listed


def _share(ctx: click.Context, param: click.Parameter, given: str | None) -> float:
    """The share (0 to 1) of an option such as 5% or 0.5, which is in percent; 1 when the option is not given."""
    if given is None:
        return 1.0
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?%?", given) or not 0 < float(given.rstrip("%")) <= 100:
        raise click.BadParameter(f"{given!r} is no share: write a number up to 100, such as 5%", ctx, param)
    return float(given.rstrip("%")) / 100


@click.command(short_help="Re-hash what the store holds, and repair it.")
@click.argument("scope", metavar="[REF|MODEL]", required=False)
@click.option("--sample", callback=_share, metavar="PERCENT", help="Fetch only so many of the chunks, chosen anew.")
@click.option("--state", metavar="FILE", help="Go on from FILE, and keep it up to date; removed in the end.")
@click.option(
    "--repair-from",
    multiple=True,
    metavar="SOURCE",
    help="A store, a hub cache, a folder of weights, or hf: bytes to replace damaged ones. Repeatable.",
)
@click.option("--shard", metavar="N/OF", help="Check only this share of the chunks, such as 3/16, on this machine.")
@click.option(
    "--merge", multiple=True, metavar="FILE", help="Check nothing: sum up the --json of all shards. Repeatable."
)
@common
def fsck(
    settings: Settings,
    scope: str | None,
    sample: float,
    state: str | None,
    repair_from: tuple[str, ...],
    shard: str | None,
    merge: tuple[str, ...],
) -> None:
    """Re-hash what the store holds; exit code 4 while something is missing or damaged.

    MODEL is all versions of a model, MODEL:TAG and other references one; with neither, the whole store is checked, with
    what no version needs.
    """
    if merge:
        if scope or sample < 1 or state or repair_from or shard:
            raise click.UsageError("--merge takes results only: give no REF and no other option of a check")
        from cas.ops.fsck.merge import merge_files

        checked = merge_files(merge)
    else:
        checked = _check(settings, scope, sample, state, repair_from, shard)
    if settings.json:
        output.document({**msgspec.to_builtins(checked), "sound": checked.sound})
    else:
        for kind in ("missing", "corrupt", "undecodable", "repaired"):
            _print_damage(kind, getattr(checked, kind), quiet=settings.quiet and kind == "repaired")
    if not checked.sound:
        raise IntegrityError(_summary(checked, repair_from))
    if not settings.quiet:
        print(_all_sound(checked), file=sys.stderr)


def _check(
    settings: Settings,
    scope: str | None,
    sample: float,
    state: str | None,
    repair_from: tuple[str, ...],
    shard: str | None,
) -> Checked:
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.cli.progress import Reporter
    from cas.ops.fsck import checker
    from cas.ops.fsck.shard import parse_shard

    keep_memory_together()
    leave_cores_alone()
    with Reporter(quiet=settings.quiet, verbose=settings.verbose) as reporter:
        return checker.fsck(
            scope,
            settings.store,
            sample=sample,
            state=state,
            repair_from=repair_from,
            shard=parse_shard(shard) if shard else None,
            on_event=reporter.listen,
        )


def _print_damage(kind: str, listed: Listed, *, quiet: bool) -> None:
    for damage in () if quiet else listed.items:
        print(f"{kind:<11}  {damage}")
    if listed.count > len(listed.items) and not quiet:
        print(f"{kind:<11}  {listed.count - len(listed.items)} more")


def _summary(checked: Checked, repair_from: tuple[str, ...]) -> str:
    counts = (
        f"{checked.missing.count} missing, {checked.corrupt.count} corrupt, {checked.undecodable.count} undecodable"
    )
    scope = f"{checked.scope} in {checked.store}" if checked.scope else checked.store
    repaired = f", {checked.repaired.count} repaired" if checked.repaired.count else ""
    other = "another --repair-from" if repair_from else "--repair-from a store, a hub cache, a folder or hf"
    again = f"cas fsck {checked.scope}" if checked.scope else "cas fsck"
    items = [damage for kind in (checked.missing, checked.corrupt, checked.undecodable) for damage in kind.items]
    if items and all(damage.what == "ref" for damage in items):
        return f"{scope}: {counts}{repaired}: set the refs again with `cas tag` or `cas pin`"
    return (
        f"{scope}: {counts}{repaired}: repair it with `{again}` and {other}, or publish it again with "
        "`cas publish --force`"
    )


def _all_sound(checked: Checked) -> str:
    scope = checked.scope or checked.store
    what = f"{checked.versions} versions, {checked.checked} chunks, {output.size(checked.size)}"
    share = f" (a sample of {checked.chunks + checked.orphaned.count})" if checked.sample < 1 else ""
    repaired = f"; {checked.repaired.count} repaired" if checked.repaired.count else ""
    orphaned = checked.orphaned
    unused = f"; {orphaned.count} chunks ({output.size(orphaned.size)}) nothing needs: `cas gc` frees them"
    return f"{scope}: {what}{share}, all sound{repaired}{unused if orphaned.count else ''}"
