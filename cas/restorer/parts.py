"""Part files: private to one process, filled with verified chunks in any order, renamed when whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from cas import events, folder
from cas.digest import hex_of
from cas.errors import CacheError, IntegrityError
from cas.folder import Folder, write_all
from cas.locks import Lock
from cas.plan import Copy, Place, Target, Work
from cas.survey import PARTS
from cas.trust import Seen

# Part files of versions nobody finished restoring.
_STALE_AFTER = 24 * 3600


class PartLost(Exception):
    """Another process took our part file over: locks do not work here. Plan again."""


class Parts:
    """The part files of one restore; use as a context manager."""

    def __init__(self, works: Sequence[Work], listen: events.Listener) -> None:
        self._listen = listen
        self._stack = contextlib.ExitStack()
        self._folders: dict[Path, Folder] = {}
        for root in {work.target.root for work in works}:
            self._folders[root] = self._stack.enter_context(Folder.open(root, PARTS))
        self._files = [_PartFile(work, self._folders[work.target.root], listen) for work in works]

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.lock.release()
        self._stack.close()

    @property
    def finished(self) -> dict[Target, tuple[tuple[str, ...], Seen]]:
        """Targets that have their final name, with the file as it was then."""
        return {file.target: (file.target.parts, file.seen) for file in self._files if file.seen}

    def write(self, places: Sequence[Place], plain: memoryview) -> None:
        """Writes a verified chunk wherever it goes; a file whose last chunk this was gets its final name."""
        for place in places:
            self._files[place.work].write(plain, place.offset)

    def copy(self, copy: Copy) -> None:
        """Takes a chunk from another local file; raises PartLost when that is no longer what it was."""
        buffer = bytearray(copy.chunk.size)
        try:
            fd = os.open(copy.source, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            raise PartLost from None
        try:
            got = folder.read_at(fd, memoryview(buffer), copy.source_offset)
        finally:
            os.close(fd)
        if got != copy.chunk.size or hex_of(buffer) != copy.chunk.digest:
            raise PartLost
        self._files[copy.place.work].write(memoryview(buffer), copy.place.offset)

    def finish_complete(self) -> None:
        """Gives their names to files that need no more chunks: empty ones, and parts found complete."""
        for file in self._files:
            file.finish_if_complete()

    def discard(self) -> None:
        """Removes the part files, to give their room back."""
        for file in self._files:
            file.discard()

    def sweep(self) -> None:
        """Removes part files left by others; only while holding the lock that says there are no others."""
        contents = {file.target.content for file in self._files}
        for parts in self._folders.values():
            for name in parts.names():
                found = parts.stat(name)
                if found and (name.split(".")[0] in contents or time.time() - found.st_mtime > _STALE_AFTER):
                    parts.remove(name)


class _PartFile:
    def __init__(self, work: Work, parts: Folder, listen: events.Listener) -> None:
        self.target = work.target
        self.seen: Seen | None = None
        repo = work.target.repo
        self.lock = Lock(repo.blob_lock(work.target.parts[-1])) if repo else Lock(Path(os.devnull))
        self._parts, self._listen = parts, listen
        self._adopt = work.part
        self._name = f"{work.target.content}.{os.getpid()}-{secrets.token_hex(4)}.part"
        self._pending = work.pending
        self._begun = False
        self._guard = threading.Lock()

    def write(self, plain: memoryview, offset: int) -> None:
        with self._guard:
            self._begin()
        try:
            with self._parts.file(self._name, os.O_WRONLY) as fd:
                write_all(fd, plain, offset)
        except FileNotFoundError:
            raise PartLost from None
        with self._guard:
            self._pending -= 1
        self.finish_if_complete()

    def finish_if_complete(self) -> None:
        with self._guard:
            if self._pending or self.seen:
                return
            self._begin()
            self.seen = self._finish()
        self.lock.release()

    def discard(self) -> None:
        with self._guard:
            if self._begun and not self.seen:
                self._parts.remove(self._name)

    def _begin(self) -> None:
        """Makes the part file, or takes over the one to go on with."""
        if self._begun:
            return
        if self.target.repo:
            # So that huggingface_hub waits for us instead of downloading the same blob. Busy or broken: go on,
            # as what gets the final name is whole and verified either way.
            self.lock.try_acquire()
        if self._adopt:
            try:
                self._parts.rename(self._adopt, self._parts, self._name)
            except FileNotFoundError:
                raise PartLost from None
        flags = os.O_WRONLY | (0 if self._adopt else os.O_CREAT | os.O_EXCL)
        with self._parts.file(self._name, flags) as fd:
            os.ftruncate(fd, self.target.size)
        self._begun = True

    def _finish(self) -> Seen:
        try:
            with self._parts.file(self._name, os.O_RDONLY) as fd:
                self._sync(fd)
                found = os.fstat(fd)
            if found.st_size != self.target.size:
                raise IntegrityError(f"{self._parts.path / self._name} was changed by another program: restore again")
            with Folder.open(self.target.root, self.target.parts[:-1]) as home:
                self._parts.rename(self._name, home, self.target.parts[-1])
                home.sync()
        except FileNotFoundError:
            raise PartLost from None
        return Seen(self.target.content, found.st_size, found.st_mtime_ns)

    def _sync(self, fd: int) -> None:
        try:
            synced = folder.sync(fd)
        except OSError as error:
            raise CacheError(
                f"{self.target.path}: the disk failed to keep it ({error.strerror}): "
                "check the disk, or choose another --cache-dir"
            ) from error
        if not synced:
            self._listen(
                events.Warned(f"{self._parts.path}: the file system offers no fsync; a power cut may lose files")
            )
