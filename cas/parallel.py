"""Concurrency within bounds: many items at once, reusable objects, threads with tools, one call in the background.

Which to use:

- `for_each` calls a function for every item, in several threads, in order and within a budget of bytes. It is the
  usual choice, and creates the threads that the others are used in.
- `Pool` shares a few reusable objects (codecs, buffers) among threads that exist already: a thread acquires an object,
  works with it, and releases it.
- `Workers` does the work in a few threads of its own, each with its own tool, while the calling thread waits. It
  replaces `Pool` where the work allocates large memory for a moment and the calling threads are many.
- `BackgroundCall` makes a single call while the caller does something else, and gives its result later.
- `result_of` waits for a future of whatever made it, so that Ctrl-C ends the wait.
"""

from __future__ import annotations

import mmap
import queue
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

INTERRUPTIBLE_WAIT = 1.0
"""Seconds that a main thread waits for a lock without looking for signals. A signal that arrives as the thread is about
to wait does not wake it: its handler, and with it Ctrl-C, would wait as long as the thread does."""


def result_of(future: Future[T]) -> T:
    """Wait for a future, in a wait that an interrupt ends; return its result, or raise its exception."""
    while not wait((future,), timeout=INTERRUPTIBLE_WAIT).done:
        pass
    return future.result()


class Pool(Generic[T]):
    """A few reusable objects (codecs, buffers), each used by one thread at a time."""

    def __init__(self, make: Callable[[], T], size: int) -> None:
        """Create an empty pool.

        Args:
            make: creates an object; called when a thread acquires one and none is free.
            size: how many objects there are at most.
        """
        # A None is a free slot whose object does not exist yet.
        self._free: queue.LifoQueue[T | None] = queue.LifoQueue()
        self._make = make
        for _ in range(size):
            self._free.put(None)

    @contextmanager
    def acquire(self) -> Iterator[T]:
        """Acquire an object for the time of a `with` block; wait while all are in use."""
        acquired = self._free.get()
        try:
            if acquired is None:
                acquired = self._make()
            yield acquired
        finally:
            self._free.put(acquired)


class Workers(Generic[T]):
    """A few threads, each with a tool of its own (a codec with its buffers).

    Work that allocates large memory for a moment belongs in few threads: each thread leaves holes in the allocator's
    memory that no other thread can fill (glibc 2.36: 620 MiB from sixteen threads, 120 from two).
    """

    def __init__(self, make: Callable[[], T], size: int) -> None:
        """Start no thread yet; each starts when it is first needed.

        Args:
            make: creates the tool of a thread, in that thread.
            size: how many threads there are at most.
        """
        self._make = make
        self._threads = ThreadPoolExecutor(size)
        self._local = threading.local()

    def run(self, work: Callable[[T], R]) -> R:
        """Call `work` with a thread's tool, in that thread, and return the result; wait until a thread is free."""
        return result_of(self._threads.submit(self._run, work))

    def _run(self, work: Callable[[T], R]) -> R:
        if not hasattr(self._local, "tool"):
            self._local.tool = self._make()
        return work(self._local.tool)


class ReusableBuffer:
    """Memory that is filled again and again; pages that were never filled take none of the machine's memory.

    Fresh memory costs a page fault for every 4 KiB, which take longer than to copy as much (docs/performance.md).
    """

    _LEAST = 9 * 1024 * 1024
    """Bytes, enough for the frame of any chunk of 8 MiB: a buffer that grows begins with fresh memory again."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None

    def view(self, size: int) -> memoryview:
        """Return `size` bytes of the buffer, which grows if need be; they still contain what an earlier user wrote."""
        if self._memory is None or len(self._memory) < size:
            self._memory = mmap.mmap(-1, max(size, self._LEAST), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return memoryview(self._memory)[:size]

    @contextmanager
    def given_away(self, size: int) -> Iterator[memoryview]:
        """Give the first `size` bytes of the buffer to a client that may retain them, as a request does that was cut.

        If anybody still has them at the end of the `with` block, they keep this memory: the next view is of other
        memory.
        """
        import ctypes

        assert self._memory is not None
        # All views and arrays that are made of the view, by whatever library, refer to this object.
        origin = (ctypes.c_ubyte * len(self._memory)).from_buffer(self._memory)
        view, still = memoryview(origin).cast("B")[:size], weakref.ref(origin)
        del origin
        try:
            yield view
        finally:
            with suppress(BufferError):  # in use
                view.release()
            if still() is not None:
                self._memory = None


class BackgroundCall(Generic[T]):
    """One call that begins at once, in a daemon thread of its own."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> T:
        """Wait for the call; return what it returned, or raise what it raised."""
        while self._thread.is_alive():
            self._thread.join(timeout=INTERRUPTIBLE_WAIT)
        if self._error:
            raise self._error
        return self._result[0]

    def ends_within(self, seconds: float) -> bool:
        """Wait for the call for `seconds` at most; return whether it has ended. A call that has not ended goes on."""
        self._thread.join(timeout=seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._result.append(self._call())
        except BaseException as error:
            self._error = error


def for_each(
    work: Callable[[T], None],
    items: Iterable[T],
    *,
    threads: int,
    cost: Callable[[T], int] = lambda item: 0,
    budget: int = 0,
    at_once: Callable[[], int] | None = None,
    afterwards: Callable[[], None] = lambda: None,
) -> None:
    """Call `work` once for every item, in threads, which begin the items in the order given.

    An interrupt (Ctrl-C) is raised at once, and leaves the threads to end with the process.

    Args:
        work: called with one item at a time, in each of the threads.
        items: iterated by one thread at a time, at most one item ahead of those that have begun.
        threads: how many items are worked on at once, at most.
        cost: bytes of memory that an item takes while it is worked on.
        budget: bytes of memory that all items at work may take; an item that costs more than that runs alone.
        at_once: how many items may be worked on at once now, 1 or more; looked up when an item begins, and again
            whenever one ends. None for as many as there are threads.
        afterwards: called in each of the threads when no item is left to begin, while others may be at work. After an
            error, too, as the items at work are waited for then; but not in the thread of the error.

    Raises:
        BaseException: the first error of `work`, `items`, `cost` or `afterwards`, after the items already begun have
            ended. No new item begins after an error.
    """
    _ThreadPool(work, items, cost, budget, at_once or (lambda: threads), afterwards).run(threads)


class _ThreadPool(Generic[T]):
    """The threads of one `for_each`, with what they share."""

    def __init__(
        self,
        work: Callable[[T], None],
        items: Iterable[T],
        cost: Callable[[T], int],
        budget: int,
        at_once: Callable[[], int],
        afterwards: Callable[[], None],
    ) -> None:
        self._work, self._items, self._cost, self._budget = work, iter(items), cost, budget
        self._at_once, self._afterwards = at_once, afterwards
        # Held by the thread that takes the next item, until the item fits into the budget: one thread at a time waits
        # for the budget, so items begin in order, and small items do not overtake a large one for ever.
        self._next_item = threading.Lock()
        self._change = threading.Condition()
        self._in_use = 0
        self._at_work = 0
        self._running = 0
        self._error: BaseException | None = None

    def run(self, threads: int) -> None:
        self._running = threads
        try:
            for _ in range(threads):
                threading.Thread(target=self._run, daemon=True).start()
            with self._change:
                while not self._change.wait_for(lambda: not self._running, timeout=INTERRUPTIBLE_WAIT):
                    pass
        except BaseException as interrupt:
            self._error = self._error or interrupt
            raise
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            while (acquired := self._acquire_next()) is not None:
                item, cost = acquired
                try:
                    self._work(item)
                finally:
                    self._release(cost)
            self._afterwards()
        except BaseException as error:
            with self._change:
                self._error = self._error or error
        finally:
            with self._change:
                self._running -= 1
                self._change.notify_all()

    def _acquire_next(self) -> tuple[T, int] | None:
        """The next item and its cost, once that fits; None when there is no more item, or something failed."""
        with self._next_item:
            if self._error:
                return None
            try:
                item = next(self._items)
            except StopIteration:
                return None
            cost = self._cost(item)
            with self._change:
                self._change.wait_for(lambda: self._error or self._fits(cost))
                if self._error:
                    return None
                self._in_use += cost
                self._at_work += 1
            return item, cost

    def _fits(self, cost: int) -> bool:
        is_cheap = not self._in_use or self._in_use + cost <= self._budget
        return is_cheap and self._at_work < self._at_once()

    def _release(self, cost: int) -> None:
        with self._change:
            self._in_use -= cost
            self._at_work -= 1
            self._change.notify_all()
