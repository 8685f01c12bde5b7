"""Where the seconds of starts went: each second counts for one phase, though phases overlap and nest.

A worker imports its libraries while another process fetches the model, and then waits for that process. To stack such
phases would count seconds twice. So a second counts for the phase that began last, because an inner phase says more
than the one around it. It counts for `wait`, and for what a worker does early while it waits, only where no other phase
is under way. Where none is, the second has no name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cas.ops.report.starts import Start

UNNAMED = "no name"
"""The seconds that no phase covers."""

_SAMPLE = 500  # starts whose phases say in which order phases begin


class Span(NamedTuple):
    """One phase of a start.

    Attributes:
        name: of the phase.
        begun: seconds after the start began.
        seconds: wall time.
    """

    name: str
    begun: float
    seconds: float


def seconds_by_phase(spans: Sequence[Span], wall: float) -> dict[str, float]:
    """Return the seconds of a start by phase; their sum is the wall time of the start.

    Args:
        spans: the phases.
        wall: seconds of the whole start.
    """
    found: dict[str, float] = defaultdict(float)
    for seconds, under_way in _moments(spans, wall):
        found[max(under_way, key=_rank).name if under_way else UNNAMED] += seconds
    return dict(found)


def seconds_alone(start: Start, name: str) -> float:
    """Return for how many seconds of a start nothing but one phase was under way: so much it would be shorter without.

    What waits for that phase does not count as under way.
    """
    return sum(
        seconds
        for seconds, under_way in _moments(start.spans, start.seconds)
        if under_way and all(span.name == name or _is_beside(span) for span in under_way)
        if any(span.name == name for span in under_way)
    )


def mean_phases(starts: Sequence[Start]) -> dict[str, float]:
    """Return the mean seconds of each phase of the starts that succeeded, in the order in which the phases begin."""
    ready = [start for start in starts if start.ok]
    sums: dict[str, float] = defaultdict(float)
    begun: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for start in ready:
        for name, seconds in start.by_phase.items():
            sums[name] += seconds
    for start in ready[:_SAMPLE]:
        for span in start.spans:
            begun[span.name] += span.begun
            counts[span.name] += 1
    order = sorted(sums, key=lambda name: (name == UNNAMED, begun[name] / counts[name] if name in counts else 0.0))
    means = {name: round(sums[name] / len(ready), 4) for name in order}
    return {name: seconds for name, seconds in means.items() if seconds}


def _moments(spans: Sequence[Span], wall: float) -> Iterator[tuple[float, list[Span]]]:
    """Yield the pieces of a start in which the same phases are under way: the seconds of each, and these phases."""
    edges = {0.0, wall}
    for _, begun, seconds in spans:
        edges.add(min(max(begun, 0.0), wall))
        edges.add(min(max(begun + seconds, 0.0), wall))
    for begun, ended in pairwise(sorted(edges)):
        middle = (begun + ended) / 2
        yield ended - begun, [span for span in spans if span.begun <= middle < span.begun + span.seconds]


def _rank(span: Span) -> tuple[bool, float]:
    return not _is_beside(span), span.begun


def _is_beside(span: Span) -> bool:
    """Whether a phase only waits for others, or uses the time of that wait."""
    return span.name == "wait" or span.name.startswith("early.")
