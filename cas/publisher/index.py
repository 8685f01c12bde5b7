"""From files to chunks: cuts and hashes what is new, checks each blob against its name, reads nothing twice known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cas import chunking, events
from cas.config import Limits
from cas.digest import hex_of
from cas.errors import CacheError, InputError, IntegrityError
from cas.folder import read_at
from cas.hfcache import SnapshotFile, blob_hash
from cas.manifest import ChunkRef, Manifest, PlainFile, Repo, RepoFile
from cas.parallel import for_each
from cas.publisher.gather import Gathered, LocalRepo


class Slice(NamedTuple):
    """Where a chunk's bytes lie on this machine. width: bytes per element, None when not told."""

    path: Path
    offset: int
    size: int
    width: int | None


@dataclass(frozen=True, slots=True)
class Index:
    """What a manifest will hold, and where to read each distinct chunk (64 hex) from."""

    repos: tuple[Repo, ...]
    files: tuple[PlainFile, ...]
    slices: dict[str, Slice]


class _Known(NamedTuple):
    size: int
    chunks: tuple[ChunkRef, ...]


def index(gathered: Gathered, parent: Manifest | None, limits: Limits, listen: events.Listener) -> Index:
    """Chunks of every gathered file. A blob that the parent names is not read: its name vouches for its content.

    Raises IntegrityError when a blob is not what its name says, CacheError when a file changes while it is read.
    """
    known = (
        {file.blob: _Known(file.size, file.chunks) for repo in parent.repos for file in repo.files} if parent else {}
    )
    indexer = _Indexer(known)
    everything = [file for repo in gathered.repos for file in repo.files] + list(gathered.plain)
    # One blob under several names is read once.
    distinct = {_content(file): file for file in everything}.values()
    unread = [file for file in distinct if not indexer.recall(file)]
    listen(events.Phase("hash", sum(_size(file.real) for file in unread)))
    for_each(lambda file: indexer.read(file, listen), unread, threads=limits.workers)
    return Index(
        tuple(indexer.repo(repo) for repo in gathered.repos),
        tuple(indexer.plain_file(file) for file in gathered.plain),
        indexer.slices,
    )


class _Indexer:
    def __init__(self, known: dict[str, _Known]) -> None:
        self._known = known
        self._done: dict[tuple[Path, str | None], tuple[str, _Known]] = {}
        self.slices: dict[str, Slice] = {}

    def recall(self, file: SnapshotFile) -> bool:
        """Takes a file's chunks from the parent, when it names the file's blob."""
        known = self._known.get(file.blob or "")
        if file.blob is None or known is None or known.size != _size(file.real):
            return False
        self._done[_content(file)] = (file.blob, known)
        offset = 0
        for chunk in known.chunks:
            self.slices.setdefault(chunk.digest, Slice(file.real, offset, chunk.size, None))
            offset += chunk.size
        return True

    def read(self, file: SnapshotFile, listen: events.Listener) -> None:
        """Cuts and hashes a file, all its bytes once."""
        with _steady(file) as size, file.real.open("rb") as opened:
            spans = chunking.spans(opened, size)
            running = blob_hash(file.blob, size) if file.blob else hashlib.sha256()
            buffer = memoryview(bytearray(max((span.size for span in spans), default=0)))
            chunks = []
            for span in spans:
                view = buffer[: span.size]
                if read_at(opened.fileno(), view, span.offset) != span.size:
                    raise _changed(file)
                running.update(view)
                digest = hex_of(view)
                chunks.append(ChunkRef(digest, span.size))
                self.slices.setdefault(digest, Slice(file.real, span.offset, span.size, span.width))
                listen(events.Moved(span.size, source="local"))
        blob = running.hexdigest()
        if file.blob not in (None, blob):
            raise IntegrityError(
                f"{file.real} is named {file.blob} but its content is {blob}: "
                "it is damaged; remove it and download it again"
            )
        self._done[_content(file)] = (blob, _Known(size, tuple(chunks)))

    def repo(self, repo: LocalRepo) -> Repo:
        files = []
        for file in repo.files:
            blob, known = self._done[_content(file)]
            files.append(RepoFile(file.path, known.size, blob, known.chunks))
        return Repo(repo.repo_id, repo.repo_type, repo.commit or _content_commit(files), repo.refs, tuple(files))

    def plain_file(self, file: SnapshotFile) -> PlainFile:
        _, known = self._done[_content(file)]
        return PlainFile(file.path, known.size, known.chunks)


def _content_commit(files: list[RepoFile]) -> str:
    """A commit id for a plain folder: 40 hex that change when and only when its content does."""
    listing = "".join(f"{file.blob} {file.path}\n" for file in files)
    return hex_of(listing.encode())[:40]


@contextmanager
def _steady(file: SnapshotFile) -> Iterator[int]:
    """The file's size; raises CacheError when the file was written to meanwhile."""
    try:
        before = os.stat(file.real)
        yield before.st_size
        after = os.stat(file.real)
    except PermissionError as error:
        raise InputError(f"{error.filename} cannot be read: check its owner and mode") from None
    except FileNotFoundError:
        raise _changed(file) from None
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise _changed(file)


def _changed(file: SnapshotFile) -> CacheError:
    return CacheError(f"{file.real} changed while it was read: publish again when its writer is done")


def _content(file: SnapshotFile) -> tuple[Path, str | None]:
    return file.real, file.blob


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise CacheError(f"{path} vanished ({error.strerror}): publish again when its writer is done") from None
