"""`cas fsck`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from cas.cli.display import output
from cas.cli.options import Settings, common, sign_with_option, use_signer
from cas.errors import CasError, IntegrityError, SignatureError

if TYPE_CHECKING:
    from cas.ops.fsck.checker import Checked, Listed
    from cas.ops.fsck.fleet_result import FleetChecked


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
@click.option(
    "--fleet",
    metavar="SCHEDULER",
    help="Let the workers of this Dask scheduler check it, such as tcp://10.0.0.1:8786. (pip: model-cas[fleet])",
)
@click.option(
    "--shards", type=click.IntRange(1, 256), metavar="N", help="Into how many shares --fleet cuts it. Default: 256."
)
@sign_with_option
@common
def fsck(
    settings: Settings,
    scope: str | None,
    sample: float,
    state: str | None,
    repair_from: tuple[str, ...],
    shard: str | None,
    merge: tuple[str, ...],
    fleet: str | None,
    shards: int | None,
    sign_with: str | None,
) -> None:
    """Re-hash what the store holds; exit code 4 while something is missing or damaged.

    MODEL is all versions of a model, MODEL:TAG and other references one; with neither, the whole store is checked, with
    what no version needs.
    """
    unchecked: dict[str, str] = {}
    code = 0
    if shards is not None and fleet is None:
        raise click.UsageError("--shards is for --fleet: --shard 3/16 checks one share on this machine")
    if merge:
        if scope or sample < 1 or state or repair_from or shard or fleet:
            raise click.UsageError("--merge takes results only: give no REF and no other option of a check")
        from cas.ops.fsck.merge import merge_files

        checked = merge_files(merge)
    elif fleet is not None:
        if repair_from or shard:
            raise click.UsageError("--fleet checks all shards and repairs none: give no --shard and no --repair-from")
        checked, unchecked, code = _check_by_fleet(settings, scope, sample, state, fleet, shards)
    else:
        checked = _check(settings, scope, sample, state, repair_from, shard, sign_with)
    if settings.json:
        more = {"unchecked": unchecked} if unchecked else {}
        output.document({**msgspec.to_builtins(checked), "sound": checked.sound and not unchecked, **more})
    else:
        for kind in ("missing", "corrupt", "undecodable", "repaired"):
            _print_damage(kind, getattr(checked, kind), quiet=settings.quiet and kind == "repaired")
    if unchecked:
        raise _incomplete(checked, unchecked, code)
    _refuse_rest(checked, repair_from)
    if not settings.quiet:
        print(_all_sound(checked), file=sys.stderr)


def _check(
    settings: Settings,
    scope: str | None,
    sample: float,
    state: str | None,
    repair_from: tuple[str, ...],
    shard: str | None,
    sign_with: str | None,
) -> Checked:
    from cas.cli.display.progress import reporter_for
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.ops.fsck import checker
    from cas.ops.fsck.shard import parse_shard
    from cas.store.store import open_store

    keep_memory_together()
    leave_cores_alone()
    store = open_store(settings.store)
    use_signer(store, sign_with)
    with reporter_for(settings) as reporter:
        return checker.fsck(
            scope,
            store,
            sample=sample,
            state=state,
            repair_from=repair_from,
            shard=parse_shard(shard) if shard else None,
            on_event=reporter.listen,
        )


def _check_by_fleet(
    settings: Settings, scope: str | None, sample: float, state: str | None, fleet: str, shards: int | None
) -> FleetChecked:
    from cas.cli.display.progress import reporter_for
    from cas.ops.fsck.fleet import MOST_SHARDS, fsck_by_fleet

    with reporter_for(settings) as reporter:
        return fsck_by_fleet(
            fleet,
            scope,
            settings.store,
            sample=sample,
            shards=shards or MOST_SHARDS,
            state=state,
            on_event=reporter.listen,
        )


def _print_damage(kind: str, listed: Listed, *, quiet: bool) -> None:
    for damage in () if quiet else listed.items:
        print(f"{kind:<11}  {damage}")
    if listed.count > len(listed.items) and not quiet:
        print(f"{kind:<11}  {listed.count - len(listed.items)} more")


def _refuse_rest(checked: Checked, repair_from: tuple[str, ...]) -> None:
    """Raise the error for damage that is left, or else for tags and pins that no trusted key signed."""
    if not checked.sound:
        raise IntegrityError(_summary(checked, repair_from))
    if checked.refused:
        raise SignatureError(f"{len(checked.refused)} tags or pins are not set again: {checked.refused[0]}")


def _incomplete(checked: Checked, unchecked: dict[str, str], code: int) -> CasError:
    """The error of a fleet's check some of whose shards failed: damage that was found, else why they failed."""
    from cas.ops.fsck.fleet_result import error_of, unchecked_summary

    missed = unchecked_summary(unchecked)
    if checked.sound:
        return error_of(code, f"{_all_sound(checked)}, but {missed}")
    return IntegrityError(f"{_summary(checked, ())}; {missed}")


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
        again = "set the refs again with `cas tag` or `cas pin`, then delete their malformed entries"
        return f"{scope}: {counts}{repaired}: {again}"
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
    alone = f"; {output.count(checked.orphaned_signatures, 'signature')} of no entry: `cas gc` removes them"
    return (
        f"{scope}: {what}{share}, all sound{repaired}{unused if orphaned.count else ''}"
        f"{alone if checked.orphaned_signatures else ''}"
    )
