"""Byte ranges of a stored file, read from its chunks: a read fetches each chunk once, however many ranges need it."""

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


class ByteRange(NamedTuple):
    """A range of a file that is wanted.

    Attributes:
        start: offset of its first byte in the file.
        size: bytes.
        target: offset in the reader's buffer where they go.
    """

    start: int
    size: int
    target: int


class ChunkSlice(NamedTuple):
    """A range of a file's bytes that lies within one chunk.

    Attributes:
        chunk: which chunk.
        start: offset of the first byte in the chunk.
        size: bytes.
    """

    chunk: ChunkRef
    start: int
    size: int


class _Copy(NamedTuple):
    """What is copied from one chunk: `size` bytes from offset `start` to offset `target` of the reader's buffer."""

    start: int
    size: int
    target: int


class StoredFile:
    """A file in a store, by its chunks."""

    def __init__(self, store: Store, chunks: Sequence[ChunkRef], codecs: Pool[Codec]) -> None:
        self._store, self._chunks, self._codecs = store, chunks, codecs
        self._ends = list(accumulate(chunk.size for chunk in chunks))

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self._ends[-1] if self._ends else 0

    def slices(self, start: int, size: int) -> Iterator[ChunkSlice]:
        """Yield, in order, the slices of chunks that `size` bytes from offset `start` consist of.

        The range must lie within the file.
        """
        index = bisect_right(self._ends, start)
        while size:
            chunk = self._chunks[index]
            inside = start - (self._ends[index] - chunk.size)
            taken = min(size, chunk.size - inside)
            yield ChunkSlice(chunk, inside, taken)
            start, size, index = start + taken, size - taken, index + 1

    def safetensors_head(self) -> bytes:
        """Return the bytes before the data, as `safetensors.parse` takes them.

        Raises:
            FormatError: the file has no safetensors header.
            ChunkMissing: the store lacks a chunk of it.
            ChunkCorrupt: a chunk of it is damaged.
        """
        if self.size < 8:
            raise FormatError("it is too short for a header")
        # A file that was cut at its tensors has its header in the first chunk, alone.
        first, frames = memoryview(bytearray(max(8, self._chunks[0].size))), ReusableBuffer()
        self.read([ByteRange(0, len(first), 0)], first, frames)
        length = safetensors.length(bytes(first[:8]), self.size)
        if length <= len(first):
            return bytes(first[:length])
        head = memoryview(bytearray(length))
        head[: len(first)] = first
        self.read([ByteRange(len(first), length - len(first), len(first))], head, frames)
        return bytes(head)

    def read(self, ranges: Iterable[ByteRange], buffer: memoryview, frames: ReusableBuffer) -> None:
        """Copy ranges of the file into `buffer`, each to the offset that it names.

        Args:
            ranges: what to read; each must lie within the file.
            buffer: where the bytes go.
            frames: memory for a frame at a time.

        Raises:
            ChunkMissing: the store lacks a chunk.
            ChunkCorrupt: a chunk is damaged.
        """
        copies: dict[ChunkRef, list[_Copy]] = {}
        for wanted in ranges:
            target = wanted.target
            for chunk, start, size in self.slices(wanted.start, wanted.size):
                copies.setdefault(chunk, []).append(_Copy(start, size, target))
                target += size
        for chunk, of_chunk in copies.items():
            self._copy(chunk, of_chunk, buffer, frames)

    def _copy(self, chunk: ChunkRef, copies: Iterable[_Copy], buffer: memoryview, frames: ReusableBuffer) -> None:
        frame = self._store.get_frame(chunk, frames)
        with self._codecs.acquire() as codec:
            plain = self._store.open_frame(chunk, frame, codec.decoder)
            for start, size, target in copies:
                buffer[target : target + size] = plain[start : start + size]
