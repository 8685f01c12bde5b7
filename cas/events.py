"""Events: what an operation reports while it runs.

An operation reports each event once, to one listener. The progress bar, the log, the receipt and the tests are
listeners.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Base of everything that an operation reports."""


@dataclass(frozen=True, slots=True)
class Phase(Event):
    """An operation entered a phase.

    Attributes:
        name: one word, such as `download`, `hash`, `lookup`, `upload`, `plan`, `fetch`, `link`.
        total: plain bytes that the phase will report through `Moved`; 0 when it moves none.
    """

    name: str
    total: int = 0


@dataclass(frozen=True, slots=True)
class Resolved(Event):
    """An operation has found out which version it works on.

    Attributes:
        reference: names the version for ever, as `model@blake3:<64 hex>`.
        total: plain bytes of the version's files.
    """

    reference: str
    total: int


@dataclass(frozen=True, slots=True)
class Moved(Event):
    """The work on the bytes of one chunk is done.

    Attributes:
        plain: plain bytes.
        wire: bytes that crossed the connection to the store.
        source: `store` for fetched or uploaded bytes, `local` for reused ones, `present` for those that the store
            already has.
    """

    plain: int
    wire: int = 0
    source: str = "store"


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """A detail for a person who follows the work; the command line shows it with -v."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended(Event):
    """A share of the work that takes minutes is done; the text names it and what came of it."""

    text: str


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something failed and the work goes on; the text says what, and the cause."""

    text: str


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener that does nothing, for callers who want no events."""
