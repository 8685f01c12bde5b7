"""Fetch: request chunks, several at once; decode, verify and hand over each on arrival.

A restore writes them to part files, `cas.load_tensors` to the memory of tensors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cas import events
from cas.formats.manifest import ChunkRef
from cas.host import Limits
from cas.parallel import Pool, ReusableBuffer, Workers, for_each
from cas.store.store import Store

T = TypeVar("T")
D_co = TypeVar("D_co", covariant=True)
S_contra = TypeVar("S_contra", contravariant=True)


class Wanted(Protocol[D_co]):
    """A chunk to fetch, once, and where its bytes are wanted."""

    @property
    def chunk(self) -> ChunkRef:
        """Digest and plain size."""

    @property
    def destinations(self) -> Sequence[D_co]:
        """All places where the bytes are wanted."""


class Sink(Protocol[S_contra]):
    """What takes fetched chunks; called from several threads."""

    def write(self, destinations: Sequence[S_contra], plain: memoryview, /) -> None:
        """Write a verified chunk to every destination. The memory of `plain` is used again afterwards."""


@dataclass(frozen=True, slots=True)
class Second:
    """Requests for chunks that had been requested before, because their first body was far behind.

    Attributes:
        requests: how many.
        won: how many of them brought the last byte of a chunk.
        bytes: that arrived twice, not counted in `wire`.
    """

    requests: int = 0
    won: int = 0
    bytes: int = 0

    def plus(self, requests: int, won: int, twice: int) -> Second:
        """Return the sum of these and others."""
        return Second(self.requests + requests, self.won + won, self.bytes + twice)


class Fetcher:
    """Fetches the chunks of one operation, and counts their bytes.

    Attributes:
        fetched: plain bytes of the chunks that were written.
        wire: bytes of their frames, which crossed the connection.
        second: the second requests for chunks that were far behind.
    """

    def __init__(self, store: Store, limits: Limits, listen: events.Listener) -> None:
        """Make no request yet.

        Args:
            store: where the chunks are.
            limits: bounds of requests and threads.
            listen: hears of each chunk that was written; called from several threads.
        """
        self._store, self._limits, self._listen = store, limits, listen
        self.fetched = self.wire = 0
        self.second = Second()
        self._counting = threading.Lock()

    def fetch(
        self,
        fetches: Sequence[Wanted[T]],
        sink: Sink[T],
        budget: int,
        memory: Callable[[Sequence[T]], memoryview | None] = lambda destinations: None,
    ) -> None:
        """Fetch, decode, verify and write chunks.

        Args:
            fetches: the chunks with their destinations, requested in this order.
            sink: where chunks are written to.
            budget: plain bytes of the chunks in flight, at most.
            memory: returns the memory that a chunk for these destinations is decoded into, of just its size, and which
                holds anything until the chunk is written; None to decode it in memory that is used again.
        """
        from cas.bucket.requests_at_once import RequestsAtOnce
        from cas.formats.frame import Decoder
        from cas.store.second_requests import SecondRequests

        if not fetches:
            return
        threads = min(self._limits.requests, len(fetches))
        buffers, decoders = Pool(ReusableBuffer, threads), Workers(Decoder, self._limits.workers)
        at_once, second = RequestsAtOnce(threads), SecondRequests()

        def fetch_one(fetch: Wanted[T]) -> None:
            with buffers.acquire() as buffer:
                with second.body() as body:
                    frame = self._store.get_frame(fetch.chunk, buffer, body)
                at_once.came(len(frame), body.begun, refused=body.refused)
                into = memory(fetch.destinations)
                decoders.run(
                    lambda decoder: sink.write(
                        fetch.destinations, self._store.open_frame(fetch.chunk, frame, decoder, into)
                    )
                )
                self._count(fetch.chunk.size, len(frame))

        try:
            for_each(
                fetch_one,
                fetches,
                threads=threads,
                cost=lambda fetch: fetch.chunk.size,
                budget=budget,
                at_once=lambda: at_once.now,
                afterwards=second.make,
            )
        finally:
            self.second = self.second.plus(second.requests, second.won, second.twice)

    def _count(self, plain: int, wire: int) -> None:
        with self._counting:
            self.fetched += plain
            self.wire += wire
        self._listen(events.Moved(plain, wire))
