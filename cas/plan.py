"""What a restore will do, as a value: computed before any byte moves, printed by --dry-run, compared by tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
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


class Spot(NamedTuple):
    """Where a chunk lies in a local file. seed: the folder in which the file was found."""

    path: Path
    offset: int
    seed: Path


class Copy(NamedTuple):
    """A chunk to take from a local file, hashed on the way, once, and everywhere it goes."""

    chunk: ChunkRef
    source: Spot
    places: tuple[Place, ...]


class Work(NamedTuple):
    """A target to be written.

    part: a part file's name to go on with. base: a local file that holds `shared` bytes of the target where they
    belong: where the file system can, its part file begins as a clone of it.
    """

    target: Target
    part: str | None
    pending: int
    base: Path | None = None
    shared: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """All a restore will write.

    total: plain bytes of the model. disk: bytes of new room needed, by root, where nothing can be cloned. whole: per
    target, the verified files.
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

    @property
    def reused(self) -> dict[Path, int]:
        """Plain bytes taken from local files, by the folder they were found in."""
        found: dict[Path, int] = {}
        for copy in self.copies:
            found[copy.source.seed] = found.get(copy.source.seed, 0) + copy.chunk.size
        return found


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


def make_plan(
    wanted: Iterable[Target],
    local: Iterable[Local],
    owner: str | None = None,
    spots: Mapping[ChunkRef, Spot] = MappingProxyType({}),
) -> Plan:
    """The plan for `wanted`, given what is here of each.

    owner: go on with part files of this owner only, and copy from others'; None goes on with anybody's. spots: where
    else on this machine chunks may lie.
    """
    pairs = list(zip(wanted, local, strict=True))
    adopted = _adopt(pairs, owner)
    taken = {(target.root, name) for (target, _), name in zip(pairs, adopted, strict=True)}
    works: list[Work] = []
    places: dict[ChunkRef, list[Place]] = {}
    here_too: dict[ChunkRef, Spot] = {}
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
            places.setdefault(chunk, []).append(Place(len(works), offset))
            source = next((parts for parts, held in sources if index in held), None)
            if source is not None:
                here_too.setdefault(chunk, Spot(target.root.joinpath(*source), offset, target.root))
            disk[target.root] = disk.get(target.root, 0) + chunk.size
        works.append(Work(target, name, pending))
    copies = []
    fetches = []
    for chunk, where in places.items():
        spot = here_too.get(chunk) or spots.get(chunk)
        if spot:
            copies.append(Copy(chunk, spot, tuple(where)))
        else:
            fetches.append(Fetch(chunk, tuple(where)))
    return Plan(
        targets=tuple(target for target, _ in pairs),
        whole=tuple(here.whole for _, here in pairs),
        works=tuple(_with_bases(works, copies)),
        fetches=tuple(fetches),
        copies=tuple(copies),
        disk=disk,
    )


def _with_bases(works: Sequence[Work], copies: Iterable[Copy]) -> Iterator[Work]:
    """The works, each with the local file that holds most of it at the right place, if that is half of it or more."""
    held: list[dict[Path, int]] = [{} for _ in works]
    for copy in copies:
        for place in copy.places:
            if place.offset == copy.source.offset:
                here = held[place.work]
                here[copy.source.path] = here.get(copy.source.path, 0) + copy.chunk.size
    for work, sources in zip(works, held, strict=True):
        base = max(sources, key=lambda path: sources[path], default=None)
        if base and not work.part and 2 * sources[base] >= work.target.size:
            yield work._replace(base=base, shared=sources[base])
        else:
            yield work


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
