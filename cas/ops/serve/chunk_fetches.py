"""Fetches of chunks: each once however many ask, the nearest to a reader first, within a budget of memory.

Order of steps:
    1. a reader names the chunks that it will need, with how far ahead each is: a flight begins, or is joined
    2. a thread takes the flight that is nearest to its reader, unless all its readers have gone
    3. it fetches the frame, decodes and verifies it, and writes the plain bytes to the cache
    4. all who wait for the chunk are told, and open its file
"""

from __future__ import annotations

import heapq
import itertools
import threading
from concurrent.futures import Future
from typing import NamedTuple

from cas import events
from cas.bucket.body import Body
from cas.bucket.requests_at_once import RequestsAtOnce
from cas.errors import CacheError
from cas.formats.frame import Decoder
from cas.formats.manifest import ChunkRef
from cas.host import MIB, Limits
from cas.ops.serve.chunk_cache import ChunkCache
from cas.parallel import Pool, ReusableBuffer, Workers
from cas.store.store import Store

_BUDGET = 128 * MIB
"""Plain bytes of chunks in flight at most: with frames and decoded chunks, half of the 400 MiB of a server."""


class Fetched(NamedTuple):
    """A chunk that was fetched and verified.

    Attributes:
        plain: its bytes, where the cache could not take them and a reader waits; None where they are in its file.
    """

    plain: bytes | None


class Flight:
    """One chunk on its way, for all who want it.

    Attributes:
        chunk: the chunk.
        result: what became of it, or the error that ended it.
        interest: readers that will need it; a flight without any is dropped before it begins.
        distance: bytes from the nearest of them.
        has_begun: whether a thread works on it.
    """

    def __init__(self, chunk: ChunkRef, distance: int) -> None:
        self.chunk, self.distance = chunk, distance
        self.result: Future[Fetched] = Future()
        self.interest, self.has_begun = 0, False


class ChunkFetches:
    """Fetches chunks from a store into a cache, in threads of its own that end with the process.

    Attributes:
        chunks: how many were fetched.
        plain: their plain bytes.
        wire: bytes of their frames, which crossed the connection.
        is_kept: whether the cache took the last one.
    """

    def __init__(self, store: Store, cache: ChunkCache, limits: Limits, listen: events.Listener) -> None:
        """Start no thread yet.

        Args:
            store: where the chunks are.
            cache: where they go.
            limits: bounds of memory, requests and threads.
            listen: hears when the cache cannot be written; called from several threads.
        """
        self._store, self._cache, self._listen = store, cache, listen
        self._budget, self._most = min(_BUDGET, limits.budget), limits.requests
        self._at_once = RequestsAtOnce(limits.requests)
        self._buffers, self._decoders = Pool(ReusableBuffer, limits.requests), Workers(Decoder, limits.workers)
        self._flights: dict[str, Flight] = {}
        self._queue: list[tuple[int, int, Flight]] = []
        self._order = itertools.count()
        self._change = threading.Condition()
        self._threads = self._idle = self._in_use = self._at_work = 0
        self._is_closed, self._said = False, ""
        self.chunks = self.plain = self.wire = 0
        self.is_kept = True

    def want(self, chunk: ChunkRef, distance: int) -> Flight:
        """Begin to fetch a chunk, or join those who wait for it; `leave` ends the interest in it.

        Args:
            chunk: the chunk.
            distance: bytes until the reader needs it; 0 when it waits now.
        """
        with self._change:
            flight = self._flights.get(chunk.digest)
            if flight is None:
                flight = self._flights[chunk.digest] = Flight(chunk, distance)
                self._push(flight)
            elif distance < flight.distance:
                flight.distance = distance
                if not flight.has_begun:
                    self._push(flight)
            flight.interest += 1
            return flight

    def leave(self, flight: Flight) -> None:
        """Note that a reader wants a chunk no longer, or has it."""
        with self._change:
            flight.interest -= 1
            if not flight.interest and not flight.has_begun and self._flights.get(flight.chunk.digest) is flight:
                del self._flights[flight.chunk.digest]
                flight.result.cancel()

    def close(self) -> None:
        """Begin no more fetches; those under way go on until the process ends."""
        with self._change:
            self._is_closed = True
            self._change.notify_all()

    def _push(self, flight: Flight) -> None:
        heapq.heappush(self._queue, (flight.distance, next(self._order), flight))
        if len(self._queue) > self._idle and self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._run, name="cas-serve-fetch", daemon=True).start()
        self._change.notify()

    def _run(self) -> None:
        while (flight := self._next()) is not None:
            try:
                result = self._fetch(flight)
            except BaseException as error:
                self._end(flight)
                flight.result.set_exception(error)
            else:
                self._end(flight)
                flight.result.set_result(result)

    def _next(self) -> Flight | None:
        """Wait for the flight that is nearest to its reader and fits into the budget; None when no more begin."""
        with self._change:
            self._idle += 1
            while not self._is_closed:
                while self._queue and (self._queue[0][2].has_begun or not self._queue[0][2].interest):
                    heapq.heappop(self._queue)
                if self._queue and self._fits(self._queue[0][2].chunk.size):
                    flight = heapq.heappop(self._queue)[2]
                    flight.has_begun = flight.result.set_running_or_notify_cancel()
                    self._in_use += flight.chunk.size
                    self._at_work += 1
                    self._idle -= 1
                    return flight
                self._change.wait()
            return None

    def _fits(self, size: int) -> bool:
        is_small = not self._in_use or self._in_use + size <= self._budget
        return is_small and self._at_work < self._at_once.now

    def _end(self, flight: Flight) -> None:
        # Before anybody is told: who wants the chunk from now on finds it in the cache, or tries again after an error.
        with self._change:
            del self._flights[flight.chunk.digest]
            self._in_use -= flight.chunk.size
            self._at_work -= 1
            self._change.notify_all()

    def _fetch(self, flight: Flight) -> Fetched:
        chunk = flight.chunk
        if self._cache.holds(chunk.digest):  # an earlier flight ended after the reader had looked into the cache
            return Fetched(None)
        with self._buffers.acquire() as buffer:
            body = Body()
            try:
                frame = self._store.get_frame(chunk, buffer, body)
            finally:
                body.end()
            self._at_once.came(len(frame), body.begun, refused=body.refused)
            result = self._decoders.run(
                lambda decoder: self._keep(flight, self._store.open_frame(chunk, frame, decoder))
            )
            wire = len(frame)
        with self._change:
            self.chunks += 1
            self.plain += chunk.size
            self.wire += wire
        return result

    def _keep(self, flight: Flight, plain: memoryview) -> Fetched:
        try:
            self.is_kept = self._cache.add(flight.chunk, plain)
        except CacheError as error:
            self.is_kept = False
            if str(error) != self._said:
                self._said = str(error)
                self._listen(events.Warned(f"chunks are not kept on this disk: {error}"))
        # What is fetched ahead of readers is not kept in memory for them: it would be without bound.
        return Fetched(bytes(plain) if not self.is_kept and not flight.distance else None)
