"""From files to chunks: what the parent's manifest tells of them, and what has to be read."""

from __future__ import annotations

import itertools
from typing import NamedTuple, TypeAlias

from cas.formats.digest import hex_of
from cas.formats.manifest import ChunkRef, Manifest, PlainFile, Repo, RepoFile
from cas.hub.gather import Gathered, LocalRepo
from cas.local.hf_cache import SnapshotFile
from cas.ops.publish.file_reader import Reading, Slice

_Place: TypeAlias = tuple[str, str | None]


class _Content(NamedTuple):
    """What a file consists of."""

    size: int
    blob: str
    chunks: tuple[ChunkRef, ...]


class Index:
    """Every gathered file, each distinct content once.

    A blob that the parent names is not read: its name vouches for its content. readings: the files to read. slices:
    where to read each chunk (64 hex) of the others from.
    """

    def __init__(self, gathered: Gathered, parent: Manifest | None) -> None:
        """Raises CacheError or InputError when a file cannot be read."""
        self._gathered = gathered
        older = [file for repo in parent.repos for file in repo.files] if parent else []
        known = {file.blob: file for file in older}
        self.slices: dict[str, Slice] = {}
        self._known: dict[_Place, _Content] = {}
        self._readings: dict[_Place, Reading] = {}
        in_repos = [file for repo in gathered.repos for file in repo.files]
        wanted = {_place(file) for file in in_repos}
        # One blob under several names is read once.
        for place, file in {_place(file): file for file in (*in_repos, *gathered.plain)}.items():
            if not self._recall(file, known):
                self._readings[place] = Reading(file, older, named=place in wanted)

    @property
    def readings(self) -> list[Reading]:
        """In the order in which they are best read."""
        return list(self._readings.values())

    @property
    def unread(self) -> int:
        """Bytes to read."""
        return sum(reading.size for reading in self.readings)

    @property
    def seems_known(self) -> bool:
        """Whether the parent may well have all there is to read."""
        return all(reading.seems_known for reading in self.readings)

    def _recall(self, file: SnapshotFile, known: dict[str, RepoFile]) -> bool:
        older = known.get(file.blob or "")
        if older is None or older.size != file.size:
            return False
        self._known[_place(file)] = _Content(older.size, older.blob, older.chunks)
        offset = 0
        for chunk in older.chunks:
            self.slices.setdefault(chunk.digest, Slice(file.real, offset, chunk.size, None))
            offset += chunk.size
        return True

    def listed(self, *, read: bool = True) -> tuple[tuple[Repo, ...], tuple[PlainFile, ...]]:
        """Repos and plain files of a manifest. read: False before reading, with made-up names for what is not known."""
        made_up = (f"{number:064x}" for number in itertools.count())
        found = dict(self._known)
        for place, reading in self._readings.items():
            if read:
                found[place] = _Content(reading.size, reading.blob, tuple(reading.chunks))
            else:
                chunks = tuple(ChunkRef(next(made_up), piece.size) for piece in reading.slices)
                found[place] = _Content(reading.size, next(made_up), chunks)
        plain = ((file.path, found[_place(file)]) for file in self._gathered.plain)
        return (
            tuple(_repo(repo, found) for repo in self._gathered.repos),
            tuple(PlainFile(path, content.size, content.chunks) for path, content in plain),
        )


def _repo(repo: LocalRepo, found: dict[_Place, _Content]) -> Repo:
    contents = ((file.path, found[_place(file)]) for file in repo.files)
    files = [RepoFile(path, content.size, content.blob, content.chunks) for path, content in contents]
    return Repo(repo.repo_id, repo.repo_type, repo.commit or _content_commit(files), repo.refs, tuple(files))


def _content_commit(files: list[RepoFile]) -> str:
    """A commit id for a plain folder: 40 hex that change when and only when its content does."""
    listing = "".join(f"{file.blob} {file.path}\n" for file in files)
    return hex_of(listing.encode())[:40]


def _place(file: SnapshotFile) -> _Place:
    return str(file.real), file.blob
