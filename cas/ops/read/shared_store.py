"""Where files are read from: a store with the chunks in memory that all its readers share, in this process."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping

from cas.errors import NotFoundError, StoreMissing
from cas.ops.read.version import FileMissing, Version
from cas.store.choice import store_url
from cas.store.chunk_memory import ChunkMemory
from cas.store.reading import open_to_read
from cas.store.store import Store


class SharedStore:
    """A store to read from, which a forked process opens anew: neither connections nor threads live on in it.

    Attributes:
        url: the store's URL, by which another process opens it.
    """

    def __init__(self, store: Store | str | None) -> None:
        """Make no request yet.

        Args:
            store: an open store, a URL, or None for the default.

        Raises:
            InputError: the URL has an unknown scheme.
            AccessDenied: credentials are missing.
        """
        self._versions: dict[str, Version] = {}
        self._exact: dict[str, str] = {}
        self._given = store  # lives as long as this: `share_store` finds it by its identity
        self._open(store)
        self.url = self._store.url

    @property
    def store(self) -> Store:
        """The store, as this process has it open."""
        self._check_process()
        return self._store

    @property
    def memory(self) -> ChunkMemory:
        """The store's chunks that are in memory."""
        self._check_process()
        return self._memory

    def version(self, reference: str) -> Version:
        """Return the version that a reference named when it was first looked at here, or in a parent process.

        Raises:
            InputError: this is no reference.
            FileMissing: the store has no such version.
            StoreMissing: there is no store.
            IntegrityError: the manifest is damaged.
        """
        store = self.store
        with self._guard:
            if reference not in self._versions:
                try:
                    self._versions[reference] = Version.find(store, self._exact.get(reference, reference))
                except StoreMissing:
                    raise
                except NotFoundError as error:
                    raise FileMissing(str(error)) from error
            return self._versions[reference]

    def exact_references(self) -> dict[str, str]:
        """Return for each reference looked at the one that names its version for ever."""
        self._check_process()
        with self._guard:
            return self._exact | {reference: version.exact for reference, version in self._versions.items()}

    def fix_versions(self, exact: Mapping[str, str]) -> None:
        """Let references name the versions that they name in another process."""
        self._check_process()
        with self._guard:
            self._exact.update(exact)
            for reference, name in exact.items():
                if reference in self._versions and self._versions[reference].exact != name:
                    del self._versions[reference]

    def forget_versions(self) -> None:
        """Look up anew what references name, from now on, and by the credentials of now."""
        with self._guard:
            self._versions.clear()
            self._exact.clear()
        self._open(self._given)

    def end_share(self, reader: object) -> None:
        """Leave a reader's share of the memory to the others."""
        if os.getpid() == self._pid:
            self._memory.end_share(reader)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            with _guard:
                if os.getpid() != self._pid:
                    self._open(self.url)

    def _open(self, store: Store | str | None) -> None:
        self._guard = threading.Lock()  # a thread that vanished in a fork may have held the one before
        self._store = open_to_read(store)
        self._memory, self._pid = ChunkMemory(self._store), os.getpid()


_guard = threading.Lock()


def _renew_guard() -> None:
    global _guard  # noqa: PLW0603 (a thread that is not in the forked process may hold the one before)
    _guard = threading.Lock()


os.register_at_fork(after_in_child=_renew_guard)

_by_store: weakref.WeakValueDictionary[int, SharedStore] = weakref.WeakValueDictionary()
"""By the identity of an open store, which lives at least as long as what shares it."""
_by_url: dict[tuple[int, str], SharedStore] = {}
"""By process and URL; for file systems, which fsspec makes anew for each thread and keeps for ever."""


def share_store(store: Store | str | None) -> SharedStore:
    """Return what shares an open store, the same while anybody has it; for a URL a new one; raise as SharedStore."""
    if not isinstance(store, Store):
        return SharedStore(store)
    with _guard:
        shared = _by_store.get(id(store))
        if shared is None:
            shared = _by_store[id(store)] = SharedStore(store)
        return shared


def store_by_url(url: str | None) -> SharedStore:
    """Return what shares the store at a URL (None: the default), kept for this process; raise as SharedStore."""
    with _guard:
        key = os.getpid(), store_url(url)
        if key not in _by_url:
            _by_url[key] = SharedStore(url)
        return _by_url[key]
