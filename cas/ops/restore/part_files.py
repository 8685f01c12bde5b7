"""Part files: private to one process, filled with verified chunks in any order, renamed when they are complete."""

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
from cas.local.verified import FileStamp, Stamps
from cas.ops.restore.blob_locks import BlobLocks
from cas.ops.restore.plain_files import PlainFileGuard
from cas.ops.restore.plan import Copy, Destination, PendingFile, part_file_name

# Seconds after which part files of any version are removed: nobody has finished restoring it.
_STALE_AFTER = 24 * 3600


class PartFileLost(Exception):
    """Another process took our part file over, so locks do not work here: the restore must plan again."""


class PartFiles:
    """The part files of one restore; use as a context manager."""

    def __init__(
        self,
        pending_files: Sequence[PendingFile],
        owner: str,
        locks: BlobLocks,
        guard: PlainFileGuard,
        listen: events.Listener,
    ) -> None:
        """Open the directories of part files; a part file itself is made when its first chunk is written.

        Args:
            pending_files: the plan's; destinations refer to them by index.
            owner: marks the part files as ours, as in plan.part_file_name.
            locks: the lock of a blob is acquired when its part file is made, and released when it has its final name.
            guard: keeps plain files from replacing what no restore wrote.
            listen: hears of each file that is completed, and a warning when the file system offers no fsync.
        """
        self._error: BaseException | None = None
        directories: dict[Path, Directory] = {}
        with contextlib.ExitStack() as stack:
            for root in {pending.target.root for pending in pending_files}:
                directories[root] = stack.enter_context(Directory.open(root, PART_DIRECTORY))
            stack.callback(locks.release_all)
            self._stack = stack.pop_all()
        disk = _Disk(listen)
        self._files = [
            _PartFile(pending, directories[pending.target.root], owner, locks, guard, disk, listen)
            for pending in pending_files
        ]

    def __enter__(self) -> PartFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def finished(self) -> dict[Target, Stamps]:
        """The files that got their final names, with their stamps, by target."""
        return {file.target: {file.target.components: file.stamp} for file in self._files if file.stamp}

    def abort(self, error: BaseException) -> None:
        """Make every later write raise this error."""
        self._error = error

    def write(self, destinations: Sequence[Destination], plain: memoryview) -> None:
        """Write a verified chunk to every destination; a file that this completes gets its final name."""
        for destination in destinations:
            if self._error:
                raise self._error
            self._files[destination.file].write(plain, destination.offset)

    def copy(self, copy: Copy, buffer: bytearray) -> tuple[Destination, ...]:
        """Read a chunk from a local file, verify it and write it to its destinations.

        A destination whose file began as a clone of that local file has the bytes already: there they are verified in
        place.

        Args:
            copy: the chunk, where it should be, and its destinations.
            buffer: memory to work in, grown as needed.

        Returns:
            The destinations that still lack the chunk, because the local file does not hold it.
        """
        if len(buffer) < copy.chunk.size:
            buffer.extend(bytes(copy.chunk.size - len(buffer)))
        with memoryview(buffer) as whole, whole[: copy.chunk.size] as view:
            lacking = [
                destination
                for destination in copy.destinations
                if not self._files[destination.file].verify_cloned(copy, destination.offset, view)
            ]
            if not lacking or not _read_source(copy, view):
                return tuple(lacking)
            self.write(lacking, view)
        return ()

    def finish_complete(self) -> None:
        """Give final names to files that need no chunk: empty files, and part files that were found complete."""
        for file in self._files:
            file.finish_if_complete()

    def discard(self) -> None:
        """Remove the part files, to free their space."""
        for file in self._files:
            file.discard()

    def sync(self) -> None:
        """Make the final names durable."""
        parents = {(file.target.root, file.target.components[:-1]) for file in self._files if file.stamp}
        for root, components in parents:
            with Directory.open(root, components) as directory:
                directory.sync()


def remove_part_files(targets: Sequence[Target]) -> None:
    """Remove the part files of these targets' contents, and those of any content that are a day old.

    Call it only while holding the locks of all roots: they prove that nobody is filling these files.
    """
    contents = {target.content for target in targets}
    for root in {target.root for target in targets}:
        with Directory.open(root, PART_DIRECTORY) as directory:
            for name in directory.names():
                stats = directory.stat(name)
                if stats and (name.split(".")[0] in contents or time.time() - stats.st_mtime > _STALE_AFTER):
                    directory.remove(name)


class _Disk:
    """Makes files durable, and warns once when the file system offers no way to do so."""

    def __init__(self, listen: events.Listener) -> None:
        self._listen = listen
        self._has_warned = False

    def sync(self, fd: int, path: Path) -> None:
        """Make a file durable.

        Raises:
            DiskFull: the file system accepted more than it can hold.
            CacheError: the disk failed.
        """
        with fs.disk_errors(path, lambda error: f"{path}: the disk failed to keep it ({error}): check the disk"):
            is_synced = fs.sync(fd)
        if not is_synced and not self._has_warned:
            self._has_warned = True
            where = path.parent
            self._listen(events.Warned(f"{where}: the file system offers no fsync; a power cut may lose files"))


class _PartFile:
    """The part file of one target; `stamp` is set once it has its final name."""

    def __init__(
        self,
        pending: PendingFile,
        directory: Directory,
        owner: str,
        locks: BlobLocks,
        guard: PlainFileGuard,
        disk: _Disk,
        listen: events.Listener,
    ) -> None:
        self.target = pending.target
        self.stamp: FileStamp | None = None
        self._directory, self._locks, self._plain_file_guard, self._disk = directory, locks, guard, disk
        self._listen = listen
        self._resumed, self._base = pending.part_file, pending.base
        self._is_clone = False
        self._name = part_file_name(pending.target.content, owner, os.urandom(4).hex())
        self._missing = pending.missing
        self._is_begun = False
        self._guard = threading.Lock()

    def write(self, plain: memoryview, offset: int) -> None:
        with self._guard:
            self._begin()
        try:
            with self._directory.file(self._name, os.O_WRONLY) as fd:
                write_all(fd, plain, offset)
                start_writing_out(fd, offset, len(plain))
        except FileNotFoundError:
            raise PartFileLost from None
        self._count_chunk()

    def _count_chunk(self) -> None:
        with self._guard:
            self._missing -= 1
        self.finish_if_complete()

    def verify_cloned(self, copy: Copy, offset: int, view: memoryview) -> bool:
        """Return whether the chunk is in place, verified, because this file began as a clone of the copy's source."""
        if copy.source.path != self._base or copy.source.offset != offset:
            return False
        with self._guard:
            self._begin()
        if not self._is_clone:
            return False
        try:
            with self._directory.file(self._name, os.O_RDONLY) as fd:
                if not _read_verified(fd, offset, view, copy.chunk.digest):
                    return False
        except FileNotFoundError:
            raise PartFileLost from None
        self._count_chunk()
        return True

    def finish_if_complete(self) -> None:
        with self._guard:
            if self._missing or self.stamp:
                return
            self._begin()
            self.stamp = self._finish()
        self._locks.release(self.target)
        self._listen(self.target.completed(self.target.components, self.stamp))

    def discard(self) -> None:
        with self._guard:
            if self._is_begun and not self.stamp:
                self._directory.remove(self._name)
            elif self._resumed and not self._is_begun:
                self._directory.remove(self._resumed)

    def _begin(self) -> None:
        """Make the part file, or rename the one to resume, so that it is ours."""
        if self._is_begun:
            return
        self._locks.try_acquire(self.target)
        flags = os.O_WRONLY | (0 if self._resumed else os.O_CREAT | os.O_EXCL)
        try:
            if self._resumed:
                self._directory.rename(self._resumed, self._directory, self._name)
            with self._directory.file(self._name, flags) as fd:
                self._is_begun = True
                self._is_clone = self._base is not None and _clone(self._base, fd)
                os.ftruncate(fd, self.target.size)
        except FileNotFoundError:
            raise PartFileLost from None

    def _finish(self) -> FileStamp:
        """Make the file durable and give it its final name."""
        path = self._directory.path / self._name
        try:
            with self._directory.file(self._name, os.O_RDONLY) as fd:
                try:
                    self._disk.sync(fd, path)
                except DiskFull:
                    raise
                except CacheError:
                    # The next restore must not resume it: it would verify the copy in memory, not what is on disk.
                    self._directory.remove(self._name)
                    raise
                stats = os.fstat(fd)
            if stats.st_size != self.target.size:
                raise IntegrityError(f"{path} was changed by another program: restore again")
            *parents, name = self.target.components
            with Directory.open(self.target.root, parents) as parent:
                if self.target.repo is None:
                    self._plain_file_guard.check_file(self.target)
                self._directory.rename(self._name, parent, name)
        except FileNotFoundError:
            raise PartFileLost from None
        return FileStamp(self.target.content, stats.st_size, stats.st_mtime_ns)


def _read_source(copy: Copy, view: memoryview) -> bool:
    """Fill `view` from the copy's source; return whether it holds the chunk now, verified."""
    with contextlib.suppress(OSError), fs.open_for_reading(copy.source.path) as fd:
        return _read_verified(fd, copy.source.offset, view, copy.chunk.digest)
    return False


def _read_verified(fd: int, offset: int, view: memoryview, digest: str) -> bool:
    return fs.read_at(fd, view, offset) == len(view) and hex_of(view) == digest


def _clone(base: Path, fd: int) -> bool:
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(fs.open_for_reading(base))
        except OSError:
            return False
        return fs.clone(source, fd)
