"""What a restore will do, as a value: computed before any byte moves, printed by --dry-run, compared by tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cas.config import CacheDirs
from cas.formats.digest import hex_of
from cas.formats.manifest import ChunkRef, Manifest, PlainFile, Repo, RepoFile
from cas.local.hf_cache import PRIVATE, RepoCache
from cas.local.verified import FileStamp

PARTS = (PRIVATE, "parts")
"""Where part files lie below a root: on the file system they will be renamed within."""


@dataclass(frozen=True, slots=True)
class Target:
    """One distinct content to have on disk.

    root: the folder below which all writes for it stay. parts: where it goes below the root. names: every
    snapshot path (as parts below the root) under which it must be found; empty for a plain file.
    content: names the bytes, whatever file they are in. repo: the repo's folder, None for a plain file.
    """

    root: Path
    parts: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    size: int
    chunks: tuple[ChunkRef, ...]
    content: str
    repo: RepoCache | None

    @property
    def path(self) -> Path:
        """Where its bytes go."""
        return self.root.joinpath(*self.parts)

    def places(self) -> Iterator[tuple[int, ChunkRef]]:
        """Each chunk with its offset."""
        offset = 0
        for chunk in self.chunks:
            yield offset, chunk
            offset += chunk.size


@dataclass(frozen=True, slots=True)
class Local:
    """What this machine holds of a target before a restore.

    whole: files (parts below the root) that hold it entirely, as they were when verified. sources: files that
    hold some of it, with the indexes of the chunks verified there. parts: names of part files with their good
    chunks, the most complete first.
    """

    whole: Mapping[tuple[str, ...], FileStamp] = field(default_factory=dict)
    sources: tuple[tuple[tuple[str, ...], frozenset[int]], ...] = ()
    parts: tuple[tuple[str, frozenset[int]], ...] = ()


class ChunkLocation(NamedTuple):
    """Where a chunk lies in a local file. seed: the folder in which the file was found."""

    path: Path
    offset: int
    seed: Path


def targets(manifest: Manifest, dirs: CacheDirs) -> tuple[Target, ...]:
    """Every distinct content of a manifest, where it goes in the given cache."""
    found: list[Target] = []
    for repo in manifest.repos:
        found += _repo_targets(repo, dirs)
    for file in manifest.files:
        found.append(Target(dirs.home, tuple(file.path.split("/")), (), file.size, file.chunks, content_of(file), None))
    return tuple(found)


def _repo_targets(repo: Repo, dirs: CacheDirs) -> Iterator[Target]:
    cache = RepoCache(dirs.hub, repo.repo_type, repo.repo_id)
    names: dict[str, list[tuple[str, ...]]] = {}
    files: dict[str, RepoFile] = {}
    for file in repo.files:
        files[file.blob] = file
        names.setdefault(file.blob, []).append(cache.snapshot_parts(repo.commit, file.path))
    for blob, file in files.items():
        yield Target(
            cache.root, cache.blob_parts(blob), tuple(names[blob]), file.size, file.chunks, content_of(file), cache
        )


def content_of(file: RepoFile | PlainFile) -> str:
    """A name (64 hex) for a file's bytes: the digest of its chunks' digests."""
    return hex_of("".join(chunk.digest for chunk in file.chunks).encode())
