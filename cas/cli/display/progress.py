"""Show an operation's events on standard error: a bar on a terminal, a line every ten seconds elsewhere.

With `--progress json`, each is a JSON object on a line. Warnings are always shown.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from cas import events
from cas.cli import hints
from cas.cli.display import paint
from cas.cli.display.bar import Bar, draws_on
from cas.cli.display.paint import Style
from cas.cli.display.phases import Phases

if TYPE_CHECKING:
    from cas.cli.display.json_lines import JsonLines
    from cas.cli.options import Settings


def reporter_for(settings: Settings) -> Reporter:
    """Return the reporter that the global options want. settings: -q, -v and --progress."""
    return Reporter(quiet=settings.quiet, verbose=settings.verbose, form=settings.progress)


class Reporter:
    """Listens to one operation and writes what happens to a stream. Use it as a context manager.

    Args:
        quiet: write warnings only.
        verbose: write notes, too, and at the end what each phase moved, how fast it was and how long it took.
        out: the stream; None for standard error.
        every: seconds between two lines of progress where the stream is no terminal.
        form: how progress is shown: `auto`, `plain` (lines on a terminal, too), `json` or `none`.

    Attributes:
        phases: the phases that the operation went through.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        verbose: bool = False,
        out: TextIO | None = None,
        every: float = 10.0,
        form: str = "auto",
    ) -> None:
        self.phases = Phases()
        self._out = out or sys.stderr
        self._quiet, self._verbose, self._every = quiet, verbose, every
        shows = not quiet and form != "none"
        self._terminal = shows and form == "auto" and draws_on(self._out)
        self._lines = shows and form != "json" and not self._terminal
        self._json: JsonLines | None = None
        if form == "json":
            from cas.cli.display.json_lines import JsonLines

            self._json = JsonLines(self._out, self.phases)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._bar: Bar | None = None

    def __enter__(self) -> Reporter:
        if self._lines:
            threading.Thread(target=self._tick, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with self._lock:
            self._end_phase()
            if self._verbose and error is None:
                for line in self.phases.lines():
                    self._line(line, Style.DIM)

    def listen(self, event: events.Event) -> None:
        """Show one event. Any thread may call this."""
        with self._lock:
            match event:
                case events.Phase():
                    self._begin(event)
                case events.Moved():
                    self.phases.moved(event)
                    self._update()
                case events.Warned(text):
                    self._warn(text)
                case events.Ended(text) if not self._quiet:
                    self._line(text)
                case events.Noted(text, important) if self._verbose or (important and not self._quiet):
                    self._line(text)

    def _begin(self, phase: events.Phase) -> None:
        self._end_phase()
        self.phases.begin(phase)
        if self._json:
            self._json.phase()
        if self._terminal and phase.total:
            self._draw_bar()

    def _draw_bar(self) -> None:
        phase = self.phases.now
        self._bar = Bar(getattr(self._out, "unfiltered", self._out), phase.description, phase.total)

    def _update(self) -> None:
        if self._json:
            self._json.moved()
        if self._terminal and self._bar is None and self.phases.now.plain:
            self._draw_bar()
        if self._bar is not None:
            self._bar.update(self.phases.now.plain, self.phases.now.rate)

    def _end_phase(self) -> None:
        if self._bar is not None:
            self._bar.clear()
            self._bar = None
        if self._json and self.phases.now.name:
            self._json.phase()
        self.phases.end()

    def _tick(self) -> None:
        while not self._ended.wait(self._every):
            with self._lock:
                if self.phases.now.name and not self._ended.is_set():
                    self._line(self._summary())

    def _summary(self) -> str:
        phase = self.phases.now
        if not phase.total:
            moved = f" {phase.plain / 1e6:,.1f} MB" if phase.plain else ""
            return f"{phase.description}{moved}, {phase.lasted:.0f} s so far"
        left = (phase.total - phase.plain) * phase.lasted / phase.plain if phase.plain else 0
        pieces = [f"{phase.description} {phase.plain / 1e6:,.1f} of {phase.total / 1e6:,.1f} MB", phase.rate]
        if left:
            pieces.append(f"{left:.0f} s left")
        return ", ".join(filter(None, pieces))

    def _warn(self, text: str) -> None:
        if self._json:
            self._json.text("warning", hints.carry(text))
            return
        if self._bar is not None:
            self._bar.hide()
        paint.warn(self._out, text)
        if self._bar is not None:
            self._bar.show()

    def _line(self, text: str, style: Style = Style.PLAIN) -> None:
        text = hints.carry(text)
        if self._json:
            self._json.text("note", text)
            return
        if self._bar is not None:
            self._bar.hide()
        paint.line(self._out, (text, style))
        self._out.flush()
        if self._bar is not None:
            self._bar.show()
