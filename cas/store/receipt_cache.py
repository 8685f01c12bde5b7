"""A cache on disk of the receipts that this machine has read: a file for each folder of a store, which is a day.

A document in it stands for an object of the same key, size, time and etag in the listing, and is parsed like that
object: whatever a damaged or foreign file says, it counts only as far as its checksum fits.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from blake3 import blake3

from cas import config
from cas.bucket import Entry
from cas.local.fs import read_bounded

_MAX_SIZE = 256 * 1024 * 1024  # bytes of one file
_UNUSED = 100 * 86_400  # seconds; the collector erases receipts after 90 days
_CHECKSUM = 32  # bytes


class _Document(msgspec.Struct, frozen=True, array_like=True):
    key: str
    size: int
    modified: datetime.datetime
    tag: str
    data: bytes


class _Folder(msgspec.Struct, frozen=True, array_like=True):
    version: Literal[1]
    name: str
    documents: tuple[_Document, ...]


# Made here, in one thread: see cas/formats/typed_json.py.
_decode = msgspec.msgpack.Decoder(_Folder).decode
_encode = msgspec.msgpack.Encoder().encode


class ReceiptCache:
    """What was read of one store. A file that cannot be read or written is no error: the documents are read again."""

    def __init__(self, folder: Path | None, store: str) -> None:
        """Use a folder for one store.

        Args:
            folder: where the files are; None to keep nothing.
            store: the store's URL with its endpoint.
        """
        self._folder, self._store = folder, store
        self._is_tidy = False

    @classmethod
    def of_user(cls, store: str) -> ReceiptCache:
        """Return the cache of this user, for a store; one that keeps nothing for a user without a home directory."""
        folder = config.user_directory("XDG_CACHE_HOME", ".cache")
        return cls(folder / "model-cas" / "receipts" if folder else None, store)

    def get(self, name: str, entries: Sequence[Entry]) -> dict[str, bytes]:
        """Return the bytes of those documents of a folder of the store that are unchanged, by their keys.

        Args:
            name: of the folder.
            entries: what the listing shows in it.
        """
        by_key = self._kept(name)
        found = {}
        for key, size, modified, tag in entries:
            document = by_key.get(key)
            if document and (document.size, document.modified, document.tag) == (size, modified, tag):
                found[key] = document.data
        return found

    def put(self, name: str, documents: Sequence[tuple[Entry, bytes]]) -> None:
        """Keep documents of a folder of the store, beside what else was kept of it.

        Args:
            name: of the folder.
            documents: each as the listing shows it, with its bytes.
        """
        if self._folder is None:
            return
        kept = self._kept(name) | {entry.key: _Document(*entry, data) for entry, data in documents}
        data = _encode(_Folder(1, name, tuple(kept.values())))
        file = self._file(name)
        private = file.with_name(f"{file.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                private.write_bytes(blake3(data).digest() + data)
                private.replace(file)
            finally:
                private.unlink(missing_ok=True)
            if not self._is_tidy:
                self._is_tidy = True
                self._forget()

    def _kept(self, name: str) -> dict[str, _Document]:
        """Return what is kept of a folder, by key; nothing where its file is damaged, or is not there."""
        if self._folder is None:
            return {}
        try:
            content = read_bounded(self._file(name), _MAX_SIZE)
            data = memoryview(content)[_CHECKSUM:]
            if blake3(data).digest() != content[:_CHECKSUM]:
                return {}
            return {document.key: document for document in _decode(data).documents}
        except (OSError, msgspec.MsgspecError, RecursionError):
            return {}

    def _file(self, name: str) -> Path:
        assert self._folder
        return self._folder / blake3(f"{self._store}\n{name}".encode(errors="surrogateescape")).hexdigest()

    def _forget(self) -> None:
        """Remove files that are older than any receipt."""
        assert self._folder
        for file in self._folder.iterdir():
            if file.stat().st_mtime < time.time() - _UNUSED:
                file.unlink(missing_ok=True)
