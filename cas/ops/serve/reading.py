"""One reader on its way through a file: the chunk that it reads now, and those that are fetched ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from cas.errors import CacheError
from cas.formats.manifest import ChunkRef
from cas.host import MIB
from cas.ops.serve.chunk_cache import ChunkCache
from cas.ops.serve.chunk_fetches import ChunkFetches, Fetched, Flight

_PIECE = MIB // 2
"""Bytes that are read and sent at once: two of them are in memory for each reader."""

_TRIES = 3
"""How often a chunk is fetched for one reader, when it makes way for others before it can be opened."""


class Span(NamedTuple):
    """A run of bytes of one chunk.

    Attributes:
        chunk: the chunk.
        begin: the first byte, in the chunk.
        end: the byte after the last one.
    """

    chunk: ChunkRef
    begin: int
    end: int


class _Opened(Protocol):
    """A verified chunk that is read: its file, or its bytes in memory."""

    def read(self, start: int, size: int) -> bytes: ...

    def close(self) -> None: ...


class _InMemory:
    """A chunk that the cache had no space for."""

    def __init__(self, plain: bytes) -> None:
        self._plain = plain

    def read(self, start: int, size: int) -> bytes:
        return self._plain[start : start + size]

    def close(self) -> None:
        pass


class Reading:
    """One reader on its way through the spans of a file. One thread at a time uses it."""

    def __init__(
        self, spans: Sequence[Span], cache: ChunkCache, fetches: ChunkFetches, most_ahead: Callable[[], int]
    ) -> None:
        """Open nothing yet.

        Args:
            spans: what the reader wants, in this order.
            cache: where chunks are read from.
            fetches: where those come from that the cache lacks.
            most_ahead: returns how many bytes ahead of the reader chunks may be fetched now.
        """
        self._spans, self._cache, self._fetches, self._most_ahead = spans, cache, fetches, most_ahead
        self._opened: _Opened | None = None
        self._at = self._offset = self._tries = 0
        self._ahead_at = 0  # the first span that was not looked at yet
        self._ahead_size = 0  # bytes of the spans from the present one up to that
        self._flights: deque[tuple[int, Flight]] = deque()  # with the spans that they are for
        self._awaited: Flight | None = None

    def next_piece(self) -> bytes | Flight | None:
        """Return the next bytes, or the flight that brings them and goes to `came` when it ends; None at the end.

        Waits for the disk.

        Raises:
            CacheError: the disk fails, or the cache is too small to hold a chunk until it is read.
        """
        if self._at == len(self._spans):
            return None
        span = self._spans[self._at]
        if self._opened is None:
            self._look_ahead()
            self._opened = self._cache.open(span.chunk)
            if self._opened is None:
                return self._fly(span.chunk)
        begin = max(span.begin, self._offset)
        size = min(_PIECE, span.end - begin)
        data = self._opened.read(begin, size)
        self._offset = begin + size
        if self._offset == span.end:
            self._next_span()
        return data

    def came(self, flight: Flight, fetched: Fetched) -> None:
        """Go on with what a flight has brought."""
        self._awaited = None
        self._fetches.leave(flight)
        if fetched.plain is not None:
            self._opened = _InMemory(fetched.plain)

    def close(self) -> None:
        """Leave everything: the reader has gone, or has all."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        if self._awaited is not None:
            self._fetches.leave(self._awaited)
            self._awaited = None
        while self._flights:
            self._fetches.leave(self._flights.popleft()[1])

    def _fly(self, chunk: ChunkRef) -> Flight:
        self._tries += 1
        if self._tries > _TRIES:
            raise CacheError(
                f"chunk {chunk.digest} goes from {self._cache.folder} before it can be read: make the cache larger"
            )
        self._awaited = self._fetches.want(chunk, 0)
        return self._awaited

    def _next_span(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        span = self._spans[self._at]
        self._ahead_size -= span.end - span.begin
        self._at += 1
        self._offset = self._tries = 0
        while self._flights and self._flights[0][0] < self._at:
            self._fetches.leave(self._flights.popleft()[1])

    def _look_ahead(self) -> None:
        """Have the chunks fetched that are needed now and soon, the nearest first."""
        most = self._most_ahead()
        while self._ahead_at < len(self._spans) and (self._ahead_at <= self._at or self._ahead_size < most):
            span = self._spans[self._ahead_at]
            if not self._cache.holds(span.chunk.digest):
                self._flights.append((self._ahead_at, self._fetches.want(span.chunk, self._ahead_size)))
            self._ahead_size += span.end - span.begin
            self._ahead_at += 1


def spans_of(chunks: Sequence[ChunkRef], start: int, stop: int) -> Iterator[Span]:
    """Yield the runs of bytes that make up the bytes from `start` up to `stop` of a file."""
    at = 0
    for chunk in chunks:
        if at >= stop or start >= stop:
            return
        if at + chunk.size > start:
            yield Span(chunk, max(0, start - at), min(chunk.size, stop - at))
        at += chunk.size
