"""A bar on a terminal that tells how far an operation is: one line, drawn anew in place."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TextIO

from cas import config
from cas.cli.display.terminal import columns, elided

_REDRAW = 0.1  # seconds between two drawings
_SHORTEST, _LONGEST = 10, 40  # columns of the bar itself
_TO_START, _CLEAR_LINE = "\r", "\x1b[2K"  # ECMA-48: erase in line, all of it


def draws_on(out: TextIO) -> bool:
    """Whether a bar can be drawn on a stream: it is a terminal, and not one that only prints (TERM=dumb)."""
    return out.isatty() and config.read("TERM") != "dumb"


class Bar:
    """A bar for one phase; it is gone once it is cleared. Threads must not use it at once.

    Args:
        out: the terminal.
        description: what is done.
        total: bytes to do; 0 when that is not known, and the line tells what is done and how fast.
    """

    def __init__(self, out: TextIO, description: str, total: int) -> None:
        self._out = out
        self._description, self._total, self._done, self._rate = description, total, 0, ""
        self._begun = time.monotonic()
        self._drawn, self._shown = float("-inf"), 0
        encoding = out.encoding or "ascii"
        self._full, self._empty = ("━", "─") if "━─".encode(encoding, "ignore").decode(encoding) == "━─" else ("#", "-")
        self._draw()

    def update(self, done: int, rate: str) -> None:
        """Show how much is done.

        Args:
            done: bytes of the total.
            rate: the speed, in words; empty for none.
        """
        self._done, self._rate = done, rate
        if (self._total and done >= self._total) or time.monotonic() - self._drawn >= _REDRAW:
            self._draw()

    def hide(self) -> None:
        """Clear the bar's line, for a line that is printed above it; `show` draws the bar again."""
        self._out.write(f"{_TO_START}{_CLEAR_LINE}")
        self._out.flush()

    def show(self) -> None:
        """Draw the bar."""
        self._draw()

    def clear(self) -> None:
        """Remove the bar from the terminal, whose record (script, tmux) keeps how far it came."""
        if self._done != self._shown:
            self._draw()
        self._out.write(f"{_TO_START}{_CLEAR_LINE}")
        self._out.flush()

    def _draw(self) -> None:
        self._drawn, self._shown = time.monotonic(), self._done
        # Three columns stay free: some terminals begin a new line when the last one is written, and at Ctrl-C they
        # write ^C behind the bar, which must still be on this line to be cleared.
        limit = max(1, _columns_of(self._out) - 3)
        self._out.write(f"{_TO_START}{_CLEAR_LINE}{elided(' '.join(self._pieces(limit)), limit)}")
        self._out.flush()

    def _pieces(self, limit: int) -> list[str]:
        """What the line consists of: with less and less beside the bar, the narrower the terminal is."""
        if not self._total:
            return [self._description, "  ".join(filter(None, [f"{self._done / 1e6:,.1f} MB", self._rate]))]
        done = f"{self._done / 1e6:,.1f}/{self._total / 1e6:,.1f} MB"
        short_rate, left = self._rate.removesuffix(" on the wire"), self._time_left()
        figures = [[done, self._rate, left], [done, short_rate, left], [done, left], [done]]
        afters = list(dict.fromkeys("  ".join(filter(None, each)) for each in figures))
        for after in afters:
            length = min(_LONGEST, limit - columns(self._description) - len(after) - 2)
            if length >= _SHORTEST and after != done:
                return [self._description, self._bar(length), after]
        fitting = [after for after in afters if columns(self._description) + 1 + len(after) <= limit]
        return (
            [self._description, *fitting[:1]] if fitting else [elided(self._description, limit - len(done) - 1), done]
        )

    def _bar(self, length: int) -> str:
        full = min(length, length * self._done // max(1, self._total))
        return f"{self._full * full}{self._empty * (length - full)}"

    def _time_left(self) -> str:
        if not self._done:
            return "--:--"
        left = max(0.0, (self._total - self._done) * (time.monotonic() - self._begun) / self._done)
        minutes, seconds = divmod(round(left), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


def _columns_of(out: TextIO) -> int:
    """Columns of the terminal `out`: what COLUMNS says, or the terminal. Standard output may lead elsewhere."""
    found = shutil.get_terminal_size((0, 0)).columns
    if not found:
        with contextlib.suppress(OSError, ValueError):
            found = os.get_terminal_size(out.fileno()).columns
    return found or 80
