"""Parts of a stored file, read from its chunks: each chunk is fetched once, whatever is wanted of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from cas.errors import FormatError
from cas.formats import safetensors
from cas.formats.frame import Codec
from cas.formats.manifest import ChunkRef
from cas.parallel import Pool, ReusableBuffer
from cas.store.store import Store


class Range(NamedTuple):
    """Bytes of a file that are wanted. at: where they go in the reader's buffer."""

    start: int
    size: int
    at: int


class Piece(NamedTuple):
    """A run of a file's bytes that lies within one chunk. start: in the chunk."""

    chunk: ChunkRef
    start: int
    size: int


class _Part(NamedTuple):
    """What is wanted of one chunk. start: in the chunk."""

    start: int
    size: int
    at: int


class StoredFile:
    """A file by its chunks."""

    def __init__(self, store: Store, chunks: Sequence[ChunkRef], codecs: Pool[Codec]) -> None:
        self._store, self._chunks, self._codecs = store, chunks, codecs
        self._ends = list(accumulate(chunk.size for chunk in chunks))

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._ends[-1] if self._ends else 0

    def pieces(self, start: int, size: int) -> Iterator[Piece]:
        """Where the bytes from `start` on, which must lie within the file, are."""
        index = bisect_right(self._ends, start)
        while size:
            chunk = self._chunks[index]
            inside = start - (self._ends[index] - chunk.size)
            part = min(size, chunk.size - inside)
            yield Piece(chunk, inside, part)
            start, size, index = start + part, size - part, index + 1

    def safetensors_head(self) -> bytes:
        """The bytes before the data, as `safetensors.parse` takes them; raises FormatError when the file has none."""
        if self.size < 8:
            raise FormatError("it is too short for a header")
        first, room = memoryview(bytearray(8)), ReusableBuffer()
        self.read([Range(0, 8, 0)], first, room)
        head = memoryview(bytearray(safetensors.length(bytes(first), self.size)))
        self.read([Range(0, len(head), 0)], head, room)
        return bytes(head)

    def read(self, wanted: Iterable[Range], buffer: memoryview, room: ReusableBuffer) -> None:
        """Puts each range, which must lie within the file, where it says; raises ChunkMissing, ChunkCorrupt.

        room: memory for frames.
        """
        parts: dict[ChunkRef, list[_Part]] = {}
        for piece in wanted:
            self._find(piece, parts)
        for chunk, places in parts.items():
            self._copy(chunk, places, buffer, room)

    def _copy(self, chunk: ChunkRef, places: Iterable[_Part], buffer: memoryview, room: ReusableBuffer) -> None:
        frame = self._store.get_frame(chunk, room)
        with self._codecs.acquire() as codec:
            plain = self._store.open_frame(chunk, frame, codec.decoder)
            for start, size, at in places:
                buffer[at : at + size] = plain[start : start + size]

    def _find(self, wanted: Range, parts: dict[ChunkRef, list[_Part]]) -> None:
        at = wanted.at
        for chunk, start, size in self.pieces(wanted.start, wanted.size):
            parts.setdefault(chunk, []).append(_Part(start, size, at))
            at += size
