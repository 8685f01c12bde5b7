"""The notes of a restore: its phases, warnings and errors, for the log and for the cold-start line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cas import events
from worker.boot.messages import Arrived, Expected, Step
from worker.log import logger


class Recorder:
    """Notes what happens during one boot.

    Attributes:
        quiet_receipts: nobody asked for receipts explicitly, so a receipt that cannot be written is no warning.
        follow: gets the events that say how far the restore is.
        send: gets what the worker should know of files before the restore has ended.
        warnings: what went otherwise than wished.
        errors: what must be looked into.
    """

    def __init__(self, *, quiet_receipts: bool = False) -> None:
        self.quiet_receipts = quiet_receipts
        self._lock = threading.Lock()
        self._begun: list[tuple[str, float]] = []
        self.follow: events.Listener = events.ignore
        self.send: Callable[[Expected | Arrived], None] = lambda _: None
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def listen(self, event: events.Event) -> None:
        """Note an event of an operation of cas; safe to call from any thread."""
        match event:
            case events.Phase(name):
                self.phase(name)
                self.follow(event)
            case events.Moved():
                self.follow(event)
            case events.Completed():
                self.send(Arrived(event.path, event.repo_id, event.names, event.size, event.mtime))
            case events.Warned(text) if self.quiet_receipts and text.startswith("no receipt was written"):
                logger.info(text)
            case events.Warned(text):
                self.warn(text)
            case events.Noted(text):
                logger.info(text)

    def phase(self, name: str) -> None:
        """Begin a phase, which ends the one before it."""
        with self._lock:
            self._begun.append((name, time.monotonic()))

    def warn(self, text: str) -> None:
        """Write a warning to the log, and note it for the cold-start line."""
        self.warnings.append(text)
        logger.warning(text)

    def error(self, text: str) -> None:
        """As `warn`, for what somebody must look into although the worker goes on."""
        self.errors.append(text)
        logger.error(text)

    def steps(self) -> tuple[Step, ...]:
        """Return every phase so far; the last one ends now."""
        with self._lock:
            ends = [*(begun for _, begun in self._begun), time.monotonic()][1:]
            pairs = zip(self._begun, ends, strict=True)
            return tuple(Step(name, begun, end - begun) for (name, begun), end in pairs)
