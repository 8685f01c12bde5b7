"""The register of a hub cache: which versions restores have put there, when each was last used, and what uses it now.

    <hub>/.locks/.cas/<model>@<64 hex>/entry.json     which repos, files and refs restores made of this version
                                       lock           held (shared) by each command that uses the version; its time is
                                                      that of the last use
                                       view/hub/…     the version's view (cas/local/view.py)
                                       view/torch/…
    <hub>/.locks/.cas/prune/…                         `cas prune` at work (cas/local/prune_mark.py)

An entry is written before the first byte of its version: so `cas prune`, which frees what no entry needs, knows of a
restore that is under way, and of one that was killed. What is read here may have been planted by anybody who can write
to the cache: each name is checked, and no symlink is followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

from cas.config import REGISTER
from cas.errors import CacheError
from cas.formats.manifest import MAX_MANIFEST
from cas.local.directory import Directory
from cas.local.fs import nearest_existing, read_bounded
from cas.local.locks import Lock
from cas.local.register_entry import Entry, decode, encode, is_name, merged, name_of

_ENTRY, _LOCK = "entry.json", "lock"
_LEAVING = "leaving.json"  # the entry of a version that a prune is removing, or was when it was killed
_POLL_INTERVAL = 0.1
_HOLD_WITHIN = 60.0  # seconds; a prune holds a version for as long as it takes to unlink its files


class Registered(NamedTuple):
    """An entry of the register, and when its version was last used, in seconds of the system's clock."""

    entry: Entry
    last_use: float


class Hold:
    """A shared lock on one version: `cas prune` removes nothing of it while any process has the lock's descriptor."""

    def __init__(self, lock: Lock | None) -> None:
        self._lock = lock

    def inherit(self) -> None:
        """Let the programs that this process becomes or starts have the lock; it ends with the last of them."""
        if self._lock and (fd := self._lock.descriptor()) is not None:
            os.set_inheritable(fd, True)

    def release(self) -> None:
        """Release the lock; others that inherited it still hold it."""
        if self._lock:
            self._lock.release()


class Register:
    """The register of one hub cache."""

    def __init__(self, hub: Path) -> None:
        self.hub = hub

    @staticmethod
    def components(reference: str) -> tuple[str, ...]:
        """Return the path of a version's directory below the hub cache, as components.

        Raises:
            FormatError: the reference does not name a version for ever.
        """
        return (*REGISTER, name_of(reference))

    def add(self, entry: Entry) -> None:
        """Enter a version; what the register has of it already stays.

        Raises:
            CacheError: the cache cannot be written.
        """
        wanted, components = encode(entry), self.components(entry.reference)
        with contextlib.suppress(OSError):
            if read_bounded(self.hub.joinpath(*components, _ENTRY), MAX_MANIFEST) == wanted:
                return
        with Directory.open(self.hub, components) as directory:
            found = directory.read(_ENTRY, MAX_MANIFEST)
            before = decode(found)
            both = encode(merged(before, entry)) if before else wanted
            if both != found:
                directory.write(_ENTRY, both, directory)

    def touch(self, reference: str) -> None:
        """Say that a version is used now.

        Raises:
            CacheError: the cache cannot be written.
            FileNotFoundError: the register has no such version.
        """
        with Directory.open(self.hub, self.components(reference), create=False) as directory:
            directory.touch(_LOCK)

    def entry(self, reference: str) -> Entry | None:
        """Return what the register has of a version; None when that is nothing, or cannot be read."""
        return self._read(self.components(reference)[-1], _ENTRY)

    def entries(self) -> list[Registered]:
        """Return every entry, the version that was used least recently first."""
        found = []
        for name in self._names():
            if entry := self._read(name, _ENTRY):
                found.append(Registered(entry, self._last_use(name)))
        return sorted(found, key=lambda one: (one.last_use, one.entry.reference))

    def leaving(self) -> list[Entry]:
        """Return the entries of versions whose removal began and did not end."""
        found = (self._read(name, _LEAVING) for name in self._names() if not self._read(name, _ENTRY))
        return [entry for entry in found if entry]

    def abandoned(self) -> list[str]:
        """Return references to versions of which the register has a directory and no entry."""
        names = (name for name in self._names() if not self._read(name, _ENTRY) and not self._read(name, _LEAVING))
        return [name.replace("@", "@blake3:") for name in names]

    def begin_removal(self, reference: str) -> None:
        """Take a version's entry out of the register; it counts as leaving until `end_removal`.

        Raises:
            CacheError: the cache cannot be written.
        """
        with Directory.open(self.hub, self.components(reference), create=False) as directory:
            if directory.stat(_ENTRY):
                directory.rename(_ENTRY, directory, _LEAVING)

    def end_removal(self, reference: str) -> None:
        """Remove what the register has of a version; what other programs put there stays."""
        *parents, name = self.components(reference)
        with Directory.open(self.hub, parents, create=False) as parent:
            with Directory.open(self.hub, (*parents, name), create=False) as directory:
                for temporary in (found for found in directory.names() if found.endswith(".tmp")):
                    stats = directory.stat(temporary)
                    if stats and stat.S_ISDIR(stats.st_mode):
                        directory.remove_tree(temporary)  # a view that was never finished
                    else:
                        directory.remove(temporary)
                directory.remove(_LEAVING)
                directory.remove(_LOCK)
            parent.remove_directory(name)

    def can_be_written(self) -> bool:
        """Return whether this process may write to the register."""
        folder = self.hub.joinpath(*REGISTER)
        return os.access(nearest_existing(folder), os.W_OK)

    def hold(self, reference: str) -> Hold | None:
        """Hold a version that the register has, so that nothing of it is removed.

        Returns:
            None when the version is in the register no more: it has been removed, or is being removed. The hold says
            nothing where locks do not work: `cas prune` removes nothing there.
        """
        lock = self._lock(reference, shared=True)
        deadline = time.monotonic() + _HOLD_WITHIN
        while (acquired := lock.try_acquire()) is False and time.monotonic() < deadline:
            time.sleep(_POLL_INTERVAL)
        if acquired and not self._is_lock_of(reference, lock):
            lock.release()
            return None
        if not self._has_entry(reference):
            lock.release()
            return None
        return Hold(lock if acquired else None)

    def hold_alone(self, reference: str) -> Lock | None:
        """Return the acquired lock of a version that nobody uses; None when somebody does.

        Raises:
            CacheError: locks do not work here, so nobody can tell what is in use.
        """
        lock = self._lock(reference, shared=False)
        was_there, last_use = os.path.lexists(lock.path), self._last_use(self.components(reference)[-1])
        acquired = lock.try_acquire()
        if acquired is None:
            raise CacheError(
                f"locks do not work in {self.hub}, so it cannot be told which versions are in use: nothing was removed"
            )
        if not was_there and (fd := lock.descriptor()) is not None:
            os.utime(fd, (last_use, last_use))  # a killed restore's version, which this does not use
        return lock if acquired else None

    def _lock(self, reference: str, *, shared: bool) -> Lock:
        return Lock(self.hub.joinpath(*self.components(reference), _LOCK), self.hub, shared=shared)

    def _is_lock_of(self, reference: str, lock: Lock) -> bool:
        """Return whether an acquired lock's file still has its name: a prune removes it with the version."""
        fd = lock.descriptor()
        try:
            named = os.lstat(self.hub.joinpath(*self.components(reference), _LOCK))
        except OSError:
            return False
        return fd is not None and os.path.samestat(named, os.fstat(fd))

    def _has_entry(self, reference: str) -> bool:
        return os.path.lexists(self.hub.joinpath(*self.components(reference), _ENTRY))

    def _names(self) -> list[str]:
        try:
            with Directory.open(self.hub, REGISTER, create=False) as directory:
                return sorted(name for name in directory.names() if is_name(name))
        except FileNotFoundError:
            return []

    def _read(self, name: str, document: str) -> Entry | None:
        try:
            with Directory.open(self.hub, (*REGISTER, name), create=False) as directory:
                entry = decode(directory.read(document, MAX_MANIFEST))
        except FileNotFoundError:
            return None
        return entry if entry and self.components(entry.reference)[-1] == name else None

    def _last_use(self, name: str) -> float:
        for file in (_LOCK, _ENTRY):  # a restore that was killed has not used its version yet
            with contextlib.suppress(OSError):
                return os.lstat(self.hub.joinpath(*REGISTER, name, file)).st_mtime
        return 0.0
