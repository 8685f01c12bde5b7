"""Read a file of a version as an open file: seekable, straight from the chunks, each of which is verified.

    open_file:  resolve the reference, find the file in the version
    read:       1. which chunk has this byte; get it from the memory that the readers of the store share
                2. reading went on from chunk to chunk: begin to fetch what follows, 2, 4 and then 8 chunks ahead

Nothing is fetched ahead before the second chunk is read: many readers look at the beginning or the end of a file and
then at some part of it. What one read asks for is known to be wanted, so all of it is fetched at once.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any

from cas.formats.manifest import ChunkRef
from cas.formats.version_tree import File
from cas.ops.read.shared_store import SharedStore, share_store
from cas.ops.read.version import Version
from cas.refs.reference import Resolved
from cas.store.store import Store

_BUFFER = 256 * 1024  # bytes of small reads that are taken from a chunk at once
_FURTHEST = 8  # chunks ahead: as many requests as a restore begins with


def open_file(reference: str | Resolved, path: str, store: Store | str | None = None) -> StoredFileReader:
    """Open a file of a version to read from it, without restoring it.

    Chunks are fetched as they are needed, and ahead when the file is read in order; each is verified before a byte of
    it is returned. All files of one open `Store` share their chunks in memory: at most 256 MiB, or an eighth of the
    container's memory, beside the buffers of the requests in flight.

    Args:
        reference: `model`, `model:tag`, `model@digest`, `pin:deployment/model`, or what else `cas.resolve` takes; or an
            already resolved version, such as `read_lock` returns: then only chunks are read from the store. The
            file stays one of the version that the reference names now.
        path: of the file in its repo; in a version of several repos `ORG/NAME/path`, where the first form is no name of
            just one file.
        store: an open store, a URL, or None for the default.

    Raises:
        InputError: the reference is no valid one, or the path names a folder (then it is an IsADirectoryError, too).
        NotFoundError: the store has no such version, or that no such file (then it is a FileNotFoundError, too).
        IntegrityError: the manifest is damaged.
        FormatError: the store's format is not known.
        StoreError: the store cannot be read.
    """
    shared = share_store(store)
    version = Version.find(shared.store, reference)
    return StoredFileReader(shared, version.exact, path, version.file(path))


class StoredFileReader(io.BufferedReader):
    """An open file of a version, as `open(path, "rb")` returns one of the disk. It can be pickled.

    Attributes:
        size: bytes of the whole file.
        name: its path.
        reference: names its version for ever.
    """

    raw: _StoredFile

    def __init__(self, shared: SharedStore, reference: str, path: str, file: File) -> None:
        super().__init__(_StoredFile(shared, file), _BUFFER)
        self._shared = shared
        self.size, self.reference = file.size, reference
        self.raw.name = path

    def __reduce__(self) -> tuple[Callable[..., StoredFileReader], tuple[object, ...]]:
        if self.closed:
            raise ValueError("a closed file cannot be pickled")
        return _reopened, (self.reference, self.name, self._shared.url, self.tell())

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()


def _reopened(reference: str, path: str, store: str, position: int) -> StoredFileReader:
    file = open_file(reference, path, store)
    file.seek(position)
    return file


class _StoredFile(io.RawIOBase):
    """The file without a buffer: `readinto` copies from chunks."""

    name: str

    def __init__(self, shared: SharedStore, file: File) -> None:
        super().__init__()
        self._shared, self._chunks, self._size = shared, file.chunks, file.size
        self._ends = list(accumulate(chunk.size for chunk in file.chunks))
        self._position = 0
        self._last = -1  # index of the chunk that was read last
        self._ahead = 0  # chunks

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}.get(whence)
        if base is None:
            raise ValueError(f"whence is {whence}: use 0, 1 or 2")
        if base + offset < 0:
            raise OSError(22, f"cannot seek to {base + offset}, before the beginning", self.name)
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        self._check_open()
        with memoryview(buffer) as view, view.cast("B") as into:
            return self._copy(into)

    def readall(self) -> bytes:
        self._check_open()
        whole = io.BytesIO(bytes(max(0, self._size - self._position)))
        with whole.getbuffer() as view:
            done = 0
            while done < len(view):
                done += self._copy(view[done:])
        return whole.getvalue()  # the same memory, not a copy

    def close(self) -> None:
        if not self.closed:
            self._shared.end_share(self)
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _copy(self, into: memoryview) -> int:
        """Copy from one chunk; return how many bytes there were, 0 at the end of the file."""
        if not len(into) or self._position >= self._size:
            return 0
        index = bisect_right(self._ends, self._position)
        # What fills the buffer may be more than anybody wants.
        wanted = len(into) if len(into) > _BUFFER else 1
        self._fetch_ahead(index, bisect_right(self._ends, min(self._size, self._position + wanted) - 1))
        chunk = self._chunks[index]
        begin = self._position - (self._ends[index] - chunk.size)
        size = min(len(into), chunk.size - begin)
        into[:size] = self._shared.memory.get(chunk)[begin : begin + size]
        self._position += size
        return size

    def _fetch_ahead(self, index: int, last: int) -> None:
        """Begin to fetch what one read wants, up to chunk `last`, and what will be read if reading goes on."""
        if index == self._last and last == index:
            return
        if index != self._last:
            self._ahead = min(_FURTHEST, max(2, 2 * self._ahead)) if index and index == self._last + 1 else 0
            self._last = index
        furthest = max(index + self._ahead, last)
        if furthest > index:
            memory = self._shared.memory
            memory.fetch_ahead(_within(memory.share(self), self._chunks[index + 1 : furthest + 1]))


def _within(share: int, chunks: Iterable[ChunkRef]) -> Iterator[ChunkRef]:
    """Yield the first chunks, as many as `share` bytes are."""
    for chunk in chunks:
        share -= chunk.size
        if share < 0:
            return
        yield chunk
