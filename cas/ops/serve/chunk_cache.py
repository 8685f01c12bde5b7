"""Chunks on this machine's disk: verified plain bytes, a file each, at most so many bytes of them.

    <folder>/<n>/lock                held by the server that uses the slot <n>, 0 for the first on this machine
    <folder>/<n>/<hh>/<64 hex>       a chunk's plain bytes; hh = the first two digits of its digest
    <folder>/<n>/part-<16 hex>       a chunk that is being written

Order of steps:
    a chunk comes    verify it, make space, write a part file, rename it
    a chunk is read  open its file; hash it, unless this process has hashed or written it and it is unchanged since
    space is needed  remove the files that were used longest ago, but none that a reader has open

Why in this order: a file with a chunk's name is only ever whole, so a killed server leaves nothing to repair. What a
power cut or another program made of it shows when it is hashed, and such a file counts as absent
(docs/decisions/0038-the-cache-of-a-server.md).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from blake3 import blake3

from cas.errors import NO_SPACE, CacheError
from cas.formats.digest import Buffer
from cas.formats.manifest import ChunkRef
from cas.local.fs import disk_errors, write_all
from cas.local.locks import Lock
from cas.ops.serve.cached_chunk import CachedChunk, CacheEntry, Stamp

_SLOTS = 64
_FULL = 60.0  # seconds for which the cache does not grow after the disk was full
_HASHED_AT_ONCE = 1024 * 1024  # bytes
_CHUNK = re.compile(r"[0-9a-f]{64}")


class ChunkCache:
    """The chunks in one slot of a folder. Several threads may use it at once.

    Attributes:
        folder: of the slot.
        limit: bytes that all files may have together.
        size: bytes that they have.
        opened: how often a chunk was opened.
        removed: how many files made way for others.
        damaged: how many files did not hold what their names say, and were removed.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        """Take the first slot that no other server uses, and look at what it holds.

        Args:
            folder: where the cache is, made if need be.
            limit: the most bytes of its files.

        Raises:
            CacheError: the folder cannot be made or read.
        """
        self.limit = limit
        self.size = self.opened = self.removed = self.damaged = 0
        self._full_size, self._full_until = limit, 0.0
        self._guard = threading.Lock()
        self._entries: OrderedDict[str, CacheEntry] = OrderedDict()  # the one that was used longest ago first
        self._lock, self.folder = _slot(folder)
        for digest, size in self._found():
            self._entries[digest] = CacheEntry(size)
            self.size += size
        self._remove_until(limit)

    @property
    def usable(self) -> int:
        """Bytes that all files may have together now: less than the limit for a minute after the disk was full."""
        return self._full_size if time.monotonic() < self._full_until else self.limit

    def close(self) -> None:
        """Let another server have the slot."""
        self._lock.release()

    def holds(self, digest: str) -> bool:
        """Return whether there is a file for a chunk (64 hex); whether it is whole shows when it is opened."""
        with self._guard:
            return digest in self._entries

    def open(self, chunk: ChunkRef) -> CachedChunk | None:
        """Open a chunk for a reader, who closes it; None when there is no sound file of it."""
        with self._guard:
            entry = self._entries.get(chunk.digest)
            if entry is None:
                return None
            entry.pins += 1
            self._entries.move_to_end(chunk.digest)
        fd = -1
        try:
            fd = os.open(self._path(chunk.digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            is_sound = self._is_sound(chunk, entry, fd)
        except OSError:
            is_sound = False  # removed by another program, or the disk fails: it is fetched again
        if is_sound:
            with self._guard:
                self.opened += 1
            return CachedChunk(chunk, fd, partial(self._unpin, entry))
        if fd >= 0:
            os.close(fd)
        self._unpin(entry)
        self._forget(chunk.digest, entry)
        return None

    def add(self, chunk: ChunkRef, plain: Buffer) -> bool:
        """Write the file of a verified chunk; return False when files that are in use leave no space for it.

        Raises:
            DiskFull: the disk is full, even without the files that were used longest ago.
            CacheError: the disk fails.
        """
        if not self._reserve(chunk.size):
            return False
        try:
            with disk_errors(self.folder, lambda words: f"{self.folder} cannot be written ({words}): check the disk"):
                try:
                    stamp = self._write(chunk, plain)
                except OSError as error:
                    if error.errno not in NO_SPACE:
                        raise
                    self._note_full(chunk.size)
                    stamp = self._write(chunk, plain)
        except BaseException:
            with self._guard:
                self.size -= chunk.size
            raise
        with self._guard:
            if (old := self._entries.pop(chunk.digest, None)) is not None:
                self.size -= old.size
            self._entries[chunk.digest] = CacheEntry(chunk.size, stamp)
        return True

    def _write(self, chunk: ChunkRef, plain: Buffer) -> Stamp:
        part, path = self.folder / f"part-{os.urandom(8).hex()}", self._path(chunk.digest)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, plain)
            stamp = _stamp(fd)
            part.rename(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        return stamp

    def _is_sound(self, chunk: ChunkRef, entry: CacheEntry, fd: int) -> bool:
        stamp = _stamp(fd)
        with entry.hashing:  # one of several readers hashes it
            if stamp != entry.stamp:
                if stamp.size != chunk.size or _digest(fd) != chunk.digest or _stamp(fd) != stamp:
                    return False
                entry.stamp = stamp
        with contextlib.suppress(OSError):  # the order of use, for the next server
            os.utime(fd, ns=(time.time_ns(), stamp.modified))
        return True

    def _forget(self, digest: str, entry: CacheEntry) -> None:
        """Remove an unsound file, unless another thread has replaced it meanwhile."""
        with self._guard:
            if self._entries.get(digest) is not entry:
                return
            del self._entries[digest]
            self.size -= entry.size
            self.damaged += 1
            with contextlib.suppress(OSError):
                self._path(digest).unlink()

    def _reserve(self, size: int) -> bool:
        """Count a file that will be written, and make space for it; False when files in use leave none."""
        with self._guard:
            if size <= (most := self.usable):
                self._remove_until(most - size)
            if self.size + size > most:
                return False
            self.size += size
            return True

    def _note_full(self, size: int) -> None:
        """Make space for a file that is counted already, on a disk that others have filled."""
        with self._guard:
            self._full_size, self._full_until = max(0, self.size - size), time.monotonic() + _FULL
            self._remove_until(self._full_size)

    def _remove_until(self, most: int) -> None:
        """Remove files that no reader has open, the one used longest ago first, until `most` bytes are left."""
        goes, left = [], self.size
        for digest, entry in self._entries.items():
            if left <= most:
                break
            if not entry.pins:
                goes.append(digest)
                left -= entry.size
        for digest in goes:
            del self._entries[digest]
            with contextlib.suppress(OSError):
                self._path(digest).unlink()
        self.size = left
        self.removed += len(goes)

    def _unpin(self, entry: CacheEntry) -> None:
        """Note that a reader has closed a file."""
        with self._guard:
            entry.pins -= 1

    def _found(self) -> Iterator[tuple[str, int]]:
        """Yield digest and size of the files that an earlier server left, the one used longest ago first."""
        found: list[tuple[int, str, int]] = []
        with disk_errors(self.folder):
            for top in os.scandir(self.folder):
                if top.name.startswith("part-"):
                    Path(top.path).unlink(missing_ok=True)
                elif top.is_dir(follow_symlinks=False):
                    for file in os.scandir(top.path):
                        stats = file.stat(follow_symlinks=False)
                        if _CHUNK.fullmatch(file.name) and stat.S_ISREG(stats.st_mode):
                            found.append((stats.st_atime_ns, file.name, stats.st_size))
                        elif stat.S_ISLNK(stats.st_mode):
                            Path(file.path).unlink()
        for _, digest, size in sorted(found):
            yield digest, size

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest


def _slot(folder: Path) -> tuple[Lock, Path]:
    for number in range(_SLOTS):
        slot = folder / str(number)
        try:
            slot.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(
                f"the cache {folder} cannot be made ({error.strerror}): choose another folder for it"
            ) from error
        stats = slot.lstat()
        if stats.st_uid != os.geteuid() or stats.st_mode & 0o022 or not stat.S_ISDIR(stats.st_mode):
            # Who may write there could change a chunk after it was hashed.
            raise CacheError(f"{slot} belongs to another user, or others may write there: choose another folder for it")
        lock = Lock(slot / "lock")
        if lock.try_acquire() is not False:  # None: locks do not work here, and chunks verify themselves
            return lock, slot
    raise CacheError(f"the cache {folder} is used by {_SLOTS} other servers: choose another folder for it")


def _stamp(fd: int) -> Stamp:
    stats = os.fstat(fd)
    return Stamp(stats.st_ino, stats.st_size, stats.st_mtime_ns)


def _digest(fd: int) -> str:
    """Return the digest (64 hex) of a file's bytes."""
    made, at, buffer = blake3(), 0, bytearray(_HASHED_AT_ONCE)
    view = memoryview(buffer)
    while got := os.preadv(fd, [view], at):
        made.update(view[:got])
        at += got
    return made.hexdigest()
