"""Many things at once, within a budget of memory."""

from __future__ import annotations

import mmap
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Pool(Generic[T]):
    """A few reusable workers (codecs with their buffers), lent to one thread at a time."""

    def __init__(self, make: Callable[[], T], size: int) -> None:
        self._free: queue.LifoQueue[T | None] = queue.LifoQueue()
        self._make = make
        for _ in range(size):
            self._free.put(None)

    @contextmanager
    def acquire(self) -> Iterator[T]:
        """One worker, for the time of a `with` block; waits while all are lent out."""
        worker = self._free.get()
        try:
            if worker is None:
                worker = self._make()
            yield worker
        finally:
            self._free.put(worker)


class Workers(Generic[T]):
    """A few threads, each with a tool of its own (a codec with its buffers).

    Work that takes large pieces of memory for a moment is done in few threads: each thread leaves holes in the
    allocator's memory that no other may fill (glibc 2.36: 620 MiB from sixteen threads, 120 from two).
    """

    def __init__(self, make: Callable[[], T], size: int) -> None:
        self._make = make
        self._threads = ThreadPoolExecutor(size)
        self._tools = threading.local()

    def run(self, work: Callable[[T], R]) -> R:
        """What `work` makes of one of the tools; waits until one is free and the work is done."""
        return self._threads.submit(self._run, work).result()

    def _run(self, work: Callable[[T], R]) -> R:
        if not hasattr(self._tools, "mine"):
            self._tools.mine = self._make()
        return work(self._tools.mine)


class ReusableBuffer:
    """Memory to be filled again and again; what was never filled takes none of the machine's."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None

    def view(self, size: int) -> memoryview:
        """`size` bytes of it, larger than before if need be; what they hold is from earlier uses."""
        if self._memory is None or len(self._memory) < size:
            self._memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return memoryview(self._memory)[:size]


class BackgroundCall(Generic[T]):
    """A call that is made at once, in a thread of its own."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._outcome: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> T:
        """What the call returned, or the error it raised; waits for it."""
        while self._thread.is_alive():
            self._thread.join(timeout=1)  # a wait without a limit cannot be interrupted on every platform
        if self._error:
            raise self._error
        return self._outcome[0]

    def ends_within(self, seconds: float) -> bool:
        """Whether the call has ended, waiting for it so long at most; one that has not goes on."""
        self._thread.join(timeout=seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._outcome.append(self._call())
        except BaseException as error:
            self._error = error


def for_each(
    work: Callable[[T], None],
    items: Iterable[T],
    *,
    threads: int,
    cost: Callable[[T], int] = lambda item: 0,
    budget: int = 0,
) -> None:
    """Calls `work` once for every item, in threads, beginning them in the order given.

    cost: bytes an item holds while it is worked on. budget: such bytes at once; an item that costs more than
    all of it runs alone. Raises the first error after the items already begun have ended; nothing new
    is begun. An interrupt (Ctrl-C) is raised at once and leaves the threads to die with the process.
    """
    _Crew(work, items, cost, budget).run(threads)


class _Crew(Generic[T]):
    def __init__(self, work: Callable[[T], None], items: Iterable[T], cost: Callable[[T], int], budget: int) -> None:
        self._work, self._items, self._cost, self._budget = work, iter(items), cost, budget
        self._turn = threading.Lock()
        self._change = threading.Condition()
        self._held = 0
        self._running = 0
        self._error: BaseException | None = None

    def run(self, threads: int) -> None:
        self._running = threads
        try:
            for _ in range(threads):
                threading.Thread(target=self._run, daemon=True).start()
            with self._change:
                # A wait without a limit cannot be interrupted on every platform.
                while not self._change.wait_for(lambda: not self._running, timeout=1):
                    pass
        except BaseException as interrupt:
            self._error = self._error or interrupt
            raise
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            while (taken := self._take()) is not None:
                item, cost = taken
                try:
                    self._work(item)
                finally:
                    self._give_back(cost)
        except BaseException as error:
            with self._change:
                self._error = self._error or error
        finally:
            with self._change:
                self._running -= 1
                self._change.notify_all()

    def _take(self) -> tuple[T, int] | None:
        """The next item once its cost fits, or None when there is no more or something failed."""
        # One thread at a time waits for room, so that items begin in order and large ones do not starve.
        with self._turn:
            if self._error:
                return None
            try:
                item = next(self._items)
            except StopIteration:
                return None
            cost = self._cost(item)
            with self._change:
                fits = lambda: self._error or not self._held or self._held + cost <= self._budget  # noqa: E731
                self._change.wait_for(fits)
                if self._error:
                    return None
                self._held += cost
            return item, cost

    def _give_back(self, cost: int) -> None:
        with self._change:
            self._held -= cost
            self._change.notify_all()
