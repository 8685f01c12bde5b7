"""One start as a waterfall: a bar for each phase on a common axis of time, which is as wide as the terminal.

A phase that lies within another one is indented below it, and its bar is lighter: it shares that one's time. The time
that no phase covers has a line of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cas.cli.display import terminal
from cas.formats.printable import printable
from cas.store.receipt import Interval, covered

WIDE = 100
"""Columns of the drawing where there is no terminal."""

_LONGEST_NAME = 24  # columns
_SHORTEST_BAR = 12  # columns
_STEPS = (1, 2, 5)  # ticks of the axis lie at these times a power of ten
_SLACK = 1e-3  # seconds by which a phase may stick out of the one that it lies within
_MOST = 200  # lines: a receipt that claims more phases is no start that anybody looks at


class _Marks(NamedTuple):
    outer: str
    inner: str
    none: str


_BLOCKS = _Marks("█", "▒", "·")
_ASCII = _Marks("#", "=", ".")


def waterfall(
    intervals: Sequence[Interval], began: float, ended: float, details: Mapping[int, str], limit: int | None = None
) -> list[str]:
    """Return the lines of the drawing.

    Args:
        intervals: when each phase was under way, in the order of their beginnings.
        began: the beginning of the axis, in seconds as those of the intervals.
        ended: its end.
        details: what stands behind the seconds of an interval, by its place among them.
        limit: columns of a line; None for WIDE.
    """
    limit = limit or WIDE
    marks = _marks()
    depths = _depths(intervals[:_MOST])
    labels = [
        terminal.elided(f"{'  ' * min(depth, 4)}{printable(interval.name)}", _LONGEST_NAME)
        for interval, depth in zip(intervals[:_MOST], depths, strict=False)
    ]
    names = max([len("no phase"), *map(terminal.columns, labels)])
    seconds = [f"{interval.ended - interval.begun:8.2f} s" for interval in intervals]
    tails = [f"{text}  {details.get(at, '')}".rstrip() for at, text in enumerate(seconds)]
    widest = max(map(terminal.columns, tails[:_MOST]), default=0)
    bar = limit - names - widest - 3
    if bar < _SHORTEST_BAR:  # the details give way before the bars do
        tails = seconds
        bar = max(_SHORTEST_BAR, limit - names - 13)
    scale = bar / (ended - began) if ended > began else 0.0
    lines = [f"{'':{names}}  {_axis(began, ended, bar)}".rstrip()]
    for label, tail, interval, depth in zip(labels, tails, intervals, depths, strict=False):
        mark = marks.inner if depth else marks.outer
        blanks = " " * (names - terminal.columns(label))
        lines.append(f"{label}{blanks}  {_bar(interval, began, scale, bar, mark)} {tail}")
    if len(intervals) > _MOST:
        lines.append(f"… and {len(intervals) - _MOST:,} more phases")
    gaps = [_bar(gap, began, scale, bar, marks.none) for gap in _gaps(intervals, began, ended)]
    drawn = "".join(marks.none if marks.none in column else " " for column in zip(*gaps, strict=True)) or " " * bar
    rest = max(0.0, (ended - began) - covered(intervals))
    share = f"  {100 * rest / (ended - began):.1f} %" if ended > began else ""
    lines.append(f"{'no phase':{names}}  {drawn} {rest:8.2f} s{share}")
    return [terminal.elided(line, limit) for line in lines]


def _marks() -> _Marks:
    try:
        "".join(_BLOCKS).encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return _ASCII
    return _BLOCKS


def _depths(intervals: Sequence[Interval]) -> list[int]:
    """Return for each interval within how many others it lies, one in the other."""
    depths: list[int] = []
    around: list[Interval] = []
    for interval in intervals:
        around = [outer for outer in around if interval.ended <= outer.ended + _SLACK]
        depths.append(len(around))
        around.append(interval)
    return depths


def _bar(interval: Interval, began: float, scale: float, width: int, mark: str) -> str:
    begin = min(width - 1, int((interval.begun - began) * scale))
    end = min(width, max(begin + 1, round((interval.ended - began) * scale)))
    return f"{' ' * begin}{mark * (end - begin)}{' ' * (width - end)}"


def _gaps(intervals: Sequence[Interval], began: float, ended: float) -> list[Interval]:
    gaps, at = [], began
    for interval in intervals:
        if interval.begun - at > _SLACK:
            gaps.append(Interval("", at, interval.begun))
        at = max(at, interval.ended)
    return [*gaps, Interval("", at, ended)] if ended - at > _SLACK else gaps


def _axis(began: float, ended: float, width: int) -> str:
    """Return the line with the times, in seconds from the beginning."""
    span = ended - began
    if span <= 0:
        return "0 s"
    power = 1e-3
    while not any(width * step * power / span >= 12 for step in _STEPS):
        power *= 10
    tick = next(step * power for step in _STEPS if width * step * power / span >= 12)
    line, at = "", 0.0
    while at <= span:
        place = int(at / span * width)
        label = f"{at:g} s" if place else "0 s"
        if place + len(label) <= width:
            line = f"{line:{place}}{label}" if len(line) <= place else line
        at = round(at + tick, 6)
    return line
