"""The streams of the command line: whatever a command prints reaches the terminal as harmless text."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, TextIO, cast

from cas.cli import hints
from cas.formats.printable import printable_lines


class PrintableStream:
    """A text stream that escapes what would steer a terminal.

    Args:
        unfiltered: the stream behind it.
        change: what is done to each text before it is written; None for nothing.

    Attributes:
        unfiltered: the stream behind it, for what draws on the terminal on purpose.
        is_written: whether anything was written.
    """

    def __init__(self, unfiltered: TextIO, change: Callable[[str], str] | None = None) -> None:
        self.unfiltered = unfiltered
        self.is_written = False
        self._change = change

    def write(self, text: str) -> int:
        """Write a text; its line feeds and tabs stay."""
        self.unfiltered.write(printable_lines(self._change(text) if self._change else text))
        self.is_written = True
        return len(text)

    @property
    def buffer(self) -> BinaryIO:
        """The stream of bytes behind it, for an archive or a page: then something is written."""
        self.is_written = True
        return self.unfiltered.buffer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


def open_streams() -> None:
    """Filter standard output and standard error, whose proposed commands get the options of the call.

    Characters that a stream's encoding lacks become escapes such as `\\xe8`; Python does so for standard error alone.
    Streams that the caller closed (`cas … >&-`), and that Python has as None, are replaced: writes to them vanish.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for the process's life)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        change = hints.carry if name == "stderr" else None
        setattr(sys, name, cast(TextIO, PrintableStream(stream, change)))
