"""What happens during a restore, written down for the receipt and told to the log."""

from __future__ import annotations

import threading
import time

from cas import events
from worker.boot.messages import Step
from worker.log import logger


class Recorder:
    """Listens to the verbs of one boot.

    quiet_receipts: nobody asked for receipts, so one that fails is no news. follow: hears how bytes move.
    """

    def __init__(self, *, quiet_receipts: bool = False) -> None:
        self.quiet_receipts = quiet_receipts
        self._lock = threading.Lock()
        self._begun: list[tuple[str, float]] = []
        self.follow: events.Listener = events.ignore
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def listen(self, event: events.Event) -> None:
        """Takes note of one event; safe to call from any thread."""
        match event:
            case events.Phase(name):
                self.phase(name)
                self.follow(event)
            case events.Moved():
                self.follow(event)
            case events.Warned(text) if self.quiet_receipts and text.startswith("no receipt was written"):
                logger.info(text)
            case events.Warned(text):
                self.warn(text)
            case events.Noted(text):
                logger.info(text)

    def phase(self, name: str) -> None:
        """A phase begins, and the one before it ends."""
        with self._lock:
            self._begun.append((name, time.monotonic()))

    def warn(self, text: str) -> None:
        """One line in the log and in the receipt."""
        self.warnings.append(text)
        logger.warning(text)

    def error(self, text: str) -> None:
        """As `warn`, for what must not pass silently."""
        self.errors.append(text)
        logger.error(text)

    def steps(self) -> tuple[Step, ...]:
        """Every phase so far, the last of which ends now."""
        with self._lock:
            ends = [*(begun for _, begun in self._begun), time.monotonic()][1:]
            pairs = zip(self._begun, ends, strict=True)
            return tuple(Step(name, begun, end - begun) for (name, begun), end in pairs)
