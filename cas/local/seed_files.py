"""Seed files: the files of seeds that may hold wanted chunks, each listed once, with what is known about it."""

from __future__ import annotations

import os
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from cas.formats.chunking import CHUNK
from cas.formats.manifest import MAX_CHUNKS
from cas.local.fs import is_file
from cas.local.hf_cache import PRIVATE
from cas.local.verified import Chunks, VerifiedFiles

# Bytes of the largest file that a manifest of ours can name.
_MAX_SIZE = MAX_CHUNKS * CHUNK

# Endings of files that are still being written, or that never hold a model.
_UNUSABLE = (".incomplete", ".lock", ".tmp")

# Entries of one seed that are listed at most: a user who names / does not mean all of it.
_MAX_ENTRIES = 200_000

Identity = tuple[int, int]
"""Device and inode number: what two paths of one file have in common."""


@dataclass(slots=True, eq=False)
class SeedFile:
    """A file of a seed.

    Attributes:
        path: where the file was found first.
        size: bytes.
        seed: the seed it belongs to.
        order: position of the seed, counted from 1 in the order in which seeds were added.
        related: whether the file lies in the directory of a wanted repo.
        names: the file names of all paths by which it was found.
        chunks: what it consists of according to a record or its name, unverified; empty when neither says.
    """

    path: Path
    size: int
    seed: Path
    order: int
    related: bool
    names: set[str] = field(default_factory=set)
    chunks: Chunks = ()


class SeedFiles:
    """The files of several seeds. Symlinks to files are followed, symlinks to directories are not."""

    def __init__(
        self, *, smallest: int, repos: Container[str], skip: Container[Identity], skip_part_files: Container[str]
    ) -> None:
        """Start without files.

        Args:
            smallest: bytes; smaller files are left out.
            repos: names of the directories of wanted repos.
            skip: files to leave out.
            skip_part_files: contents (64 hex) whose part files to leave out.
        """
        self._smallest, self._repos = smallest, repos
        self._skip, self._skip_part_files = skip, skip_part_files
        self._visited: set[Identity] = set()
        self._found: dict[Identity, SeedFile] = {}
        self._order = 0
        self._errors: list[OSError] = []

    def files(self) -> list[SeedFile]:
        """Return all files found so far."""
        return list(self._found.values())

    def add(self, seed: Path, *directories: Path, deep: bool = True, related: bool = False) -> str | None:
        """List the files of a seed.

        Args:
            seed: the directory.
            directories: list these directories of it instead of all of it.
            deep: list the directories below, too, with what earlier restores recorded there.
            related: whether this is the directory of a wanted repo.

        Returns:
            The first reason why something was left out, in words; None when nothing was.
        """
        self._order += 1
        self._errors.clear()
        pending = [(directory, related) for directory in reversed(directories or (seed,))]
        entries = 0
        while pending:
            if entries > _MAX_ENTRIES:
                return (
                    f"it has more than {_MAX_ENTRIES:,} files, the rest is left out: "
                    "name a folder nearer to the weights"
                )
            directory, is_related = pending.pop()
            is_related = is_related or directory.name in self._repos
            below = []
            for path, is_directory in self._entries(directory):
                entries += 1
                if not is_directory:
                    self._add_file(path, seed, is_related)
                elif deep and path.name != ".locks":
                    below.append((path, is_related))
            pending += reversed(below)
            if deep:
                self.add_recorded(directory, seed, related=is_related)
        return describe_unreadable(self._errors[0]) if self._errors else None

    def add_recorded(self, directory: Path, seed: Path, *, related: bool) -> None:
        """Add the files that an earlier restore into `directory` recorded, with their chunks."""
        if os.path.isdir(directory / PRIVATE):
            for path, chunks in VerifiedFiles(directory).unchanged_files():
                file = self._add_file(path, seed, related)
                if file:
                    file.chunks = chunks

    def _entries(self, directory: Path) -> list[tuple[Path, bool]]:
        """Return (path, whether it is a directory) of a directory's entries; nothing if it was visited before."""
        try:
            stats = os.stat(directory)
            if (stats.st_dev, stats.st_ino) in self._visited:
                return []
            self._visited.add((stats.st_dev, stats.st_ino))
            with os.scandir(directory) as entries:
                return sorted((Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries)
        except OSError as error:
            self._errors.append(error)
            return []

    def _add_file(self, path: Path, seed: Path, related: bool) -> SeedFile | None:
        try:
            stats = os.stat(path)
        except OSError:
            return None  # a dangling symlink
        identity = stats.st_dev, stats.st_ino
        if not is_file(stats) or not self._smallest <= stats.st_size <= _MAX_SIZE or identity in self._skip:
            return None
        if path.name.endswith(_UNUSABLE):
            return None
        if path.name.endswith(".part") and path.name.split(".")[0] in self._skip_part_files:
            return None
        file = self._found.setdefault(identity, SeedFile(path, stats.st_size, seed, self._order, related))
        file.names.add(path.name)
        file.related |= related
        return file


def describe_unreadable(error: OSError) -> str:
    """Return in words why a file or directory cannot be read, for a warning."""
    return f"{error.filename} cannot be read ({error.strerror}): check its name and mode"
