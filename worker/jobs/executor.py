"""One inference at a time: jobs wait in a queue, and a job that nobody waits for any more is never begun."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from worker.errors import BadRequest

T = TypeVar("T")


class SerialExecutor:
    """A single thread, started with the first job, that runs one function after the other."""

    def __init__(self, seconds: float) -> None:
        """Make an executor without a thread yet.

        Args:
            seconds: how long a job may take, the time in the queue included.
        """
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="speak")

    async def run(self, work: Callable[[threading.Event], T]) -> T:
        """Run `work` in the thread when all earlier jobs have ended, and return its result or raise its error.

        If the caller is cancelled while the job is queued, the job is never begun. If it is cancelled later, the
        executor sets the job's event and drops the result; the next job still begins only when this one has ended.

        Args:
            work: gets an event, and should stop soon after that is set.

        Raises:
            BadRequest: the job took too long.
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
            stop.set()  # whatever the reason, nobody waits for the result any more

    def close(self) -> None:
        """End the thread after the job that it runs; queued jobs are not begun."""
        self._thread.shutdown(wait=True, cancel_futures=True)
