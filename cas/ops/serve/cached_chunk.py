"""A chunk's file in the cache of a server: what is known of it, and the file while a reader has it open."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import NamedTuple

from cas.errors import CacheError
from cas.formats.manifest import ChunkRef


class Stamp(NamedTuple):
    """What a file was like when its bytes were hashed."""

    inode: int
    size: int
    modified: int


class CacheEntry:
    """A chunk's file. `stamp` is None until this process has hashed or written it."""

    __slots__ = ("hashing", "pins", "size", "stamp")

    def __init__(self, size: int, stamp: Stamp | None = None) -> None:
        self.size, self.stamp, self.pins = size, stamp, 0
        self.hashing = threading.Lock()


class CachedChunk:
    """The file of a verified chunk, open for one reader. The file is not removed before it is closed.

    One thread at a time uses it.
    """

    def __init__(self, chunk: ChunkRef, fd: int, closed: Callable[[], None]) -> None:
        """Take a descriptor over. closed: is called once, when the reader has closed the chunk."""
        self._chunk, self._fd, self._closed = chunk, fd, closed

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes of the chunk from the byte `start` on; waits for the disk.

        Raises:
            CacheError: the file is shorter now, or cannot be read.
        """
        try:
            data = os.pread(self._fd, size, start)
        except OSError as error:
            raise CacheError(f"the cached chunk {self._chunk.digest} cannot be read: {error.strerror}") from error
        if len(data) != size:
            raise CacheError(f"the cached chunk {self._chunk.digest} was cut while it was read")
        return data

    def close(self) -> None:
        """Let the file go."""
        os.close(self._fd)
        self._closed()
