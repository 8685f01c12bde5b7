"""Candidates: files of a folder that may hold chunks, each once, whatever it is called, with what is known of it."""

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

_LARGEST = MAX_CHUNKS * CHUNK
"""Bytes of the largest file that a manifest of ours can name."""

# What a name ends in while its file is being written, and what never holds a model.
_UNFIT = (".incomplete", ".lock", ".tmp")

# Files and folders of a seed that are looked at; whoever named / did not mean it.
_MOST = 200_000

Identity = tuple[int, int]


@dataclass(slots=True, eq=False)
class Candidate:
    """A file in a seed. names: all by which it was met. chunks: what it consists of, if something says so.

    order: of its seed. related: it lies in the folder of a wanted repo.
    """

    path: Path
    size: int
    seed: Path
    order: int
    related: bool
    names: set[str] = field(default_factory=set)
    chunks: Chunks = ()


class Candidates:
    """The files of several seeds. Symlinked files are followed, symlinked folders are not."""

    def __init__(
        self, *, smallest: int, repos: Container[str], skip: Container[Identity], skip_parts: Container[str]
    ) -> None:
        """smallest: bytes below which a file is of no use. repos: names of the folders of wanted repos.

        skip: files to leave out. skip_parts: contents whose part files to leave out.
        """
        self._smallest, self._repos = smallest, repos
        self._skip, self._skip_parts = skip, skip_parts
        self._folders: set[Identity] = set()
        self._found: dict[Identity, Candidate] = {}
        self._order = 0
        self._refused: list[OSError] = []

    def files(self) -> list[Candidate]:
        """All that were found."""
        return list(self._found.values())

    def add(self, seed: Path, *folders: Path, deep: bool = True, related: bool = False) -> str | None:
        """Takes up the files of a seed, or of some folders of it; what was in the way, if anything.

        deep: look into the folders below, too.
        """
        self._order += 1
        self._refused.clear()
        pending = [(folder, related) for folder in reversed(folders or (seed,))]
        visited = 0
        while pending:
            if visited > _MOST:
                return f"it has more than {_MOST:,} files, the rest is left out: name a folder nearer to the weights"
            folder, near = pending.pop()
            near = near or folder.name in self._repos
            below = []
            for path, is_folder in self._entries(folder):
                visited += 1
                if not is_folder:
                    self._take(path, seed, near)
                elif deep and path.name != ".locks":
                    below.append((path, near))
            pending += reversed(below)
            if deep:
                self.hear(folder, seed, related=near)
        return unreadable(self._refused[0]) if self._refused else None

    def hear(self, folder: Path, seed: Path, *, related: bool) -> None:
        """Takes up what an earlier restore into `folder` left word of."""
        if os.path.isdir(folder / PRIVATE):
            for path, chunks in VerifiedFiles(folder).unchanged_files():
                found = self._take(path, seed, related)
                if found:
                    found.chunks = chunks

    def _entries(self, folder: Path) -> list[tuple[Path, bool]]:
        """What lies in a folder that was not looked into yet, and whether it is a folder."""
        try:
            found = os.stat(folder)
            if (found.st_dev, found.st_ino) in self._folders:
                return []
            self._folders.add((found.st_dev, found.st_ino))
            with os.scandir(folder) as entries:
                return sorted((Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries)
        except OSError as error:
            self._refused.append(error)
            return []

    def _take(self, path: Path, seed: Path, related: bool) -> Candidate | None:
        try:
            stats = os.stat(path)
        except OSError:
            return None  # a dangling symlink
        identity = stats.st_dev, stats.st_ino
        if not is_file(stats) or not self._smallest <= stats.st_size <= _LARGEST or identity in self._skip:
            return None
        if path.name.endswith(_UNFIT) or (path.name.endswith(".part") and path.name.split(".")[0] in self._skip_parts):
            return None
        found = self._found.setdefault(identity, Candidate(path, stats.st_size, seed, self._order, related))
        found.names.add(path.name)
        found.related |= related
        return found


def unreadable(error: OSError) -> str:
    """What is in the way of reading a file or folder."""
    return f"{error.filename} cannot be read ({error.strerror}): check its name and mode"
