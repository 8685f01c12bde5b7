"""Content of files for readers: from the cache, or from the store through it; no byte before its chunk is verified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from cas import events
from cas.formats.digest import Buffer
from cas.formats.manifest import RepoFile
from cas.host import MIB, Limits
from cas.ops.serve.chunk_cache import ChunkCache
from cas.ops.serve.chunk_fetches import ChunkFetches, Flight
from cas.ops.serve.reading import Reading, spans_of
from cas.store.store import Store

_AHEAD = 256 * MIB
_READERS = 4


class Counts(NamedTuple):
    """What was read so far, and what the cache holds.

    Attributes:
        hits: chunks that readers found in the cache, as they were fetched for others or ahead of them.
        misses: chunks that readers had to wait for.
        fetched: chunks that were fetched from the store.
        plain: their plain bytes.
        wire: bytes of their frames, which crossed the connection.
        cached: bytes of the files in the cache.
        limit: the most bytes that they may have.
        removed: files that made way for others.
        damaged: files in the cache that did not hold what their names say, and were removed.
        streams: readers at work now.
    """

    hits: int
    misses: int
    fetched: int
    plain: int
    wire: int
    cached: int
    limit: int
    removed: int
    damaged: int
    streams: int


class Content:
    """The files' bytes, chunk by chunk, for as many readers as there are on one event loop.

    A chunk is fetched once however many ask, verified, and written to the cache before its first byte is read from
    there. A reader's next chunks are fetched ahead of it.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        limit: int,
        limits: Limits | None = None,
        on_event: events.Listener = events.ignore,
    ) -> None:
        """Take a place in the cache; make no request.

        Args:
            store: where the chunks are.
            folder: of the cache, made if need be.
            limit: the most bytes of its files.
            limits: bounds of memory, requests and threads.
            on_event: hears when the cache cannot be written; called from several threads.

        Raises:
            CacheError: the folder cannot be used.
        """
        limits = limits or Limits()
        self._cache = ChunkCache(folder, limit)
        self._fetches = ChunkFetches(store, self._cache, limits, on_event)
        self._threads = ThreadPoolExecutor(_READERS, "cas-serve-read")
        self._misses = self._streams = 0

    async def stream(self, file: RepoFile, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
        """Yield the bytes of a file from `start` up to, but not including, `stop`.

        Nothing is yielded before its chunk is verified. An error before the first piece means that nothing can be
        read; a later one ends the body early, and the caller closes the connection, so that no client takes what it
        got for the whole.

        Args:
            file: the file.
            start: the first byte.
            stop: the byte after the last one, at most the file's size.

        Raises:
            NotFoundError: the store has lost a chunk.
            IntegrityError: a chunk is damaged there.
            StoreError: the store cannot be reached.
            CacheError: the disk fails.
        """
        spans = list(spans_of(file.chunks, start, stop))
        reading = Reading(spans, self._cache, self._fetches, self._ahead)
        self._streams += 1
        step = self._threads.submit(reading.next_piece)
        try:
            while (piece := await asyncio.wrap_future(step)) is not None:
                if isinstance(piece, Flight):
                    self._misses += 1
                    reading.came(piece, await asyncio.shield(asyncio.wrap_future(piece.result)))
                    step = self._threads.submit(reading.next_piece)
                else:
                    step = self._threads.submit(reading.next_piece)  # while this one is sent
                    yield piece
        finally:
            self._streams -= 1
            step.cancel()
            step.add_done_callback(lambda _: reading.close())  # at once, or by the thread that still reads

    @property
    def folder(self) -> Path:
        """The place in the cache, which no other server uses meanwhile."""
        return self._cache.folder

    def counts(self) -> Counts:
        """Return what was read so far, and what the cache holds."""
        cache, fetches = self._cache, self._fetches
        return Counts(
            max(0, cache.opened - self._misses),
            self._misses,
            fetches.chunks,
            fetches.plain,
            fetches.wire,
            cache.size,
            cache.limit,
            cache.removed,
            cache.damaged,
            self._streams,
        )

    def close(self) -> None:
        """End the reads and begin no more fetches; another server may use the place in the cache."""
        self._fetches.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._cache.close()

    def _ahead(self) -> int:
        """Return how many bytes ahead of a reader chunks are fetched: all readers share half of the cache."""
        if not self._fetches.is_kept:
            return 0
        return min(_AHEAD, self._cache.usable // 2 // max(1, self._streams))
