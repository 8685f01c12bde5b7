"""Phases that a program adds to the receipt of its restore: `with cas.phase("compile"):`.

    a restore of this process kept a receipt              its receipt
    `cas run --receipt` started the program               the receipt of that, which CAS_PHASES names
    no receipt yet                                        the first that a restore of this process keeps
    none ever                                             the phases go nowhere

A receipt is never written twice: many keys may not replace an object. So the phases of a program are documents beside
it, each with all phases so far, of which the last counts. A thread writes them; a program waits for a write under way
at its end only, and nothing here fails it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cas import config
from cas.events import Span

if TYPE_CHECKING:
    from cas.store.store import Store

VARIABLE = "CAS_PHASES"
"""Names the receipt to which the program that `cas run` started adds its phases."""

_AT_END = 5.0  # seconds that a program waits at its end for a write under way
_MOST = 9999  # documents of one program
_MOST_SPANS = 1000  # phases of one program: a receipt has room for them, and a server may name one for each request
_LONGEST_NAME = 200  # characters


class Target(NamedTuple):
    """The receipts that phases are added to.

    Attributes:
        store: the URL of the store that has them, or the store itself.
        keys: of the receipts.
        when: the beginning of the receipts, by the machine's monotonic clock.
        ended: the end of their last phase, by the same clock.
        pid: of the process that becomes the program.
    """

    store: str | Store
    keys: tuple[str, ...]
    when: float
    ended: float
    pid: int

    def text(self) -> str:
        """Return it as CAS_PHASES says it."""
        import json

        url = self.store if isinstance(self.store, str) else self.store.url
        if "://" not in url:
            url = os.path.abspath(url)
        return json.dumps([url, self.keys, self.when, self.ended, self.pid])

    @classmethod
    def read(cls) -> Target | None:
        """Return what CAS_PHASES says; None where it is not set, or is not from `cas run`."""
        import json

        try:
            url, keys, when, ended, pid = json.loads(config.read(VARIABLE) or "[]")
            return cls(str(url), tuple(map(str, keys)), float(when), float(ended), int(pid))
        except (ValueError, TypeError, OverflowError, RecursionError):
            return None


class _Program:
    """The phases of this process, and the thread that writes them."""

    def __init__(self, target: Target | None) -> None:
        self.pid = os.getpid()
        self.target = target
        self.spans: list[Span] = []
        self._identity = os.urandom(8).hex()
        self._lock = threading.Lock()
        self._written = self._number = 0
        self._thread: threading.Thread | None = None

    def add(self, span: Span) -> None:
        """Add a phase that is over, and have it written."""
        with self._lock:
            if len(self.spans) >= _MOST_SPANS:
                return
            if not self.spans and self.target and self.target.pid == self.pid and span.begun > self.target.ended:
                # What the program did before it named anything: its interpreter, its imports.
                self.spans.append(Span("exec", self.target.ended, span.begun - self.target.ended))
            self.spans.append(span)
            if self.target and self._thread is None:
                thread = threading.Thread(target=self._write_all, name="phases", daemon=True)
                with contextlib.suppress(RuntimeError):  # the program ends, or may start no more threads
                    thread.start()
                    self._thread = thread

    def take(self) -> list[Span]:
        """Return the phases that are in no receipt yet, for one that is about to be written."""
        with self._lock:
            if self.target:
                return []
            taken, self.spans = self.spans, []
            return taken

    def use(self, target: Target) -> None:
        """Add the phases from now on to the receipts of a restore that is over."""
        with self._lock:
            self.target, self.spans = target, []
            self._written, self._identity = 0, os.urandom(8).hex()

    def settle(self, within: float) -> None:
        """Wait for a write under way, for some seconds at most."""
        if (thread := self._thread) is not None:
            thread.join(within)

    def _write_all(self) -> None:
        while True:
            with self._lock:
                target, spans, number, identity = self.target, tuple(self.spans), self._number, self._identity
                if target is None or len(spans) <= self._written or number > _MOST:
                    self._thread = None
                    return
                self._written, self._number = len(spans), number + 1
            try:
                _write(target, spans, identity, number)
            except BaseException as error:  # a panic inside obstore is a BaseException
                import logging

                from cas.formats.printable import printable

                # Whoever may not write now may not the next time: it is said once, and no more is tried.
                logging.getLogger("cas").warning(
                    "phases were not added to receipt %s: %s", ", ".join(target.keys), printable(_described(error))
                )
                with self._lock:
                    self._number = _MOST + 1


def _write(target: Target, spans: Sequence[Span], identity: str, number: int) -> None:
    from cas.bucket import Kind, RetryPolicy
    from cas.store import layout
    from cas.store.receipt import LATER_PHASES, LaterPhases, phase_time
    from cas.store.store import open_store

    store = open_store(target.store, policy=RetryPolicy(give_up=_AT_END))
    phases = LaterPhases(phases=tuple(phase_time(span, target.when) for span in spans))
    for key in target.keys:
        store.bucket.put(layout.later_phases_key(key, identity, number), LATER_PHASES.encode(phases), Kind.DOCUMENT)


def _described(error: BaseException) -> str:
    """Return an error's message, or only its class: the message of an error that is not ours may hold secrets."""
    from cas.errors import CasError

    return str(error) if isinstance(error, CasError) else type(error).__name__


_program: _Program | None = None
_making = threading.Lock()


def _of_process() -> _Program:
    """Return this process's own. What a fork names goes nowhere: the store's client does not survive it."""
    global _program  # noqa: PLW0603 (one for each process)
    with _making:
        if _program is None or _program.pid != os.getpid():
            is_first = _program is None
            _program = _Program(Target.read() if is_first else None)
            if _program.target:
                # What the thread needs: it cannot be imported any more when the program ends.
                import cas.store.store  # noqa: F401
            if is_first:
                _settle_at_end()
        return _program


def _settle_at_end() -> None:
    """Have the program wait at its end for a write under way: a short one ends before its last phases are written."""
    import concurrent.futures.thread  # noqa: F401 (its own hook is registered first, and called after ours)

    # What atexit calls comes too late: the store's client cannot use the executors of asyncio any more.
    with contextlib.suppress(RuntimeError):  # the program ends already
        getattr(threading, "_register_atexit", atexit.register)(settle)


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Name a part of a program's start, for the receipt of its restore (`cas receipts show`, `cas report`).

        with cas.phase("load"):
            weights = cas.load_tensors("minilm", store, framework="numpy")

    It goes to the receipt that the last restore of this process kept, or `cas run --receipt` before it became this
    program; without one, nowhere. Phases may be nested, and other threads may name theirs. Nothing waits for the store;
    in a program that `cas run` started, the first phase loads its client before it begins.

    Args:
        name: one word, such as `load`, `compile` or `warm-up`.
    """
    program, begun = _of_process(), time.monotonic()
    try:
        yield
    finally:
        program.add(Span(_printable(name), begun, time.monotonic() - begun))


def _printable(name: str) -> str:
    """Return a phase's name as a receipt can hold it, whatever the program calls it."""
    from cas.formats.printable import printable

    return printable(str(name)[:_LONGEST_NAME])


def take() -> list[Span]:
    """Return the phases that this process has named so far and that are in no receipt, for the one that begins."""
    return _of_process().take() if _program else []


def use(target: Target) -> None:
    """Add what this process names from now on to the receipts of a restore that is over."""
    _of_process().use(target)


def settle(within: float = _AT_END) -> None:
    """Wait until the phases that were named are written, for some seconds at most."""
    if _program:
        _program.settle(within)
