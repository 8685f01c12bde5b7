"""How long to wait, how often to try again, and when to stop: no request hangs, none gives up too soon."""

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
    """Limits of one request and of its repetition. Times are seconds, sizes bytes.

    A request that was cut for slowness gets twice the time on its next attempt, so that a slow link
    is served in the end while a stalled connection on a fast one is left at once.

    connect: to open a connection. answer: until the first byte of an answer. silence: between any two
    bytes of a body. rate: of one request, bytes a second at the least; a body of that many has a second more
    than an answer. attempts: tries in all (Backblaze B2
    advises to expect runs of 503 by design). unreachable_attempts: tries when no connection is made.
    backoff / backoff_cap: the first and the longest pause between tries, each drawn at random from its
    upper half. give_up: no try is begun later than this after the first, however many are left.
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
        """Seconds that `size` bytes may take on their way."""
        return (self.answer + size / self.rate) * stretch


async def retry(policy: RetryPolicy, attempt: Callable[[float], Awaitable[T]]) -> T:
    """The first success of `attempt`, repeated after Transient errors; raises the last one when tries run out.

    attempt: is given the factor by which to stretch its time limits.
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
    """The result of `work`; cuts it and raises Stalled after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise Stalled(f"{what} took more than {seconds:.0f} s and was cut") from None
