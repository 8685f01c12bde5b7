"""Bodies on their way: the bytes of one object, which one request brings, or several that race."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

_REMEMBERED = 32  # bodies that tell the usual rate


class Body:
    """The bytes of one object, on their way into the memory of the caller that asked for it.

    The first request writes straight into that memory. While it does, others may bring the bytes that are still
    missing: each begins where the bytes so far end, so what has arrived is always a beginning of the object. Whichever
    request comes to the end first ends the body, and the others are cut off. A digest decides later whether the bytes
    are right, whoever brought them.

    Attributes:
        begun: when the body was asked for, in seconds of the monotonic clock.
        size: bytes of the object; None until an answer has said it.
        done: bytes from the object's beginning that have arrived. A hint: at least as many have.
        direct: bytes that the first request has brought.
        repeated: bytes that later requests have brought.
        asked: how many later requests there were.
        won: whether a later request ended the body.
        refused: whether the server that is asked now answered that it is asked too much (429 or 503).
        again: makes one more request for what is missing, and returns when that is over; None where that cannot be
            done, or not now.
    """

    def __init__(self, begun: float | None = None) -> None:
        """Ask for nothing yet. begun: when the body was asked for; now by default."""
        self.begun = time.monotonic() if begun is None else begun
        self.size: int | None = None
        self.done = self.direct = self.repeated = self.asked = 0
        self.won = self.refused = False
        self.again: Callable[[], None] | None = None
        self._into = memoryview(b"")
        self._guard = threading.Lock()
        self._cuts: dict[object, Callable[[], None]] = {}
        self._later: list[object] = []
        self._has_ended = False

    @property
    def is_whole(self) -> bool:
        """Whether the whole object has arrived."""
        return self.size is not None and self.done >= self.size

    @property
    def has_ended(self) -> bool:
        """Whether nothing is written into the caller's memory any more."""
        return self._has_ended

    @property
    def room(self) -> int:
        """Bytes that fit into the caller's memory."""
        return len(self._into)

    @property
    def twice(self) -> int:
        """Bytes that arrived twice."""
        return max(0, self.direct + self.repeated - self.done) if self.asked else 0

    def offer(self, into: memoryview, again: Callable[[], None]) -> None:
        """Begin, be it anew with another server, and let others make a second request.

        What an earlier server was asked for has no say any more: its bytes may be others, such as a page of its own.

        Args:
            into: where the bytes go.
            again: see the attribute.
        """
        with self._guard:
            self._cut_all_but(None)
            self._later.clear()
            self._has_ended = self.won = self.refused = False
            self._into, self.size = into, None
            self.done = self.direct = self.repeated = 0
        self.again = again

    def withdraw(self) -> None:
        """Let nobody make another request."""
        self.again = None

    def begin(self, request: object, cut: Callable[[], None], *, is_later: bool = False) -> bool:
        """Note a request that brings bytes from now on; return False when the body has ended without it.

        Args:
            request: whatever stands for it; each request once.
            is_later: whether it brings what an earlier request was to bring.
            cut: ends the request, called from another thread when a faster one has brought the last byte, and never
                once `leave` has returned.
        """
        with self._guard:
            if not self._has_ended:
                self._cuts[request] = cut
                if is_later:
                    self._later.append(request)
            return not self._has_ended

    def leave(self, request: object) -> bool:
        """Note that a request is over; return False when it was cut, so that its connection is of no use."""
        with self._guard:
            return self._cuts.pop(request, None) is not None

    def is_of(self, size: int) -> bool:
        """Note the object's size as an answer gives it; return whether it fits, and no answer gave another."""
        with self._guard:
            if self.size is None and 0 <= size <= self.room:
                self.size = size
            return self.size == size

    def arrived(self, end: int, count: int) -> None:
        """Note `count` bytes that the first request has written up to `end`. Called by its thread alone."""
        self.direct += count
        self.done = max(self.done, end)

    def fill(self, request: object, offset: int, data: memoryview) -> bool:
        """Write bytes that a later request has brought; return False when it was cut, and nothing was written.

        Args:
            request: that brought them.
            offset: of the first byte in the object; no more than `done`.
            data: the bytes.
        """
        with self._guard:
            if is_wanted := request in self._cuts:
                end = offset + len(data)
                self._into[offset:end] = data
                self.repeated += len(data)
                self.done = max(self.done, end)
            return is_wanted

    def end(self, request: object = None) -> bool:
        """End the body and cut all requests but this one; return False when it had ended before, or cut this one."""
        with self._guard:
            if self._has_ended or (request is not None and request not in self._cuts):
                return False
            self._has_ended = True
            self.won = request in self._later
            self._cut_all_but(request)
        self.withdraw()
        return True

    def _cut_all_but(self, request: object) -> None:
        # Under the guard: a request that wants to leave, and then closes its socket or gives it to another, waits.
        for other in [other for other in self._cuts if other is not request]:
            self._cuts.pop(other)()


class Pace:
    """The usual rate of bodies, from the last ones that came whole. Threads that share it need a lock of their own."""

    def __init__(self) -> None:
        self._bodies: deque[tuple[float, int]] = deque(maxlen=_REMEMBERED)

    def note(self, size: int, seconds: float) -> None:
        """Note a body of `size` bytes that took `seconds` in all."""
        self._bodies.append((size / max(seconds, 1e-6), size))

    @property
    def rate(self) -> float:
        """Bytes per second at which half of the bytes came, or slower; 0 until there is a body.

        Weighted by bytes, because a small body tells of the time until the first byte rather than of the rate.
        """
        bodies = sorted(self._bodies)
        half = sum(size for _, size in bodies) / 2
        for rate, size in bodies:
            half -= size
            if half <= 0:
                return rate
        return 0.0

    @property
    def size(self) -> int:
        """Bytes of a usual body, the median; 0 until there is one."""
        sizes = sorted(size for _, size in self._bodies)
        return sizes[len(sizes) // 2] if sizes else 0
