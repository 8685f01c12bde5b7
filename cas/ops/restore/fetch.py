"""Fetch: request the chunks that this machine lacks, several at once; decode, verify and write each on arrival."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from cas import events
from cas.host import Limits
from cas.ops.restore.part_files import PartFiles
from cas.ops.restore.plan import Fetch
from cas.parallel import Pool, ReusableBuffer, Workers, for_each
from cas.store.store import Store


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
    """Fetches the chunks of one restore, and counts their bytes.

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

    def fetch(self, fetches: Sequence[Fetch], part_files: PartFiles, budget: int) -> None:
        """Fetch, decode, verify and write chunks.

        Args:
            fetches: the chunks with their destinations, requested in this order.
            part_files: where chunks are written to.
            budget: plain bytes of the chunks in flight, at most.
        """
        from cas.formats.frame import Decoder
        from cas.ops.restore.requests_at_once import RequestsAtOnce
        from cas.ops.restore.second_requests import SecondRequests

        if not fetches:
            return
        threads = min(self._limits.requests, len(fetches))
        buffers, decoders = Pool(ReusableBuffer, threads), Workers(Decoder, self._limits.workers)
        at_once, second = RequestsAtOnce(threads), SecondRequests()

        def fetch_one(fetch: Fetch) -> None:
            with buffers.acquire() as buffer:
                with second.body() as body:
                    frame = self._store.get_frame(fetch.chunk, buffer, body)
                at_once.came(len(frame), body.begun, refused=body.refused)
                decoders.run(
                    lambda decoder: part_files.write(
                        fetch.destinations, self._store.open_frame(fetch.chunk, frame, decoder)
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
