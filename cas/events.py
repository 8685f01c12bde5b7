"""Events: what an operation reports while it runs.

An operation reports each event once, to one listener. The progress bar, the log, the receipt and the tests are
listeners.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


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
class SignedEntry:
    """The entry of a ref that named a version, and whose signature was verified.

    Attributes:
        ref: as a reference names it.
        number: of the entry in the ref's log.
        key: id of the trusted key that signed it, 16 upper-case hex digits, as minisign prints it.
        store: name of the store that it was signed for.
    """

    ref: str
    number: int
    key: str
    store: str


@dataclass(frozen=True, slots=True)
class Resolved(Event):
    """An operation has found out which version it works on.

    Attributes:
        reference: names the version for ever, as `model@blake3:<64 hex>`.
        total: plain bytes of the version's files.
        signed: what named the version; None where no keys are trusted, or no ref was read.
    """

    reference: str
    total: int
    signed: SignedEntry | None = None


@dataclass(frozen=True, slots=True)
class Moved(Event):
    """The work on the bytes of one chunk is done.

    Attributes:
        plain: plain bytes.
        wire: bytes that crossed the connection to the store.
        source: `store` for fetched or uploaded bytes, `local` for reused ones, `present` for those that the store
            already has, `hub` for those that a hub sent.
    """

    plain: int
    wire: int = 0
    source: str = "store"


@dataclass(frozen=True, slots=True)
class Completed(Event):
    """A file of a version has its final name, and all its bytes are verified; its links may follow later.

    Attributes:
        path: the file.
        repo_id: the repo that it belongs to; empty for a plain file.
        names: its paths in that repo.
        size: bytes.
        mtime: time of its last modification, in nanoseconds.
    """

    path: str
    repo_id: str
    names: tuple[str, ...]
    size: int
    mtime: int


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """A detail for a person who follows the work; the command line shows it with -v.

    Attributes:
        text: the detail.
        important: whether the command line shows it without -v, too.
    """

    text: str
    important: bool = False


@dataclass(frozen=True, slots=True)
class Ended(Event):
    """A share of the work that takes minutes is done; the text names it and what came of it."""

    text: str


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something failed and the work goes on; the text says what, and the cause."""

    text: str


class Span(NamedTuple):
    """A phase that is over.

    Attributes:
        name: of the phase.
        begun: seconds of the machine's monotonic clock, which is the same in every process.
        seconds: wall time.
    """

    name: str
    begun: float
    seconds: float


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener that does nothing, for callers who want no events."""


def log(event: Event) -> None:
    """Log an event to the logger `cas`: the listener of who names none.

    Warnings are WARNING, notes and results INFO, phases DEBUG; bytes that moved are not logged. No handler is added:
    what is shown is the program's choice, by `logging`.
    """
    if isinstance(event, Moved | Completed):
        return
    import logging

    logger = logging.getLogger("cas")
    match event:
        case Warned(text):
            logger.warning(text)
        case Noted(text) | Ended(text):
            logger.info(text)
        case Phase(name):
            logger.debug("phase %s", name)
