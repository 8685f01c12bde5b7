"""What a restore will do, as a value: computed before any byte moves, printed by --dry-run, compared by tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from cas.formats.manifest import ChunkRef
from cas.local.targets import PART_DIRECTORY, ChunkLocation, LocalFiles, Target
from cas.local.verified import FileStamp


class Place(NamedTuple):
    """Where a chunk goes: an index into the plan's work, and an offset in that file."""

    work: int
    offset: int


class Fetch(NamedTuple):
    """A chunk to take from the store, once, and everywhere it goes."""

    chunk: ChunkRef
    places: tuple[Place, ...]


class Copy(NamedTuple):
    """A chunk to take from a local file, hashed on the way, once, and everywhere it goes."""

    chunk: ChunkRef
    source: ChunkLocation
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
    whole: tuple[Mapping[tuple[str, ...], FileStamp], ...]
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


def make_plan(
    wanted: Iterable[Target],
    local: Iterable[LocalFiles],
    owner: str | None = None,
    spots: Mapping[ChunkRef, ChunkLocation] = MappingProxyType({}),
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
    here_too: dict[ChunkRef, ChunkLocation] = {}
    disk: dict[Path, int] = {}
    for (target, here), name in zip(pairs, adopted, strict=True):
        if here.complete:
            continue
        good = dict(here.part_files).get(name, frozenset[int]()) if name else frozenset[int]()
        spare = (((*PART_DIRECTORY, part), held) for part, held in here.part_files if (target.root, part) not in taken)
        sources = (*here.partial, *spare)
        pending = 0
        for index, (offset, chunk) in enumerate(target.chunk_offsets()):
            if index in good:
                continue
            pending += 1
            places.setdefault(chunk, []).append(Place(len(works), offset))
            source = next((parts for parts, held in sources if index in held), None)
            if source is not None:
                here_too.setdefault(chunk, ChunkLocation(target.root.joinpath(*source), offset, target.root))
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
        whole=tuple(here.complete for _, here in pairs),
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


def _adopt(pairs: Iterable[tuple[Target, LocalFiles]], owner: str | None) -> list[str | None]:
    """The part file each target goes on with: one file serves one target, though several may have its content."""
    taken: set[tuple[Path, str]] = set()
    chosen: list[str | None] = []
    for target, here in pairs:
        found = None
        for name, _ in () if here.complete else here.part_files:
            if (target.root, name) not in taken and owner in (None, name.split(".")[1]):
                found = name
                taken.add((target.root, name))
                break
        chosen.append(found)
    return chosen
