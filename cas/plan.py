"""What a restore will do, as a value: computed before any byte moves, printed by --dry-run, compared by tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cas.config import CacheDirs
from cas.digest import hex_of
from cas.hfcache import PRIVATE, RepoCache
from cas.manifest import ChunkRef, Manifest, PlainFile, Repo, RepoFile
from cas.trust import Seen

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

    whole: Mapping[tuple[str, ...], Seen] = field(default_factory=dict)
    sources: tuple[tuple[tuple[str, ...], frozenset[int]], ...] = ()
    parts: tuple[tuple[str, frozenset[int]], ...] = ()


class Place(NamedTuple):
    """Where a chunk goes: an index into the plan's work, and an offset in that file."""

    work: int
    offset: int


class Fetch(NamedTuple):
    """A chunk to take from the store, once, and everywhere it goes."""

    chunk: ChunkRef
    places: tuple[Place, ...]


class Copy(NamedTuple):
    """A verified chunk to take from another local file, which is hashed again on the way."""

    chunk: ChunkRef
    source: Path
    source_offset: int
    place: Place


class Work(NamedTuple):
    """A target to be written. part: a part file's name to go on with."""

    target: Target
    part: str | None
    pending: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All a restore will write.

    total: plain bytes of the model. disk: bytes of new room needed, by root. whole: per target, the verified files.
    """

    targets: tuple[Target, ...]
    whole: tuple[Mapping[tuple[str, ...], Seen], ...]
    works: tuple[Work, ...]
    fetches: tuple[Fetch, ...]
    copies: tuple[Copy, ...]
    disk: Mapping[Path, int]

    @property
    def total(self) -> int:
        """Plain bytes of all targets."""
        return sum(target.size for target in self.targets)

    @property
    def fetch_bytes(self) -> int:
        """Plain bytes that the store must give."""
        return sum(fetch.chunk.size for fetch in self.fetches)


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


def make_plan(wanted: Iterable[Target], local: Iterable[Local], owner: str | None = None) -> Plan:
    """The plan for `wanted`, given what is here of each.

    owner: go on with part files of this owner only, and copy from others'; None goes on with anybody's.
    """
    pairs = list(zip(wanted, local, strict=True))
    adopted = _adopt(pairs, owner)
    taken = {(target.root, name) for (target, _), name in zip(pairs, adopted, strict=True)}
    works: list[Work] = []
    places: dict[ChunkRef, list[Place]] = {}
    copies: list[Copy] = []
    disk: dict[Path, int] = {}
    for (target, here), name in zip(pairs, adopted, strict=True):
        if here.whole:
            continue
        good = dict(here.parts).get(name, frozenset[int]()) if name else frozenset[int]()
        spare = (((*PARTS, part), held) for part, held in here.parts if (target.root, part) not in taken)
        sources = (*here.sources, *spare)
        pending = 0
        for index, (offset, chunk) in enumerate(target.places()):
            if index in good:
                continue
            pending += 1
            place = Place(len(works), offset)
            source = next((parts for parts, held in sources if index in held), None)
            if source is not None:
                copies.append(Copy(chunk, target.root.joinpath(*source), offset, place))
            else:
                places.setdefault(chunk, []).append(place)
            disk[target.root] = disk.get(target.root, 0) + chunk.size
        works.append(Work(target, name, pending))
    return Plan(
        targets=tuple(target for target, _ in pairs),
        whole=tuple(here.whole for _, here in pairs),
        works=tuple(works),
        fetches=tuple(Fetch(chunk, tuple(where)) for chunk, where in places.items()),
        copies=tuple(copies),
        disk=disk,
    )


def part_name(content: str, owner: str, token: str) -> str:
    """A part file's name: what it will be, who fills it, and what tells it from the owner's others."""
    return f"{content}.{owner}.{token}.part"


def _adopt(pairs: Iterable[tuple[Target, Local]], owner: str | None) -> list[str | None]:
    """The part file each target goes on with: one file serves one target, though several may have its content."""
    taken: set[tuple[Path, str]] = set()
    chosen: list[str | None] = []
    for target, here in pairs:
        found = None
        for name, _ in () if here.whole else here.parts:
            if (target.root, name) not in taken and owner in (None, name.split(".")[1]):
                found = name
                taken.add((target.root, name))
                break
        chosen.append(found)
    return chosen
