"""One inference at a time: jobs wait for their turn, and those that nobody waits for any more never get it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from worker.errors import BadRequest

T = TypeVar("T")


class Turns:
    """A single thread, begun with the first job, that does one piece of work after the other."""

    def __init__(self, seconds: float) -> None:
        """seconds: that a job may take, waiting included."""
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="speak")

    async def take(self, work: Callable[[threading.Event], T]) -> T:
        """What `work` returns, or raises, when its turn has come.

        Cancelled before, it is never begun; cancelled meanwhile, the event it was given is set and its result
        dropped, but the next turn begins only when it has really ended. Raises BadRequest when it takes too long.
        """
        stop = threading.Event()
        future = asyncio.wrap_future(self._thread.submit(work, stop))
        try:
            async with asyncio.timeout(self._seconds) as limit:
                return await future
        except TimeoutError:
            if not limit.expired():
                raise
            raise BadRequest(
                f"text was not spoken within {self._seconds:g} s, waiting included: send less, or add workers"
            ) from None
        finally:
            stop.set()  # nobody waits any more, whatever the reason

    def close(self) -> None:
        """Ends the thread after the work in hand; what waits is not begun."""
        self._thread.shutdown(wait=True, cancel_futures=True)
