"""The record of what restores made in a directory, as opposed to what they found there: only that may be pruned.

`.cas/made.json`, one for each root directory (a repo's, or HF_HOME), names blobs, snapshot links and plain files. A
path is entered before it is made, so a killed restore leaves nothing that nobody owns; once it is there, the record
holds its modification time: a file of another time was put there by another program, and is not ours. Nor is a path
that a killed restore had entered, and that another program made after it: our files get their names by a rename out of
the directory of part files, so that directory changed no earlier than they did.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from cas.formats.typed_json import JsonFormat
from cas.local.directory import Directory
from cas.local.fs import read_bounded
from cas.local.hf_cache import PRIVATE
from cas.local.targets import PART_DIRECTORY

MADE_NAME = "made.json"
"""The record's name in our directory below a root."""

_MAX_BYTES = 64 * 1024 * 1024
_UNFINISHED = -1  # stands for the time of a path that a restore is about to make


class _Made(msgspec.Struct, frozen=True):
    """The document: the modification time in nanoseconds of each path below the root."""

    version: int
    paths: dict[str, int]


_FORMAT = JsonFormat[_Made](_Made)

Components = tuple[str, ...]


class MadeFiles:
    """The record of one root directory. Paths are components below the root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths = self._read()

    def has(self, components: Components) -> bool:
        """Return whether a restore made what is at this path now; it was about to where nothing is there."""
        path = "/".join(components)
        entered = self._paths.get(path)
        if entered is None:
            return False
        time = self._time(path)
        return time == self._time_of_made(path, entered) if time is not None else entered == _UNFINISHED

    def claim(self, paths: Iterable[Components]) -> None:
        """Enter paths that are about to be made.

        What a killed restore entered and did not make leaves the record: call it while holding the root's lock.

        Raises:
            CacheError: the directory cannot be written.
        """
        wanted = {"/".join(components): _UNFINISHED for components in paths}
        # Read again: another restore may have entered its own meanwhile.
        of_killed = (path for path, time in self._paths.items() if time == _UNFINISHED and path not in wanted)
        if wanted.items() - self._paths.items() or any(of_killed):
            self._write({**self._finished(), **wanted})

    def settle(self, paths: Iterable[Components]) -> None:
        """Enter the modification times of these paths; those that have not been made leave the record.

        Raises:
            CacheError: the directory cannot be written.
        """
        claimed = {"/".join(components) for components in paths}
        times = {path: self._time(path) for path in claimed if self._paths.get(path) == _UNFINISHED}
        if times:
            both = {**self._read(), **times}
            self._write({path: time for path, time in both.items() if time is not None})

    def forget(self, paths: Iterable[Components]) -> None:
        """Take paths out of the record, and what a killed restore entered and did not make.

        Call it while holding the root's lock.

        Args:
            paths: the paths.

        Raises:
            CacheError: the directory cannot be written.
        """
        gone = {"/".join(components) for components in paths}
        left = {path: time for path, time in self._finished().items() if path not in gone}
        if left != self._paths:
            self._write(left)

    def _finished(self) -> dict[str, int]:
        """Return the record as it is now, with the times of what killed restores made, without what they did not."""
        times = {path: self._time_of_made(path, entered) for path, entered in self._read().items()}
        return {path: time for path, time in times.items() if time is not None}

    def _time_of_made(self, path: str, entered: int) -> int | None:
        """Return the time at which a restore made a path of the record; None if a killed one did not."""
        if entered != _UNFINISHED:
            return entered
        time, last_rename = self._time(path), self._time("/".join(PART_DIRECTORY))
        return time if time is not None and last_rename is not None and time <= last_rename else None

    def _time(self, path: str) -> int | None:
        try:
            return os.lstat(self._root / path).st_mtime_ns
        except (OSError, ValueError):
            return None

    def _read(self) -> dict[str, int]:
        try:
            document = _FORMAT.decode(read_bounded(self._root / PRIVATE / MADE_NAME, _MAX_BYTES))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return document.paths if document.version == 1 else {}

    def _write(self, paths: dict[str, int]) -> None:
        self._paths = paths
        with Directory.open(self._root, (PRIVATE,)) as directory:
            directory.write(MADE_NAME, _FORMAT.encode(_Made(1, paths)), directory)
