"""How long starts take: median, 95th percentile and maximum, of all and by what they have in common, over time."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from cas.ops.report.phases import mean_phases
from cas.ops.report.starts import DIMENSIONS, Start

MOST = 50
"""Groups of a dimension that a report lists, those with the most starts."""

_HOURLY = datetime.timedelta(days=2)  # up to this length of time, an interval is one hour


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """The seconds of some starts.

    Attributes:
        starts: how many, those that failed among them.
        failed: how many failed; the seconds below are those of the others.
        p50: the median; None where none succeeded, as the two below.
        p95: the 95th percentile: the smallest value that 95 % of the starts do not exceed.
        max: the longest.
    """

    starts: int
    failed: int
    p50: float | None
    p95: float | None
    max: float | None


class Group(Spread, frozen=True, kw_only=True):
    """Starts that have something in common.

    Attributes:
        name: what they have in common.
        seconds: the sum of the seconds of those that succeeded.
        phases: mean seconds of each phase of those that succeeded; their sum is the mean of the seconds.
        over_time: their spread in each interval of time; None where there were none.
    """

    name: str
    seconds: float
    phases: dict[str, float]
    over_time: tuple[Spread | None, ...]


class Timeline:
    """Equal intervals of time that cover all starts: days, or hours where that is two days at most.

    Attributes:
        unit: `day` or `hour`.
        beginnings: of the intervals, UTC.
    """

    def __init__(self, starts: Sequence[Start]) -> None:
        """Cover the starts.

        Args:
            starts: in any order.
        """
        times = [start.at for start in starts]
        is_short = not times or max(times) - min(times) <= _HOURLY
        self.unit = "hour" if is_short else "day"
        self._step = datetime.timedelta(hours=1) if is_short else datetime.timedelta(days=1)
        self.beginnings: list[datetime.datetime] = []
        if times:
            first = min(times).replace(minute=0, second=0, microsecond=0)
            first = first if is_short else first.replace(hour=0)
            count = (max(times) - first) // self._step + 1
            self.beginnings = [first + number * self._step for number in range(count)]

    def split(self, starts: Iterable[Start]) -> list[list[Start]]:
        """Return the starts of each interval."""
        split: list[list[Start]] = [[] for _ in self.beginnings]
        for start in starts:
            split[(start.at - self.beginnings[0]) // self._step].append(start)
        return split


def spread(starts: Sequence[Start]) -> Spread:
    """Return the spread of some starts."""
    values = sorted(start.seconds for start in starts if start.ok)
    return Spread(
        starts=len(starts),
        failed=len(starts) - len(values),
        p50=percentile(values, 50),
        p95=percentile(values, 95),
        max=percentile(values, 100),
    )


def percentile(ordered: Sequence[float], share: int) -> float | None:
    """Return the nearest-rank percentile: the smallest value that `share` % of all do not exceed; None of nothing.

    Args:
        ordered: the values, ascending.
        share: percent, 1 to 100.
    """
    return round(ordered[-(-len(ordered) * share // 100) - 1], 3) if ordered else None


def groups(starts: Sequence[Start], timeline: Timeline) -> dict[str, tuple[Group, ...]]:
    """Return the groups of each dimension, those with the most starts first, at most MOST."""
    return {name: _groups(starts, timeline, name) for name in DIMENSIONS}


def _groups(starts: Sequence[Start], timeline: Timeline, dimension: str) -> tuple[Group, ...]:
    found: dict[str, list[Start]] = defaultdict(list)
    for start in starts:
        found[DIMENSIONS[dimension](start)].append(start)
    largest = sorted(found, key=lambda name: (-len(found[name]), name))[:MOST]
    return tuple(group(name, found[name], timeline) for name in largest)


def group(name: str, starts: Sequence[Start], timeline: Timeline) -> Group:
    """Return the group of some starts.

    Args:
        name: what they have in common.
        starts: all of them.
        timeline: the intervals.
    """
    return Group(
        **msgspec.structs.asdict(spread(starts)),
        name=name,
        seconds=round(sum(start.seconds for start in starts if start.ok), 1),
        phases=mean_phases(starts),
        over_time=tuple(spread(some) if some else None for some in timeline.split(starts)),
    )
