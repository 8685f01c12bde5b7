"""Progress for programs: one JSON object on a line, on standard error, with `--progress json`."""

from __future__ import annotations

import json
import time
from typing import Literal, TextIO

import msgspec

from cas.cli.display.phases import Phases
from cas.formats.printable import printable_json

_EVERY = 0.5  # seconds between two lines about one phase


class ProgressLine(msgspec.Struct, tag_field="type", tag="progress", frozen=True):
    """How far a phase is: written when it begins, while it lasts, and when it ends.

    Attributes:
        phase: its name, such as `fetch`.
        done: plain bytes moved.
        total: plain bytes to move; 0 if that is not known, or none are moved.
        wire: bytes that crossed the connection to the store.
        seconds: since the phase began.
    """

    phase: str
    done: int
    total: int
    wire: int
    seconds: float


class TextLine(msgspec.Struct, tag_field="type", tag="text", frozen=True):
    """A warning, or a note.

    Attributes:
        kind: `warning` or `note`.
        text: what it says.
    """

    kind: Literal["warning", "note"]
    text: str


class JsonLines:
    """Writes the lines. Threads must not use it at once.

    Args:
        out: the stream.
        phases: what the operation went through.
    """

    def __init__(self, out: TextIO, phases: Phases) -> None:
        self._out, self._phases = out, phases
        self._written = 0.0

    def phase(self) -> None:
        """Write how far the phase is."""
        self._written = time.monotonic()
        phase = self._phases.now
        self._write(ProgressLine(phase.name, phase.plain, phase.total, phase.wire, round(phase.lasted, 3)))

    def moved(self) -> None:
        """Write how far the phase is, if the last line about it is old enough."""
        if time.monotonic() - self._written >= _EVERY:
            self.phase()

    def text(self, kind: Literal["warning", "note"], text: str) -> None:
        """Write a warning or a note."""
        self._write(TextLine(kind, text))

    def _write(self, line: ProgressLine | TextLine) -> None:
        self._out.write(printable_json(json.dumps(msgspec.to_builtins(line))) + "\n")
        self._out.flush()
