"""How many requests are in flight: few at first, more while that brings bytes, fewer when the server refuses some."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# At first. More take more memory (11 MiB each) and are no faster where the store is near (docs/performance.md).
_FIRST = 8
_STEP = 3
_FEWEST = 2
# How much more bytes a second a step must bring to be followed by another.
_GAIN = 1.05


class RequestsAtOnce:
    """The number of requests in flight that a fetch may have. Several threads may use it at once.

    The bytes of as many bodies as there are requests are timed. If they came faster than with fewer requests, the
    number grows by a step; if not, the last step is taken back, and that is the number. A refusal (429 or 503) halves
    it, and what was learnt before counts no more. A refusal of a request that began before the last halving does not
    count.

    Attributes:
        now: how many requests may be in flight.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with few. most: the highest number; clock: the time in seconds."""
        self.now = min(_FIRST, most)
        self._most, self._clock = most, clock
        self._guard = threading.Lock()
        self._refused_at = float("-inf")
        self._fewer: tuple[int, float] | None = None  # the number before the last step, and its bytes per second
        self._is_settled = False
        self._begin()

    def came(self, size: int, begun: float, *, refused: bool) -> None:
        """Note a body that came.

        Args:
            size: bytes of the body.
            begun: when it was requested, in seconds of the clock.
            refused: whether the server refused it at first because it was asked too much.
        """
        with self._guard:
            if refused:
                self._shrink(begun)
                return
            self._bodies += 1
            self._bytes += size
            if self._bodies >= self.now and not self._is_settled:
                self._judge()

    def _judge(self) -> None:
        rate = self._bytes / max(self._clock() - self._begun, 1e-6)
        if self._fewer is not None and rate < _GAIN * self._fewer[1]:
            self.now, self._is_settled = self._fewer[0], True
        elif self.now < self._most:
            self._fewer = self.now, rate
            self.now = min(self._most, self.now + _STEP)
        self._begin()

    def _shrink(self, begun: float) -> None:
        if begun >= self._refused_at:
            self._refused_at = self._clock()
            self.now = max(min(_FEWEST, self._most), self.now // 2)
            self._fewer, self._is_settled = None, False
            self._begin()

    def _begin(self) -> None:
        self._begun, self._bodies, self._bytes = self._clock(), 0, 0
