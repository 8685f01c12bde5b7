"""One file being read: its chunks, hashed in any order, come together in theirs, and its blob's name with them."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cas.errors import CacheError, InputError, IntegrityError
from cas.formats import chunking
from cas.formats.digest import hex_of
from cas.formats.manifest import ChunkRef, RepoFile
from cas.local.fs import read_at
from cas.local.hf_cache import SnapshotFile, blob_hash


class Slice(NamedTuple):
    """Where a chunk's bytes lie on this machine. width: bytes per element, None when not told."""

    path: Path
    offset: int
    size: int
    width: int | None

    def read(self, into: memoryview) -> memoryview | None:
        """The bytes, in the first of `into`; None when the file has become shorter. Raises OSError."""
        view = into[: self.size]
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return view if read_at(fd, view, self.offset) == self.size else None
        finally:
            os.close(fd)


class Reading:
    """A file that is read once, chunk by chunk, by several threads.

    slices: its chunks to be. chunks: those hashed so far. blob: at the end the name of its content, empty when nobody
    asked for it.
    """

    def __init__(self, file: SnapshotFile, alike: Iterable[RepoFile] = (), *, named: bool = True) -> None:
        """named: whether its blob's name is wanted. alike: files of the parent that may have the same content.

        Raises CacheError or InputError when the file cannot be read.
        """
        self._file = file
        with _explained(file), file.real.open("rb") as opened:
            spans = chunking.spans(opened, file.size)
        self.slices = tuple(Slice(file.real, *span) for span in spans)
        self.chunks: list[ChunkRef] = []
        self.blob = ""
        # As long as the chunks are those of a file whose sha256 is known, it need not be computed.
        self._alike = [other for other in alike if _may_be(other, file)] if named else []
        self._running = blob_hash(file.blob or _SHA256, self.size) if named and not self._alike else None
        self._turn = threading.Condition()
        self._given_up = False
        if not self.slices:
            self._finish()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    @property
    def seems_known(self) -> bool:
        """Whether a file of the parent may still prove to have the same content."""
        return bool(self._alike)

    def read(self, number: int, into: memoryview) -> memoryview:
        """The bytes of one chunk, in the first of `into`; raises CacheError when they are no longer there."""
        with _explained(self._file):
            view = self.slices[number].read(into)
        if view is None:
            raise _changed(self._file)
        return view

    def add(self, number: int, digest: str, plain: memoryview) -> bool:
        """Takes note of a chunk when it is its turn, and with the last one of the file's name.

        False when a chunk before it failed. Raises IntegrityError when the content is not what the file's name says,
        CacheError when the file was written to meanwhile.
        """
        with self._turn:
            self._turn.wait_for(lambda: self._given_up or len(self.chunks) == number)
            if self._given_up:
                return False
            self._follow(ChunkRef(digest, len(plain)), plain)
            if len(self.chunks) == len(self.slices):
                self._finish()
            self._turn.notify_all()
        return True

    def give_up(self) -> None:
        """Lets go whoever waits for a chunk that will not come."""
        with self._turn:
            self._given_up = True
            self._turn.notify_all()

    def _follow(self, chunk: ChunkRef, plain: memoryview) -> None:
        number, before = len(self.chunks), self._alike
        self._alike = [other for other in before if other.chunks[number : number + 1] == (chunk,)]
        if before and not self._alike:
            self._running = self._catch_up()
        if self._running is not None:
            self._running.update(plain)
        self.chunks.append(chunk)

    def _catch_up(self) -> hashlib._Hash:
        """The hash over the chunks so far, which must be the same bytes as before."""
        running = blob_hash(_SHA256, self.size)
        room = memoryview(bytearray(max((chunk.size for chunk in self.chunks), default=0)))
        for number, chunk in enumerate(self.chunks):
            plain = self.read(number, room)
            if hex_of(plain) != chunk.digest:
                raise _changed(self._file)
            running.update(plain)
        return running

    def _finish(self) -> None:
        with _explained(self._file):
            after = os.stat(self._file.real)
        # Compared with what the listing saw: a file that changed between the listing and its first read counts, too.
        if (after.st_size, after.st_mtime_ns) != (self._file.size, self._file.mtime_ns):
            raise _changed(self._file)
        if self._alike:
            self.blob = self._alike[0].blob
        elif self._running is not None:
            self.blob = self._running.hexdigest()
        if self._file.blob not in (None, self.blob):
            raise IntegrityError(
                f"{self._file.real} is named {self._file.blob} but its content is {self.blob}: "
                "it is damaged; remove it and download it again"
            )


_SHA256 = "0" * 64  # any name of that kind


def _may_be(other: RepoFile, file: SnapshotFile) -> bool:
    # A name that the parent has not is either new or wrong, which only computing it can tell.
    return file.blob is None and other.size == file.size and len(other.blob) == len(_SHA256)


@contextmanager
def _explained(file: SnapshotFile) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise InputError(f"{error.filename} cannot be read: check its owner and mode") from None
    except FileNotFoundError:
        raise _changed(file) from None
    except OSError as error:
        raise CacheError(
            f"{file.real} cannot be read ({error.strerror}): check its disk, then publish again"
        ) from error


def _changed(file: SnapshotFile) -> CacheError:
    return CacheError(f"{file.real} changed while it was read: publish again when its writer is done")
