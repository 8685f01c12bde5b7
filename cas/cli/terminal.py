"""Lines that fit the terminal: long names lose their middle, never their ends."""

from __future__ import annotations

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence

_ELLIPSIS = "…"
_SHORTEST = 8  # of a name, in columns; below that the whole line is cut


def width() -> int | None:
    """Columns of the terminal that standard output is, None when it is none: nothing is cut then."""
    return max(1, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def show(text: str) -> None:
    """Prints a line; characters that the output's encoding lacks become question marks."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))


def printable(name: str) -> str:
    """A name from a file that may come from a stranger, without what would steer a terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)


def columns(text: str) -> int:
    """Columns that a text takes up."""
    return sum(map(_cells, text))


def elided(text: str, room: int) -> str:
    """`text` in at most `room` columns, its middle left out where that is too little."""
    if columns(text) <= room:
        return text
    if room < 3:
        return _ELLIPSIS * min(room, 1)
    tail = _fitting(text[::-1], (room - 1) // 2)[::-1]
    return _fitting(text, room - 1 - columns(tail)) + _ELLIPSIS + tail


def fitted(before: str, name: str, after: str = "", room: int | None = None) -> str:
    """A line whose name loses its middle; room: columns of the terminal, None for no limit."""
    line = f"{before}{name}{after}".rstrip()
    if room is None or columns(line) <= room:
        return line
    left = room - columns(before) - columns(after)
    return elided(f"{before}{elided(name, left)}{after}" if left >= _SHORTEST else line, room)


def wrapped(text: str, room: int | None) -> list[str]:
    """A sentence in lines of at most `room` columns."""
    return textwrap.wrap(text, room) if room is not None else [text]


def branches(depths: Sequence[int]) -> list[str]:
    """What stands before each line of a tree, from how deep each is; parents stand before their children."""
    open_depths: set[int] = set()
    drawn = []
    for depth in reversed(depths):
        open_depths = {one for one in open_depths if one <= depth}
        trunk = "".join("│   " if level in open_depths else "    " for level in range(depth))
        drawn.append(f"{trunk}{'├── ' if depth in open_depths else '└── '}")
        open_depths.add(depth)
    return drawn[::-1]


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _fitting(text: str, room: int) -> str:
    """As much of the beginning as fits."""
    used = 0
    for index, character in enumerate(text):
        used += _cells(character)
        if used > room:
            return text[:index]
    return text
