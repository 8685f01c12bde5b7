"""Colour, with restraint: a few words of a line on a terminal, none where the user or the terminal wants none.

This is the one place that writes colours. What it paints is made harmless first, so that no text of a store can steer
the terminal.
"""

from __future__ import annotations

import enum
from typing import TextIO

from cas import config
from cas.cli import hints
from cas.formats.printable import printable


class Style(enum.Enum):
    """How a piece of a line looks; the values are ECMA-48's codes (SGR)."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"


def is_painted(out: TextIO) -> bool:
    """Whether a stream gets colours.

    NO_COLOR, if it is not empty, forbids them (no-color.org). FORCE_COLOR and CLICOLOR_FORCE, if they are neither empty
    nor 0, want them also where no terminal is. Else a terminal gets them, unless it only prints (TERM=dumb).
    """
    if config.read("NO_COLOR"):
        return False
    if any(config.read(name) not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return out.isatty() and config.read("TERM") != "dumb"


def line(out: TextIO, *pieces: tuple[str, Style]) -> None:
    """Write one line.

    Args:
        out: the stream.
        pieces: texts and how each looks, one after the other. What steers a terminal in them is escaped.
    """
    painted = is_painted(out)
    out = getattr(out, "unfiltered", out)
    for text, style in pieces:
        shown = printable(text)
        out.write(f"\x1b[{style.value}m{shown}\x1b[0m" if painted and shown.strip() and style.value else shown)
    out.write("\n")


def warn(out: TextIO, text: str) -> None:
    """Write a warning, one line. out: the stream; text: what to say, after `warning: `."""
    line(out, ("warning:", Style.YELLOW), (f" {hints.carry(text)}", Style.PLAIN))
    out.flush()
