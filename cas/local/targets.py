"""What a version puts on this machine: each distinct content, where it goes, and which local files hold it already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cas import events
from cas.config import CacheDirs
from cas.formats.digest import hex_of
from cas.formats.manifest import ChunkRef, Manifest, PlainFile, Repo, RepoFile
from cas.local.fs import check_name_encoding
from cas.local.hf_cache import PRIVATE, RepoCache
from cas.local.verified import FileStamp

PART_DIRECTORY = (PRIVATE, "parts")
"""Directory of the part files, as components below a root: on the file system that they are renamed within."""


@dataclass(frozen=True, slots=True)
class Target:
    """One distinct content that a version needs on disk.

    Attributes:
        root: the directory that all writes for this content stay below: a repo's in the hub cache, or HF_HOME.
        components: path of the file below `root`: a blob, or a plain file.
        snapshot_paths: every path below `root`, as components, under which a snapshot shows the content; empty for a
            plain file.
        size: bytes.
        chunks: what the content consists of, in order.
        content: 64 hex that name the bytes, whatever file they are in; see `content_of`.
        repo: the repo in the hub cache, None for a plain file.
        in_folder: whether the root is a folder that the user named for the restored files, and no cache.
    """

    root: Path
    components: tuple[str, ...]
    snapshot_paths: tuple[tuple[str, ...], ...]
    size: int
    chunks: tuple[ChunkRef, ...]
    content: str
    repo: RepoCache | None
    in_folder: bool = False

    @property
    def path(self) -> Path:
        """The absolute path of the file that holds the bytes."""
        return self.root.joinpath(*self.components)

    def chunk_offsets(self) -> Iterator[tuple[int, ChunkRef]]:
        """Yield each chunk after its offset in bytes."""
        offset = 0
        for chunk in self.chunks:
            yield offset, chunk
            offset += chunk.size

    def completed(self, components: tuple[str, ...], stamp: FileStamp) -> events.Completed:
        """Return the event that a file holds all of this content now, verified.

        Args:
            components: path of the file below `root`.
            stamp: what it was when it was verified.
        """
        return events.Completed(
            path=str(self.root.joinpath(*components)),
            repo_id=self.repo.repo_id if self.repo else "",
            names=tuple("/".join(path[2:]) for path in self.snapshot_paths),
            size=stamp.size,
            mtime=stamp.mtime,
        )


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """The files on this machine that hold a target, before a restore.

    Attributes:
        complete: files (components below the root) that hold all of it, with their stamps when they were verified.
        partial: files (components below the root) that hold some of it, with the indexes of the chunks verified there.
        part_files: names of part files with the indexes of their verified chunks, the most complete first.
    """

    complete: Mapping[tuple[str, ...], FileStamp] = field(default_factory=dict)
    partial: tuple[tuple[tuple[str, ...], frozenset[int]], ...] = ()
    part_files: tuple[tuple[str, frozenset[int]], ...] = ()


class ChunkLocation(NamedTuple):
    """Where a chunk's bytes lie on this machine.

    Attributes:
        path: a local file.
        offset: where in the file the chunk begins, in bytes.
        seed: the directory in which the file was found.
    """

    path: Path
    offset: int
    seed: Path


def targets_of(manifest: Manifest, dirs: CacheDirs) -> tuple[Target, ...]:
    """Return every distinct content of a version, with its destination in the given cache.

    Raises:
        InputError: this process could not give a file its name.
    """
    check_name_encoding(file.path for file in manifest.all_files())
    targets: list[Target] = []
    for repo in manifest.repos:
        targets += _repo_targets(repo, dirs)
    for file in manifest.files:
        components = tuple(file.path.split("/"))
        targets.append(Target(dirs.home, components, (), file.size, file.chunks, content_of(file), None))
    return tuple(targets)


def _repo_targets(repo: Repo, dirs: CacheDirs) -> Iterator[Target]:
    cache = RepoCache(dirs.hub, repo.repo_type, repo.repo_id)
    snapshot_paths: dict[str, list[tuple[str, ...]]] = {}
    files: dict[str, RepoFile] = {}
    for file in repo.files:
        files[file.blob] = file
        snapshot_paths.setdefault(file.blob, []).append(cache.snapshot_components(repo.commit, file.path))
    for blob, file in files.items():
        yield Target(
            root=cache.root,
            components=cache.blob_components(blob),
            snapshot_paths=tuple(snapshot_paths[blob]),
            size=file.size,
            chunks=file.chunks,
            content=content_of(file),
            repo=cache,
        )


def content_of(file: RepoFile | PlainFile) -> str:
    """Return the name (64 hex) of a file's bytes: the digest of its chunks' digests."""
    return hex_of("".join(chunk.digest for chunk in file.chunks).encode())
