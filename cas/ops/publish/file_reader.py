"""One file that several threads read: its chunks are hashed in any order and recorded in the order of the file."""

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
from cas.local.fs import open_binary, open_for_reading, read_at
from cas.local.hf_cache import SnapshotFile, blob_hash


class FileSlice(NamedTuple):
    """The bytes of a file that make up one chunk.

    Attributes:
        path: the file.
        offset: where the bytes begin, in bytes.
        size: how many bytes.
        width: bytes per element; None when the file's format does not tell it.
    """

    path: Path
    offset: int
    size: int
    width: int | None

    def read(self, into: memoryview) -> memoryview | None:
        """Read the bytes into the beginning of `into`, and return them.

        Returns:
            None when the file has become shorter.

        Raises:
            OSError: the file cannot be opened or read.
        """
        view = into[: self.size]
        with open_for_reading(self.path) as fd:
            return view if read_at(fd, view, self.offset) == self.size else None


class FileReader:
    """A file that several threads read once, chunk by chunk.

    A thread reads a chunk into its buffer (`read`), hashes it, and records it (`add`). `add` waits until all chunks
    before this one are recorded, because the file's sha256 or git sha1 takes the bytes in order.

    Deadlock rule: buffers are acquired in file order, and so is everything else that a chunk needs before `add` (a
    thread, its share of the memory budget). `add` makes a chunk wait for its predecessors while it keeps its own
    buffer, so every predecessor must already own one. In any other order, all buffers could belong to chunks that wait
    for a chunk without a buffer.

    Attributes:
        slices: the slices of the file that become its chunks, in order; those that `cut` has yielded, if the file is
            cut by its content.
        chunks: the chunks recorded so far, in order.
        blob: the name of the file's content (64 or 40 hex), once all chunks are recorded; empty when it is not needed.
    """

    def __init__(self, file: SnapshotFile, parent_files: Iterable[RepoFile] = (), *, needs_blob: bool = True) -> None:
        """Open the file once, to find out where its chunks begin.

        Args:
            file: the file as it was listed; size and modification time must stay the same until it is read.
            parent_files: files of the parent manifest. If this file proves to consist of the same chunks as one of
                them, it has that file's sha256, which then need not be computed.
            needs_blob: whether the name of the file's content is needed: files outside repos have none.

        Raises:
            CacheError: the file changed since it was listed, or its disk fails.
            InputError: this user may not read the file.
        """
        self._file = file
        with reading_errors(file), open_binary(file.real) as opened:
            self._cutter = chunking.Cutter(opened, file.size)
        # A file that is cut by its content is read while it is uploaded: see `cut`.
        self.slices = [] if self._cutter.by_content else self.fewest_slices()
        self.chunks: list[ChunkRef] = []
        self.blob = ""
        # Files of the parent that consist of the same chunks as this file, as far as it is recorded.
        self._same_so_far = [other for other in parent_files if _may_be_same(other, file)] if needs_blob else []
        compute = needs_blob and not self._same_so_far
        self._running_hash = blob_hash(file.blob or _ANY_SHA256, file.size) if compute else None
        self._chunk_recorded = threading.Condition()
        self._given_up = False
        self._recorded = 0  # bytes
        if not file.size:
            self._finish()

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self._file.size

    def fewest_slices(self) -> list[FileSlice]:
        """The slices of the file; if it is cut by its content, as few as there can be, which is known at once."""
        return [FileSlice(self._file.real, *span) for span in self._cutter.spans(None)]

    def cut(self) -> Iterator[FileSlice]:
        """Yield the slices of the file in order.

        A file that is cut by its content is read here, a chunk ahead of the threads that hash and send: they find its
        bytes in the page cache.

        Raises:
            CacheError: the file changed since it was listed, or its disk fails.
            InputError: this user may not read the file.
        """
        if not self._cutter.by_content:
            yield from self.slices
            return
        with reading_errors(self._file), open_binary(self._file.real) as opened:
            for span in self._cutter.spans(opened):
                self.slices.append(FileSlice(self._file.real, *span))
                yield self.slices[-1]

    @property
    def may_match_parent(self) -> bool:
        """Whether a file of the parent may still prove to have the same content."""
        return bool(self._same_so_far)

    def read(self, number: int, into: memoryview) -> memoryview:
        """Read chunk `number` into the beginning of `into`, and return its bytes.

        Raises:
            CacheError: the file changed since it was listed, or its disk fails.
            InputError: this user may not read the file.
        """
        with reading_errors(self._file):
            view = self.slices[number].read(into)
        if view is None:
            raise _changed(self._file)
        return view

    def add(self, number: int, digest: str, plain: memoryview) -> bool:
        """Wait until all chunks before this one are recorded, and record it; with the last chunk, name the content.

        Args:
            number: which chunk of the file, from 0.
            digest: the chunk's digest (64 hex).
            plain: the chunk's bytes.

        Returns:
            False when a chunk before this one failed, so that its turn will never come.

        Raises:
            IntegrityError: the content is not what the file's blob says.
            CacheError: the file was written to since it was listed.
        """
        with self._chunk_recorded:
            self._chunk_recorded.wait_for(lambda: self._given_up or len(self.chunks) == number)
            if self._given_up:
                return False
            self._record(ChunkRef(digest, len(plain)), plain)
            self._recorded += len(plain)
            if self._recorded == self.size:
                self._finish()
            self._chunk_recorded.notify_all()
        return True

    def give_up(self) -> None:
        """Wake all waiters: a chunk failed, so later chunks of this file will never get their turn."""
        with self._chunk_recorded:
            self._given_up = True
            self._chunk_recorded.notify_all()

    def _record(self, chunk: ChunkRef, plain: memoryview) -> None:
        number, before = len(self.chunks), self._same_so_far
        self._same_so_far = [other for other in before if other.chunks[number : number + 1] == (chunk,)]
        if before and not self._same_so_far:
            self._running_hash = self._hash_recorded()
        if self._running_hash is not None:
            self._running_hash.update(plain)
        self.chunks.append(chunk)

    def _hash_recorded(self) -> hashlib._Hash:
        """The running sha256 over the chunks recorded so far, read again; their digests must be the same as before."""
        running = blob_hash(_ANY_SHA256, self.size)
        buffer = memoryview(bytearray(max((chunk.size for chunk in self.chunks), default=0)))
        for number, chunk in enumerate(self.chunks):
            plain = self.read(number, buffer)
            if hex_of(plain) != chunk.digest:
                raise _changed(self._file)
            running.update(plain)
        return running

    def _finish(self) -> None:
        with reading_errors(self._file):
            after = os.stat(self._file.real)
        # Compared with what the listing saw: a change between the listing and the first read counts, too.
        if (after.st_size, after.st_mtime_ns) != (self._file.size, self._file.mtime_ns):
            raise _changed(self._file)
        if self._same_so_far:
            self.blob = self._same_so_far[0].blob
        elif self._running_hash is not None:
            self.blob = self._running_hash.hexdigest()
        if self._file.blob not in (None, self.blob):
            raise IntegrityError(
                f"{self._file.real} is named {self._file.blob} but its content is {self.blob}: "
                "it is damaged; remove it and download it again"
            )


_ANY_SHA256 = "0" * 64  # blob_hash tells the kind of hash by the length of a name


def _may_be_same(other: RepoFile, file: SnapshotFile) -> bool:
    # A blob in the cache that the parent does not name is either new or wrong, which only computing its hash can tell.
    return file.blob is None and other.size == file.size and len(other.blob) == len(_ANY_SHA256)


@contextmanager
def reading_errors(file: SnapshotFile) -> Iterator[None]:
    """Translate an OSError of reading `file` into the error that a publish raises."""
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
