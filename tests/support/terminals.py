"""A terminal of a given width that a command of this process writes to: a pty, and what an emulator shows of it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import pyte
import pytest

from tests.support.in_process import call_with_streams

_ROWS = 200


@dataclass(frozen=True)
class Shown:
    """What a terminal received.

    Attributes:
        code: the command's exit code.
        raw: every character that it wrote, colours and all.
        lines: the lines of the screen without the empty ones at its end, without blanks at their ends.
        wrapped: whether a line was longer than the terminal.
    """

    code: int
    raw: str
    lines: list[str]
    wrapped: bool


def cas_on_terminal(*words: str, columns: int, env: Mapping[str, str] | None = None) -> Shown:
    """Call a command in this process, whose standard output and standard error are a terminal.

    Args:
        words: the command's arguments.
        columns: the terminal's width.
        env: variables to add or replace during the call. TERM is xterm-256color unless it is given.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    received = bytearray()

    def read() -> None:
        try:
            while piece := os.read(leader, 65536):
                received.extend(piece)
        except OSError:  # how Linux says that the other end has closed
            pass

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with (
        pytest.MonkeyPatch.context() as patch,
        open(follower, "w", encoding="utf-8") as out,
        open(os.dup(follower), "w", encoding="utf-8") as err,
    ):
        for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
            patch.delenv(name, raising=False)
        patch.setattr(sys, "__stdout__", out)
        code = call_with_streams(out, err, *words, env={"TERM": "xterm-256color", **(env or {})})
    reader.join()
    os.close(leader)
    return _shown(code, received.decode(), columns)


def _shown(code: int, raw: str, columns: int) -> Shown:
    narrow, wide = (_screen(raw, width) for width in (columns, 4 * columns))
    return Shown(code, raw, narrow, narrow != wide)


def _screen(raw: str, columns: int) -> list[str]:
    screen = pyte.Screen(columns, _ROWS)
    pyte.Stream(screen).feed(raw)
    return "\n".join(line.rstrip() for line in screen.display).rstrip("\n").split("\n")
