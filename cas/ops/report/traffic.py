"""Where bytes came from, how many of them twice, and what fetched again what it had fetched before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from cas.ops.report.spread import Timeline
from cas.ops.report.starts import Start

SOURCES = ("store", "CDN", "mirror", "hub", "this machine", "present")
"""Where the bytes of a version come from; `present` were complete and verified before the start."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of some starts.

    Attributes:
        sources: plain bytes by where they came from.
        over_time: the same in each interval of time.
        by_version: the same for each version.
        wire: bytes that crossed the connection.
        twice: bytes that arrived twice, because a chunk was far behind and was asked for again.
        second_requests: how many chunks were asked for again.
        won: how many of these second requests were the faster ones.
        again: plain bytes that a machine fetched although it had fetched the same version before.
        again_starts: how many starts did that.
    """

    sources: dict[str, int]
    over_time: tuple[dict[str, int], ...]
    by_version: dict[str, dict[str, int]]
    wire: int
    twice: int
    second_requests: int
    won: int
    again: int
    again_starts: int


def traffic(starts: Sequence[Start], timeline: Timeline) -> Traffic:
    """Return the bytes of some starts, the failed ones among them.

    Args:
        starts: oldest first.
        timeline: the intervals.
    """
    by_version: dict[str, list[Start]] = defaultdict(list)
    for start in starts:
        by_version[start.version].append(start)
    again = fetched_again(starts)
    return Traffic(
        sources=_sum(starts),
        over_time=tuple(_sum(some) for some in timeline.split(starts)),
        by_version={version: _sum(some) for version, some in sorted(by_version.items())},
        wire=sum(start.wire for start in starts),
        twice=sum(start.twice for start in starts),
        second_requests=sum(start.second_requests for start in starts),
        won=sum(start.won for start in starts),
        again=sum(fetched(start) for start in again),
        again_starts=len(again),
    )


def fetched(start: Start) -> int:
    """Return the bytes that crossed a network."""
    return sum(start.sources.get(source, 0) for source in ("store", "CDN", "mirror"))


def fetched_again(starts: Sequence[Start]) -> list[Start]:
    """Return the starts that fetched most of a version on a machine that had restored it before.

    Args:
        starts: oldest first.
    """
    seen: set[tuple[str, str]] = set()
    found = []
    for start in starts:
        key = (start.host, start.digest)
        if key in seen and 2 * fetched(start) > start.total:
            found.append(start)
        if start.ok:
            seen.add(key)
    return found


def _sum(starts: Sequence[Start]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for start in starts:
        sums.update(start.sources)
    return {source: sums[source] for source in SOURCES if sums[source]}
