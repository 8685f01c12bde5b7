"""Show an operation's events on standard error: a bar on a terminal, a line every ten seconds elsewhere.

Warnings are always shown.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TextIO

from cas import events
from cas.cli import hints
from cas.cli.display.bar import Bar, draws_on
from cas.formats.printable import printable

# Name of a phase (events.Phase) -> what people read.
_DESCRIPTIONS = {
    "audit": "reading who released what",
    "cast": "casting",
    "check": "checking local files",
    "clear": "clearing away old entries",
    "compare": "comparing what differs",
    "condemn": "looking for what nothing needs",
    "commit": "writing the manifest",
    "copy": "copying local bytes",
    "count": "counting what versions need",
    "download": "downloading from the hub",
    "export": "writing the archive",
    "fetch": "fetching",
    "fsck": "checking what the store holds",
    "hash": "hashing",
    "import": "copying from where the sync left it",
    "link": "linking",
    "lookup": "asking the store what it has",
    "mark": "reading the versions that are kept",
    "plan": "planning",
    "prove": "proving",
    "prune": "removing what is not in use",
    "repair": "repairing",
    "resolve": "reading the manifest",
    "search": "looking for bytes that are here already",
    "sweep": "deleting",
    "transfer": "copying between the stores",
    "unpack": "reading the archive",
    "upload": "uploading",
    "wait": "waiting for those who publish or collect",
}


class Reporter:
    """Listens to one operation and writes what happens to a stream. Use it as a context manager.

    Args:
        quiet: write warnings only.
        verbose: write notes, too.
        out: the stream; None for standard error.
        every: seconds between two lines of progress where the stream is no terminal.
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, out: TextIO | None = None, every: float = 10.0
    ) -> None:
        self._out = out or sys.stderr
        self._quiet, self._verbose, self._every = quiet, verbose, every
        self._terminal = draws_on(self._out) and not quiet
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._phase = events.Phase("")
        self._plain = self._wire = 0
        self._begun = time.monotonic()
        self._bar: Bar | None = None

    def __enter__(self) -> Reporter:
        if not self._quiet and not self._terminal:
            threading.Thread(target=self._tick, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with self._lock:
            self._end_bar()

    def listen(self, event: events.Event) -> None:
        """Show one event. Any thread may call this."""
        with self._lock:
            match event:
                case events.Phase():
                    self._begin(event)
                case events.Moved(plain, wire):
                    self._plain += plain
                    self._wire += wire
                    self._update()
                case events.Warned(text):
                    self._line(f"warning: {text}")
                case events.Ended(text) if not self._quiet:
                    self._line(text)
                case events.Noted(text, important) if self._verbose or (important and not self._quiet):
                    self._line(text)

    def _begin(self, phase: events.Phase) -> None:
        self._end_bar()
        self._phase, self._plain, self._wire, self._begun = phase, 0, 0, time.monotonic()
        if self._terminal and phase.total:
            self._bar = Bar(getattr(self._out, "unfiltered", self._out), self._description(), phase.total)

    def _update(self) -> None:
        if self._bar is not None:
            self._bar.update(self._plain, self._rate())

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.clear()
            self._bar = None

    def _tick(self) -> None:
        while not self._ended.wait(self._every):
            with self._lock:
                if self._phase.name and not self._ended.is_set():
                    self._line(self._summary())

    def _summary(self) -> str:
        seconds = time.monotonic() - self._begun
        if not self._phase.total:
            return f"{self._description()}, {seconds:.0f} s so far"
        left = (self._phase.total - self._plain) * seconds / self._plain if self._plain else 0
        pieces = [f"{self._description()} {self._plain / 1e6:,.1f} of {self._phase.total / 1e6:,.1f} MB", self._rate()]
        if left:
            pieces.append(f"{left:.0f} s left")
        return ", ".join(filter(None, pieces))

    def _rate(self) -> str:
        seconds = time.monotonic() - self._begun
        return f"{self._wire / seconds / 1e6:.1f} MB/s on the wire" if self._wire and seconds > 0 else ""

    def _description(self) -> str:
        return _DESCRIPTIONS.get(self._phase.name, self._phase.name)

    def _line(self, text: str) -> None:
        text = printable(hints.carry(text))
        if self._bar is not None:
            self._bar.line(text)
        else:
            print(text, file=self._out, flush=True)
