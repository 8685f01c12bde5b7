"""Tables that fit the terminal.

Where standard output is no terminal, or with --no-trunc, no cell is cut, and times are exact. On a terminal, whose
width is the limit:

    cells that may be cut lose their middle, the longest first, down to a few columns
    columns that are dispensable are left out, and a note says which
    then what may be cut is cut further and, as the last resort, names lose their middle
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cas.cli.display import paint, terminal
from cas.cli.display.paint import Style
from cas.formats.digest import short
from cas.formats.printable import printable

if TYPE_CHECKING:
    from cas.cli.options import Settings

_GAP = "  "
_SHORTEST_TEXT, _SHORTEST = 12, 8  # columns, before others are left out and after


class Kind(enum.Enum):
    """What the cells of a column are."""

    NAME = enum.auto()
    """Whole, as it can be typed back, for as long as other columns can give way."""
    DIGEST = enum.auto()
    """A text with digests or commits, given whole; people see the first 12 digits of each."""
    TIME = enum.auto()
    """A time in ISO 8601; on a terminal, how long ago."""
    TEXT = enum.auto()
    """Loses its middle where the terminal is narrow."""
    NAMES = enum.auto()
    """Names with `, ` between them; where the terminal is narrow, the first ones, and how many more."""


_CUT = frozenset({Kind.TEXT, Kind.NAMES})


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        header: its name.
        kind: what its cells are.
        rank: when it is left out where the terminal is narrow, the highest first; 0: never.
    """

    header: str
    kind: Kind = Kind.NAME
    rank: int = 0


def print_table(settings: Settings, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below a header.

    Args:
        settings: the global options.
        columns: the columns.
        rows: a cell for each column; digests whole, times exact.
    """
    limit = None if settings.no_trunc else terminal.width()
    cells = [
        [
            _shown(cell, column.kind, whole=settings.no_trunc, exact=limit is None)
            for cell, column in zip(row, columns, strict=True)
        ]
        for row in rows
    ]
    kept, widths = _fitted(columns, cells, limit)
    if limit is not None and len(kept) < len(columns) and not settings.quiet:
        left_out = [column.header for index, column in enumerate(columns) if index not in kept]
        paint.line(sys.stderr, (terminal.elided(f"left out: {', '.join(left_out)} (see --no-trunc)", limit), Style.DIM))
    _print(
        [columns[index].header.ljust(width) for index, width in zip(kept, widths, strict=True)],
        [Style.BOLD] * len(kept),
        limit,
    )
    styles = [Style.DIM if columns[index].rank else Style.PLAIN for index in kept]
    for row in cells:
        cut = [_cut(row[index], columns[index].kind, width) for index, width in zip(kept, widths, strict=True)]
        _print(
            [text + " " * (width - terminal.columns(text)) for text, width in zip(cut, widths, strict=True)],
            styles,
            limit,
        )


def _shown(cell: str, kind: Kind, *, whole: bool, exact: bool) -> str:
    if kind is Kind.DIGEST:
        cell = cell if whole else short(cell)
    elif kind is Kind.TIME and not exact:
        from cas.cli.display.times import ago

        cell = ago(cell)
    return printable(cell)


def _fitted(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], limit: int | None
) -> tuple[list[int], list[int]]:
    """Return the columns that are shown, by their index, and the width of each."""
    kept = list(range(len(columns)))
    natural = [max(len(columns[index].header), *(terminal.columns(row[index]) for row in cells), 0) for index in kept]
    if limit is None:
        return kept, natural
    floors = [_floor(columns[index], [row[index] for row in cells], natural[index]) for index in kept]
    while True:
        room = limit - len(_GAP) * (len(kept) - 1)
        widths = _narrowed([natural[index] for index in kept], [floors[index] for index in kept], room)
        dispensable = max(kept, key=lambda index: (columns[index].rank, index))
        if sum(widths) <= room:
            return kept, widths
        if not columns[dispensable].rank:
            break
        kept.remove(dispensable)
    for last_resorts in (_CUT, _CUT | {Kind.NAME}):
        able = [columns[index].kind in last_resorts for index in kept]
        floors = [min(width, _SHORTEST) if cut else width for width, cut in zip(widths, able, strict=True)]
        widths = _narrowed(widths, floors, room)
    return kept, widths


def _floor(column: Column, cells: Sequence[str], natural: int) -> int:
    """The width below which a column is not cut before others are left out."""
    if column.kind is Kind.TEXT:
        return min(natural, max(_SHORTEST_TEXT, len(column.header)))
    if column.kind is Kind.NAMES:
        needed = [terminal.columns(_names_cut(cell, 0)) for cell in cells]
        return min(natural, max(len(column.header), *needed, 0))
    return natural


def _narrowed(widths: Sequence[int], floors: Sequence[int], room: int) -> list[int]:
    """Take from the widest column above its floor, again and again, until all fit or none can give."""
    widths = [min(width, max(room, floor)) for width, floor in zip(widths, floors, strict=True)]
    while sum(widths) > room:
        able = [index for index, floor in enumerate(floors) if widths[index] > floor]
        if not able:
            break
        widths[max(able, key=lambda index: widths[index])] -= 1
    return widths


def _cut(cell: str, kind: Kind, width: int) -> str:
    if terminal.columns(cell) <= width:
        return cell
    return terminal.elided(_names_cut(cell, width) if kind is Kind.NAMES else cell, width)


def _names_cut(cell: str, width: int) -> str:
    """As many names as fit, at least the shortest, and how many more there are."""
    names = cell.split(", ")
    for left in range(1, len(names)):
        shown = f"{', '.join(names[:-left])} +{left}"
        if terminal.columns(shown) <= width:
            return shown
    return f"{min(names, key=len)} +{len(names) - 1}" if len(names) > 1 else cell


def _print(cells: Sequence[str], styles: Sequence[Style], limit: int | None) -> None:
    """Print a line of cells; should it not fit all the same, it loses its end and its colours."""
    whole = _GAP.join(cells).rstrip()
    if limit is not None and terminal.columns(whole) > limit:
        paint.line(sys.stdout, (terminal.elided(whole, limit), Style.PLAIN))
        return
    last = max((index for index, cell in enumerate(cells) if cell.strip()), default=0)
    pieces = [(cell, style) for cell, style in zip(cells, styles, strict=True)][: last + 1]
    for index in range(len(pieces) - 1):
        pieces[index] = (f"{pieces[index][0]}{_GAP}", pieces[index][1])
    pieces[-1] = (pieces[-1][0].rstrip(), pieces[-1][1])
    paint.line(sys.stdout, *pieces)
