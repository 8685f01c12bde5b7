"""Second requests: at the end of a fetch, ask once more for the bodies that are far behind the others.

A connection may be slow for reasons of its own: a busy server behind the address, a bad way there. While there are
chunks to hand out that costs little, as the other connections carry them. At the end everybody waits for the slowest.
So a thread that has nothing left to do looks at the bodies still in flight:

    1. while some of them is not far behind, wait: it ends soon, and its share of the link is free for the others then
    2. else ask for the rest of the one that would take longest, on another connection; the first to arrive wins

A body is far behind when its rest, at the rate of the last glance, takes several times as long as the rest would take
at the usual rate of bodies. So none is where all connections are equally slow (docs/decisions/0029-asking-twice.md).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cas.bucket.body import Body, Pace

# Seconds over which the rate of a body is measured before it is called far behind. A lost packet makes TCP pause for
# 0.2 s (RFC 6298 and Linux's TCP_RTO_MIN).
_GLANCE = 0.25
# How many times longer than at the usual rate the rest of a body must take, and the seconds that it must take longer.
_FAR = 4.0
_WORTH = 0.25
# A body that has not taken this many times as long as a whole one usually does may catch up yet.
_LATE = 1.5
# Second requests for one body at most, as the connection of a second request may be slow, too.
_MOST = 4
_TICK = 0.05  # seconds between two looks


class SecondRequests:
    """The bodies in flight of one restore, and the second requests for them. Several threads may use it at once.

    Attributes:
        requests: second requests made.
        won: those that brought the last byte.
        twice: bytes that arrived twice.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without any body. clock: the time in seconds."""
        self.requests = self.won = self.twice = 0
        self._clock = clock
        self._pace = Pace()
        self._bodies: dict[Body, _Progress] = {}
        self._change = threading.Condition()

    @contextmanager
    def body(self) -> Iterator[Body]:
        """Yield a body for a request that is made in the `with` block, and count what became of it afterwards."""
        body = Body(self._clock())
        with self._change:
            self._bodies[body] = _Progress()
        is_whole = False
        try:
            yield body
            is_whole = True
        finally:
            body.end()
            with self._change:
                progress = self._bodies.pop(body)
                if is_whole and body.done and not progress.asked:
                    self._pace.note(body.done, self._clock() - body.begun)
                if not progress.asked:
                    # Its share of the link is free now: what the others were given before says nothing any more.
                    for other in self._bodies.values():
                        other.forget()
                self.requests += body.asked
                self.won += body.won
                self.twice += body.twice
                self._change.notify_all()

    def make(self) -> None:
        """Make second requests, one after the other, until no body is in flight. For threads with nothing to do."""
        while (again := self._next()) is not None:
            again()

    def _next(self) -> Callable[[], None] | None:
        """Wait until a second request is due, and return what makes it; None when no body is in flight any more."""
        with self._change:
            while self._bodies:
                if (again := self.look()) is not None:
                    return again
                self._change.wait(_TICK)
        return None

    def look(self) -> Callable[[], None] | None:
        """Look at the bodies in flight; return what makes a second request for one that is far behind, else None."""
        now, usual = self._clock(), self._pace.rate
        late: list[tuple[float, Body]] = []
        for body, progress in self._bodies.items():
            progress.glance(now, body.done)
        for body, progress in self._bodies.items():
            if progress.asked and progress.rate is None:
                continue  # its second request has just begun
            behind = self._behind(body, progress, now, usual) if progress.asked < _MOST else 0.0
            if behind:
                late.append((behind, body))
            elif not progress.asked and not (body.again is None and self._is_late(body, now, usual)):
                return None
        for _, body in sorted(late, key=lambda each: -each[0]):
            if (again := body.again) is not None:
                self._bodies[body].asked += 1
                self._bodies[body].forget()
                return again
        return None

    def _behind(self, body: Body, progress: _Progress, now: float, usual: float) -> float:
        """Return the seconds that a body's rest takes; 0 where the body is not far behind."""
        if not usual or progress.rate is None or body.again is None:
            return 0.0
        size = body.size if body.size is not None else self._pace.size
        missing = size - body.done
        rest = missing / max(progress.rate, 1.0)
        is_far = rest > _FAR * missing / usual + _WORTH
        return rest if is_far and self._is_late(body, now, usual) else 0.0

    def _is_late(self, body: Body, now: float, usual: float) -> bool:
        size = body.size if body.size is not None else self._pace.size
        return usual > 0 and now - body.begun > _LATE * size / usual


class _Progress:
    """How one body comes along.

    Attributes:
        asked: second requests for it.
        rate: bytes per second over the last glance; None until there was one.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.rate: float | None = None
        self._since: tuple[float, int] | None = None

    def glance(self, now: float, done: int) -> None:
        if self._since is None:
            self._since = now, done
        elif now - self._since[0] >= _GLANCE:
            self.rate = max(0, done - self._since[1]) / (now - self._since[0])
            self._since = now, done

    def forget(self) -> None:
        """Measure anew from the next look on."""
        self._since = self.rate = None
