"""What lists show of versions, remembered on this machine: `<user's cache>/model-cas/versions/<store>.json`.

A manifest never changes, so what was read of it stays true as long as the store has it; its stamp tells when the object
was written anew, and it is then read again. The file is a convenience: one that is absent, torn, too large, of another
format, or another user's counts as empty, and one that cannot be written is not written. What it says is only shown.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from itertools import islice
from typing import Annotated, TypeAlias

import msgspec

from cas import config
from cas.errors import CasError
from cas.formats.digest import Hex, hex_of
from cas.formats.outline import Outline
from cas.formats.typed_json import JsonFormat
from cas.local.directory import Directory
from cas.local.fs import read_at, write_all

_FOLDERS = ("model-cas", "versions")
_VERSION = 1
_MOST_STORES = 32  # files, of which the oldest go first
_MOST_VERSIONS = 20_000  # of one store: 6 MB
_WORTH = 4 * 1024 * 1024  # bytes of manifests: to read fewer again takes less than a second on most connections
_MAX_SIZE = 16 * 1024 * 1024  # bytes of a file

Stamp: TypeAlias = str
"""Tells an object from one that was written later under the same key."""


class _Remembered(msgspec.Struct, frozen=True, array_like=True):
    """One version as the file holds it."""

    stamp: str
    outline: Outline


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file; `versions` by digest, those read last at the end."""

    version: Annotated[int, msgspec.Meta(ge=_VERSION, le=_VERSION)]
    store: str
    versions: dict[Hex, _Remembered]


_DOCUMENTS = JsonFormat[_Document](_Document)


class Outlines:
    """The outlines of one store's versions that this machine remembers."""

    def __init__(self, store: str) -> None:
        """Read what is remembered. store: the URL of the store."""
        self._store, self._name = store, f"{hex_of(store.encode(errors='surrogateescape'))[:32]}.json"
        self._root = config.user_directory("XDG_CACHE_HOME", ".cache")
        self._known: Mapping[str, _Remembered] = self._read() if self._root else {}
        self._new: dict[str, _Remembered] = {}

    def get(self, digest: str, stamp: Stamp) -> Outline | None:
        """Return what is remembered of a version (64 hex), or None if its manifest was written anew since."""
        known = self._known.get(digest)
        return known.outline if known and known.stamp == stamp else None

    def add(self, digest: str, stamp: Stamp, outline: Outline) -> None:
        """Remember a version. stamp: of its manifest before that was read."""
        self._new[digest] = _Remembered(stamp, outline)

    def save(self, read: int) -> None:
        """Write what was added; where there are too many versions, the first ones go.

        Nothing is written for a store that is listed quickly without.

        Args:
            read: bytes of the manifests of all versions that were added.
        """
        if self._root is None or not self._new or (read < _WORTH and not self._known):
            return
        kept = {**self._known, **self._new}
        recent = dict(islice(kept.items(), max(0, len(kept) - _MOST_VERSIONS), None))
        with contextlib.suppress(OSError, CasError, UnicodeEncodeError):
            data = _DOCUMENTS.encode(_Document(_VERSION, self._store, recent))
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with Directory.open(self._root, _FOLDERS) as folder:
                _write(folder, self._name, data)
                _remove_oldest(folder)

    def _read(self) -> Mapping[str, _Remembered]:
        assert self._root is not None
        try:
            with (
                Directory.open(self._root, _FOLDERS, create=False) as folder,
                folder.file(self._name, os.O_RDONLY) as fd,
            ):
                status = os.fstat(fd)
                if status.st_uid != os.geteuid() or status.st_mode & stat.S_IWOTH or status.st_size > _MAX_SIZE:
                    return {}
                data = bytearray(status.st_size)
                document = _DOCUMENTS.decode(memoryview(data)[: read_at(fd, memoryview(data), 0)])
        except (OSError, CasError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return {}
        return document.versions if document.store == self._store else {}


def _write(folder: Directory, name: str, data: bytes) -> None:
    """Write a file that appears whole. It is not synced: one that a power cut tore is made anew."""
    with folder.temporary_name() as temporary:
        with folder.file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
            os.fchmod(fd, 0o600)
            write_all(fd, data)
        folder.rename(temporary, folder, name)


def _remove_oldest(folder: Directory) -> None:
    written = [(status.st_mtime, name) for name in folder.names() if (status := folder.stat(name)) is not None]
    for _, name in sorted(written)[:-_MOST_STORES]:
        folder.remove(name)
