"""What happened, told once: the progress bar, the log, the receipt and the tests all listen here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Base of everything a verb reports."""


@dataclass(frozen=True, slots=True)
class Phase(Event):
    """A verb entered a phase.

    name: one word, such as `download`, `hash`, `lookup`, `upload`, `plan`, `fetch`, `link`.
    total: plain bytes the phase will report through `Moved`, 0 when it moves none.
    """

    name: str
    total: int = 0


@dataclass(frozen=True, slots=True)
class Resolved(Event):
    """It is known which version a verb works on.

    reference: names it for ever. total: plain bytes of its files.
    """

    reference: str
    total: int


@dataclass(frozen=True, slots=True)
class Moved(Event):
    """Bytes of one chunk are done.

    plain: bytes of the files themselves. wire: bytes that crossed the store's connection.
    source: `store` for fetched or uploaded, `local` for reused, `present` for already in the store.
    """

    plain: int
    wire: int = 0
    source: str = "store"


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """Something a person following along wants to know; shown with -v."""

    text: str


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something went otherwise than wished, and the work went on: what, and the cause."""

    text: str


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener for callers who do not listen."""
