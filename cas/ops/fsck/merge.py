"""The sum of the results of a check that several machines made, each of its share of the chunks.

cas fsck --shard 3/16 --json >3.json             on each machine
cas fsck --merge 1.json --merge 2.json …         when all have ended
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import msgspec

from cas.errors import InputError
from cas.formats.typed_json import JsonFormat
from cas.local.fs import read_bounded
from cas.ops.fsck.report import SHOWN, Checked, Listed, Orphans
from cas.ops.fsck.shard import parse_shard

_MAX_SIZE = 64 * 1024 * 1024  # bytes of a result; it names 5,000 objects at most

_RESULTS = JsonFormat[Checked](Checked)


def merge_files(paths: Sequence[str]) -> Checked:
    """Return the sum of results that `cas fsck --shard … --json` wrote.

    Args:
        paths: of the files, one for each share, in any order.

    Raises:
        InputError: a file is no such result, or a share is missing, there twice, or of another check.
    """
    return merge([_read(Path(path)) for path in paths], paths)


def merge(results: Sequence[Checked], names: Sequence[str], *, complete: bool = True) -> Checked:
    """Return the sum of the results of all shares of one check; raise InputError as `merge_files` does.

    Args:
        results: of the shares.
        names: of the results, as errors name them.
        complete: refuse results of which a share is missing.
    """
    first = results[0]
    found: dict[int, str] = {}
    for result, name in zip(results, names, strict=True):
        if result.shard is None:
            raise InputError(f"{name} is the result of a whole check: merge those of `cas fsck --shard`")
        shard = parse_shard(result.shard)
        if (result.store, result.scope, result.sample, shard.of) != (
            first.store, first.scope, first.sample, parse_shard(first.shard or "").of
        ):  # fmt: skip
            raise InputError(f"{name} is of another check than {names[0]}: merge the shards of one check")
        if shard.number in found:
            raise InputError(f"{name} and {found[shard.number]} are of the same shard {shard}: name each shard once")
        found[shard.number] = name
    of = parse_shard(first.shard or "").of
    missing = [f"{number}/{of}" for number in range(1, of + 1) if number not in found]
    if missing and complete:
        raise InputError(f"the result of shard {', '.join(missing[:8])} is missing: name that of every shard")
    ordered = sorted(results, key=lambda result: parse_shard(result.shard or ""))
    return Checked(
        store=first.store,
        scope=first.scope,
        sample=first.sample,
        refs=max(result.refs for result in results),
        versions=max(result.versions for result in results),
        chunks=sum(result.chunks for result in results),
        checked=sum(result.checked for result in results),
        size=sum(result.size for result in results),
        wire=sum(result.wire for result in results),
        missing=_sum([result.missing for result in ordered]),
        corrupt=_sum([result.corrupt for result in ordered]),
        undecodable=_sum([result.undecodable for result in ordered]),
        orphaned=Orphans(
            sum(result.orphaned.count for result in ordered),
            sum(result.orphaned.size for result in ordered),
            tuple(chain.from_iterable(result.orphaned.items for result in ordered))[:SHOWN],
        ),
        repaired=_sum([result.repaired for result in ordered]),
        seconds=max(result.seconds for result in results),
        orphaned_signatures=max(result.orphaned_signatures for result in results),
    )


def _sum(listed: Sequence[Listed]) -> Listed:
    items = tuple(chain.from_iterable(each.items for each in listed))
    return Listed(sum(each.count for each in listed), items[:SHOWN])


def _read(path: Path) -> Checked:
    try:
        return _RESULTS.decode(read_bounded(path, _MAX_SIZE))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): name the results of `cas fsck --json`") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no result of `cas fsck --shard … --json` ({error})") from None
