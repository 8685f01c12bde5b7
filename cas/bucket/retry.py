"""How long a request may take, how often it is tried again, and when to stop: none hangs, none gives up too soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from cas.errors import Stalled, Transient, Unreachable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of one request and of its retries. All times are in seconds.

    A request that was cut for slowness gets twice the time on its next attempt. So a slow link is served in the end,
    and a stalled connection on a fast link is left at once.

    Attributes:
        connect: to open a connection.
        answer: until the first byte of an answer.
        silence: between any two bytes of a body.
        rate: bytes per second that one request must move at least. A body may take `answer` and a second more for each
            `rate` bytes.
        attempts: tries in all. (Backblaze B2 advises to expect runs of 503 by design.)
        unreachable_attempts: tries in all when no connection can be made.
        backoff: the first pause between tries; each pause is drawn at random from the upper half of its length.
        backoff_cap: the longest pause between tries.
        give_up: no try begins later than this after the first, however many tries are left.
    """

    connect: float = 5.0
    answer: float = 30.0
    silence: float = 15.0
    rate: float = 128 * 1024
    attempts: int = 10
    unreachable_attempts: int = 5
    backoff: float = 0.25
    backoff_cap: float = 6.0
    give_up: float = 180.0

    def body(self, size: int, stretch: float) -> float:
        """Return the seconds that a body of `size` bytes may take. stretch: factor of this attempt."""
        return (self.answer + size / self.rate) * stretch


async def retry(policy: RetryPolicy, attempt: Callable[[float], Awaitable[T]]) -> T:
    """Return the first success of `attempt`, which is repeated after Transient errors.

    Args:
        policy: how often to try, and how long to pause.
        attempt: starts one attempt, given the factor by which to stretch its time limits.

    Raises:
        Transient: the last attempt's error, when no tries are left.
    """
    stretch, begun = 1.0, time.monotonic()
    for tried in range(1, policy.attempts + 1):
        try:
            return await attempt(stretch)
        except Transient as error:
            allowed = policy.unreachable_attempts if isinstance(error, Unreachable) else policy.attempts
            spent = time.monotonic() - begun
            if tried >= allowed or spent >= policy.give_up:
                last = type(error)(f"{error} (gave up after {tried} tries in {spent:.0f} s)")
                last.code = error.code
                raise last from error
            if isinstance(error, Stalled):
                stretch = min(stretch * 2, 8)
            import random

            pause = min(policy.backoff * 2 ** (tried - 1), policy.backoff_cap)
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (jitter, no secret)
    raise AssertionError("unreachable: attempts is at least 1")


async def with_timeout(seconds: float, what: str, work: Awaitable[T]) -> T:
    """Return the result of `work`; cut it and raise Stalled after `seconds`. what: the request, named in the error."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise Stalled(f"{what} took more than {seconds:.0f} s and was cut") from None
