"""Part files: private to one process, filled with verified chunks in any order, renamed when whole."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from cas import events
from cas.errors import CacheError, DiskFull, IntegrityError
from cas.formats.digest import hex_of
from cas.local import fs
from cas.local.directory import Directory
from cas.local.fs import start_writing_out, write_all
from cas.local.targets import PART_DIRECTORY, Target
from cas.local.verified import FileStamp
from cas.ops.restore.blob_locks import BlobLocks
from cas.ops.restore.plan import Copy, Place, Work, part_name

# Part files of versions nobody finished restoring.
_STALE_AFTER = 24 * 3600


class PartLost(Exception):
    """Another process took our part file over: locks do not work here. Plan again."""


class Parts:
    """The part files of one restore; use as a context manager."""

    def __init__(self, works: Sequence[Work], owner: str, locks: BlobLocks, listen: events.Listener) -> None:
        """owner: marks the part files as ours, as in plan.part_name."""
        self._error: BaseException | None = None
        folders: dict[Path, Directory] = {}
        with contextlib.ExitStack() as stack:
            for root in {work.target.root for work in works}:
                folders[root] = stack.enter_context(Directory.open(root, PART_DIRECTORY))
            stack.callback(locks.release_all)
            self._stack = stack.pop_all()
        disk = _Disk(listen)
        self._files = [_PartFile(work, folders[work.target.root], owner, locks, disk) for work in works]

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def finished(self) -> dict[Target, tuple[tuple[str, ...], FileStamp]]:
        """Targets that have their final name, with the file as it was then."""
        return {file.target: (file.target.components, file.seen) for file in self._files if file.seen}

    def stop(self, error: BaseException) -> None:
        """Has every later write raise this error."""
        self._error = error

    def write(self, places: Sequence[Place], plain: memoryview) -> None:
        """Writes a verified chunk wherever it goes; a file whose last chunk this was gets its final name."""
        for place in places:
            if self._error:
                raise self._error
            self._files[place.work].write(plain, place.offset)

    def copy(self, copy: Copy, buffer: bytearray) -> tuple[Place, ...]:
        """Takes a chunk from another local file; the places where it lacks still, as the file does not hold it.

        buffer: to work in, grown as need be.
        """
        if len(buffer) < copy.chunk.size:
            buffer.extend(bytes(copy.chunk.size - len(buffer)))
        with memoryview(buffer) as whole, whole[: copy.chunk.size] as view:
            lacking = [place for place in copy.places if not self._files[place.work].holds(copy, place.offset, view)]
            if not lacking or not _read(copy, view):
                return tuple(lacking)
            self.write(lacking, view)
        return ()

    def finish_complete(self) -> None:
        """Gives their names to files that need no more chunks: empty ones, and parts found complete."""
        for file in self._files:
            file.finish_if_complete()

    def discard(self) -> None:
        """Removes the part files, to give their room back."""
        for file in self._files:
            file.discard()

    def sync(self) -> None:
        """Makes the final names durable."""
        homes = {(file.target.root, file.target.components[:-1]) for file in self._files if file.seen}
        for root, parts in homes:
            with Directory.open(root, parts) as home:
                home.sync()


def sweep(targets: Sequence[Target]) -> None:
    """Removes part files that restores of `targets` left; only while holding the lock that says there are none."""
    contents = {target.content for target in targets}
    for root in {target.root for target in targets}:
        with Directory.open(root, PART_DIRECTORY) as parts:
            for name in parts.names():
                found = parts.stat(name)
                if found and (name.split(".")[0] in contents or time.time() - found.st_mtime > _STALE_AFTER):
                    parts.remove(name)


class _Disk:
    """Makes files durable, and says once when the file system offers no way."""

    def __init__(self, listen: events.Listener) -> None:
        self._listen = listen
        self._told = False

    def keep(self, fd: int, path: Path) -> None:
        """Raises CacheError when the disk failed, DiskFull when it had accepted more than it could hold."""
        with fs.disk_errors(path, lambda error: f"{path}: the disk failed to keep it ({error}): check the disk"):
            synced = fs.sync(fd)
        if not synced and not self._told:
            self._told = True
            where = path.parent
            self._listen(events.Warned(f"{where}: the file system offers no fsync; a power cut may lose files"))


class _PartFile:
    def __init__(self, work: Work, parts: Directory, owner: str, locks: BlobLocks, disk: _Disk) -> None:
        self.target = work.target
        self.seen: FileStamp | None = None
        self._parts, self._locks, self._disk = parts, locks, disk
        self._adopt, self._base = work.part, work.base
        self._cloned = False
        self._name = part_name(work.target.content, owner, os.urandom(4).hex())
        self._pending = work.pending
        self._begun = False
        self._guard = threading.Lock()

    def write(self, plain: memoryview, offset: int) -> None:
        with self._guard:
            self._begin()
        try:
            with self._parts.file(self._name, os.O_WRONLY) as fd:
                write_all(fd, plain, offset)
                start_writing_out(fd, offset, len(plain))
        except FileNotFoundError:
            raise PartLost from None
        self._one_less()

    def _one_less(self) -> None:
        with self._guard:
            self._pending -= 1
        self.finish_if_complete()

    def holds(self, copy: Copy, offset: int, view: memoryview) -> bool:
        """Whether the chunk is there already, as the file began as a clone of the one that holds it."""
        if copy.source.path != self._base or copy.source.offset != offset:
            return False
        with self._guard:
            self._begin()
        if not self._cloned:
            return False
        try:
            with self._parts.file(self._name, os.O_RDONLY) as fd:
                if not _reads(fd, offset, view, copy.chunk.digest):
                    return False
        except FileNotFoundError:
            raise PartLost from None
        self._one_less()
        return True

    def finish_if_complete(self) -> None:
        with self._guard:
            if self._pending or self.seen:
                return
            self._begin()
            self.seen = self._finish()
        self._locks.release(self.target)

    def discard(self) -> None:
        with self._guard:
            if self._begun and not self.seen:
                self._parts.remove(self._name)
            elif self._adopt and not self._begun:
                self._parts.remove(self._adopt)

    def _begin(self) -> None:
        """Makes the part file, or takes over the one to go on with."""
        if self._begun:
            return
        self._locks.try_acquire(self.target)
        flags = os.O_WRONLY | (0 if self._adopt else os.O_CREAT | os.O_EXCL)
        try:
            if self._adopt:
                self._parts.rename(self._adopt, self._parts, self._name)
            with self._parts.file(self._name, flags) as fd:
                self._begun = True
                self._cloned = self._base is not None and _clone(self._base, fd)
                os.ftruncate(fd, self.target.size)
        except FileNotFoundError:
            raise PartLost from None

    def _finish(self) -> FileStamp:
        path = self._parts.path / self._name
        try:
            with self._parts.file(self._name, os.O_RDONLY) as fd:
                try:
                    self._disk.keep(fd, path)
                except DiskFull:
                    raise
                except CacheError:
                    # What the next restore would read back is memory's copy, not the disk's.
                    self._parts.remove(self._name)
                    raise
                found = os.fstat(fd)
            if found.st_size != self.target.size:
                raise IntegrityError(f"{path} was changed by another program: restore again")
            with Directory.open(self.target.root, self.target.components[:-1]) as home:
                self._parts.rename(self._name, home, self.target.components[-1])
        except FileNotFoundError:
            raise PartLost from None
        return FileStamp(self.target.content, found.st_size, found.st_mtime_ns)


def _read(copy: Copy, view: memoryview) -> bool:
    """Whether the chunk, verified, is in `view` now."""
    with contextlib.suppress(OSError), fs.open_for_reading(copy.source.path) as fd:
        return _reads(fd, copy.source.offset, view, copy.chunk.digest)
    return False


def _reads(fd: int, offset: int, view: memoryview, digest: str) -> bool:
    return fs.read_at(fd, view, offset) == len(view) and hex_of(view) == digest


def _clone(base: Path, fd: int) -> bool:
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(fs.open_for_reading(base))
        except OSError:
            return False
        return fs.clone(source, fd)
