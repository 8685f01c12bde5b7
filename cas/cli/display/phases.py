"""The phases of one operation: what each moved, how long it took, and how fast it was."""

from __future__ import annotations

import time

from cas import events

DESCRIPTIONS = {
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
"""Name of a phase (events.Phase) -> what people read."""


class TimedPhase:
    """A phase that has begun.

    Attributes:
        name: its name in events; empty before the first.
        total: plain bytes to move; 0 if that is not known, or none are moved.
        begun: when it began, by the monotonic clock.
        plain: plain bytes moved.
        wire: bytes of them that crossed the connection to the store.
        seconds: how long it took; 0 while it lasts.
    """

    def __init__(self, name: str, total: int = 0) -> None:
        self.name, self.total = name, total
        self.begun = time.monotonic()
        self.plain = self.wire = 0
        self.seconds = 0.0

    @property
    def description(self) -> str:
        """What is done in it, as people read it."""
        return DESCRIPTIONS.get(self.name, self.name)

    @property
    def lasted(self) -> float:
        """Seconds that it has taken so far."""
        return self.seconds or time.monotonic() - self.begun

    @property
    def rate(self) -> str:
        """How fast bytes cross the connection or, where none do, are moved; empty when none are."""
        if not (self.wire or self.plain) or self.lasted <= 0:
            return ""
        speed = f"{(self.wire or self.plain) / self.lasted / 1e6:.1f} MB/s"
        return f"{speed} on the wire" if self.wire else speed


class Phases:
    """The phases that an operation went through, from its events. Threads must not use it at once.

    Attributes:
        now: the phase that the operation is in.
        ended: those before it, each once with all that it took, in the order of their beginnings.
    """

    def __init__(self) -> None:
        self.now = TimedPhase("")
        self.ended: list[TimedPhase] = []

    def begin(self, phase: events.Phase) -> None:
        """End the phase that lasts, and begin another."""
        self.end()
        self.now = TimedPhase(phase.name, phase.total)

    def moved(self, moved: events.Moved) -> None:
        """Count the bytes of a chunk."""
        self.now.plain += moved.plain
        self.now.wire += moved.wire

    def end(self) -> None:
        """End the phase that lasts."""
        if self.now.name:
            self.now.seconds = time.monotonic() - self.now.begun
            self.ended.append(self.now)
        self.now = TimedPhase("")

    def wire_rate(self) -> float:
        """Bytes a second that crossed the connection, in the phases in which any did; 0 for none."""
        wired = [phase for phase in self.ended if phase.wire and phase.seconds]
        seconds = sum(phase.seconds for phase in wired)
        return sum(phase.wire for phase in wired) / seconds if seconds else 0.0

    def lines(self) -> list[str]:
        """What each phase moved, how fast it was and how long it took, a line each: what -v shows at the end."""
        width = max((len(phase.description) for phase in self.ended), default=0)
        lines = []
        for phase in self.ended:
            moved = f"{phase.plain / 1e6:,.1f} MB" if phase.plain else ""
            pieces = filter(None, (f"{phase.seconds:7.2f} s", moved, phase.rate))
            lines.append(f"{phase.description:<{width}}  {'  '.join(pieces)}")
        return lines
