"""Lines that fit the terminal: a name that is too long loses its middle, never its ends.

Lengths are in columns of the terminal: a wide character takes two, a combining mark none. A limit of None means that
nothing is cut.
"""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Sequence

_ELLIPSIS = "…"
_SHORTEST_NAME = 8  # columns; when a name would get fewer, the whole line is cut instead
_NARROW = 20  # columns, below which even what can be typed back is broken


def width() -> int | None:
    """Columns of the terminal that standard output is; None when it is no terminal."""
    return max(1, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def print_line(text: str) -> None:
    """Print a line; characters that the output's encoding lacks become question marks."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))


def columns(text: str) -> int:
    """Columns that a text takes up."""
    return sum(map(_columns_of, text))


def elided(text: str, limit: int) -> str:
    """`text` in at most `limit` columns; an ellipsis replaces the middle of one that is longer."""
    if columns(text) <= limit:
        return text
    if limit < 3:
        return _ELLIPSIS * min(limit, 1)
    tail = _beginning(text[::-1], (limit - 1) // 2)[::-1]
    return _beginning(text, limit - 1 - columns(tail)) + _ELLIPSIS + tail


def fitted(before: str, name: str, after: str = "", limit: int | None = None) -> str:
    """The line `before` + `name` + `after` in at most `limit` columns; the name loses its middle if need be."""
    line = f"{before}{name}{after}".rstrip()
    if limit is None or columns(line) <= limit:
        return line
    left = limit - columns(before) - columns(after)
    return elided(f"{before}{elided(name, left)}{after}" if left >= _SHORTEST_NAME else line, limit)


def wrapped(text: str, limit: int | None) -> list[str]:
    """A sentence in lines of at most `limit` columns.

    What can be typed back, paths and `commands`, stays whole, but where a line has less than 20 columns.
    """
    if limit is None:
        return [text]
    import re
    import textwrap

    held = re.sub("`[^`]*`", lambda command: command[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(held, limit, break_long_words=limit < _NARROW, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def branches(depths: Sequence[int]) -> list[str]:
    """The box-drawing prefix of each line of a tree.

    Args:
        depths: how deep each line is, from 0; a parent stands before its children.
    """
    open_depths: set[int] = set()
    drawn = []
    for depth in reversed(depths):
        open_depths = {other for other in open_depths if other <= depth}
        trunk = "".join("│   " if level in open_depths else "    " for level in range(depth))
        drawn.append(f"{trunk}{'├── ' if depth in open_depths else '└── '}")
        open_depths.add(depth)
    return drawn[::-1]


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _beginning(text: str, limit: int) -> str:
    """The longest beginning of `text` that fits into `limit` columns."""
    used = 0
    for index, character in enumerate(text):
        used += _columns_of(character)
        if used > limit:
            return text[:index]
    return text
