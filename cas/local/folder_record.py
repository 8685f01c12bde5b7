"""The record of what restores made in a folder of the user's: `.cas/folder.json`, beside the record of verified files.

    {"version": 1, "files": ["vae/ae.safetensors"], "directories": ["vae"]}

A path enters it before the file or the directory is made, so a killed restore leaves nothing behind that counts as the
user's. What it does not name belongs to the user, and no restore replaces or removes that: a file that held the right
bytes before is used as it is, and not entered. Whoever can write the record can write the folder, so its paths are
checked before use, and say nothing about files outside the folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from cas.errors import FormatError
from cas.formats import paths
from cas.formats.typed_json import JsonFormat
from cas.local.directory import Directory
from cas.local.fs import read_bounded
from cas.local.hf_cache import PRIVATE

_NAME = "folder.json"
_MAX_SIZE = 64 * 1024 * 1024  # bytes


class _Document(msgspec.Struct, frozen=True):
    version: int
    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()


_DOCUMENTS = JsonFormat[_Document](_Document)


class FolderRecord:
    """The record of one folder, as it was when it was read.

    Attributes:
        files: paths of files that restores made or were about to make, relative to the folder, with slashes.
        directories: the same of directories.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        document = _Document(1)
        # A record that cannot be read names nothing: then what lies in the folder counts as the user's.
        with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            document = _DOCUMENTS.decode(read_bounded(folder / PRIVATE / _NAME, _MAX_SIZE))
        if document.version != 1:
            document = _Document(1)
        self.files = frozenset(_safe(document.files))
        self.directories = frozenset(_safe(document.directories))

    def claim(self, files: Iterable[str]) -> None:
        """Record that a restore is about to make files, and the directories on their way that are missing.

        What the record names and is gone leaves it.

        Args:
            files: their paths.

        Raises:
            CacheError: the record cannot be written.
        """
        files = set(files)
        parents = {parent for path in files for parent in parents_of(path)}
        made = {parent for parent in parents if not os.path.lexists(self._folder / parent)}
        self.write(files | self._existing(self.files), made | self._existing(self.directories))

    def settle(self) -> None:
        """Take what has not been made out of the record, as the restore that was to make it failed.

        Raises:
            CacheError: the record cannot be written.
        """
        self.write(self._existing(self.files), self._existing(self.directories))

    def write(self, files: Iterable[str], directories: Iterable[str]) -> None:
        """Write the record anew.

        Raises:
            CacheError: it cannot be written.
        """
        self.files, self.directories = frozenset(files), frozenset(directories)
        document = _Document(1, tuple(sorted(self.files)), tuple(sorted(self.directories)))
        with Directory.open(self._folder, (PRIVATE,)) as directory:
            directory.write(_NAME, _DOCUMENTS.encode(document), directory)

    def _existing(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if os.path.lexists(self._folder / name)}


def parents_of(path: str) -> Iterator[str]:
    """Yield the directories that `path` lies in, the outermost first; not the root."""
    components = path.split("/")[:-1]
    for count in range(1, len(components) + 1):
        yield "/".join(components[:count])


def is_private(path: str) -> bool:
    """Return whether a path lies in a directory whose name means something to us or to git: `.cas`, or any `.git`.

    So does a name that some file system takes for one of these.
    """
    first, *_ = components = path.split("/")
    return paths.looks_like(first, PRIVATE) or any(paths.looks_like(component, ".git") for component in components)


def _safe(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        with contextlib.suppress(FormatError):
            paths.check_path(name)
            if not is_private(name):
                yield name
