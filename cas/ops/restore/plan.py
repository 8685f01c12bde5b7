"""What a restore will do, as a value: computed before any byte moves, printed by --dry-run, compared by tests.

Nothing here touches a disk or a store: a scan and a search for seeds say what is where, and the plan follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from cas.formats.manifest import ChunkRef
from cas.local.targets import PART_DIRECTORY, ChunkLocation, LocalFiles, Target
from cas.local.verified import FileStamp


class Destination(NamedTuple):
    """Where a chunk is written.

    Attributes:
        file: index into the plan's pending files.
        offset: where in that file the chunk begins, in bytes.
    """

    file: int
    offset: int


class Fetch(NamedTuple):
    """A chunk to fetch from the store, once, and to write to every destination."""

    chunk: ChunkRef
    destinations: tuple[Destination, ...]


class Copy(NamedTuple):
    """A chunk to read from a local file, once, to hash, and to write to every destination."""

    chunk: ChunkRef
    source: ChunkLocation
    destinations: tuple[Destination, ...]


class PendingFile(NamedTuple):
    """A target whose file must be written.

    Attributes:
        target: what is to be written.
        part_file: name of a part file to resume, None to begin a new one.
        missing: how many chunks are to be written.
        base: a local file that holds some of the target's bytes at the same offsets; None when no file holds half of
            them. Where the file system can, the part file begins as a clone of it.
        shared: how many bytes of the target `base` holds at the same offsets.
    """

    target: Target
    part_file: str | None
    missing: int
    base: Path | None = None
    shared: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a restore will write.

    Attributes:
        targets: all targets of the version.
        complete: for each target, the verified files that hold all of it.
        pending_files: the targets that no such file holds.
        fetches: chunks to fetch from the store.
        copies: chunks to copy from local files.
        needed_space: bytes of free space that the restore needs below each root, if nothing can be cloned.
    """

    targets: tuple[Target, ...]
    complete: tuple[Mapping[tuple[str, ...], FileStamp], ...]
    pending_files: tuple[PendingFile, ...]
    fetches: tuple[Fetch, ...]
    copies: tuple[Copy, ...]
    needed_space: Mapping[Path, int]

    @property
    def total(self) -> int:
        """Plain bytes of all targets."""
        return sum(target.size for target in self.targets)

    @property
    def fetch_bytes(self) -> int:
        """Plain bytes of the chunks to fetch from the store."""
        return sum(fetch.chunk.size for fetch in self.fetches)

    @property
    def reused(self) -> dict[Path, int]:
        """Plain bytes to copy from local files, by the seed in which each file was found."""
        sizes: dict[Path, int] = {}
        for copy in self.copies:
            sizes[copy.source.seed] = sizes.get(copy.source.seed, 0) + copy.chunk.size
        return sizes


def make_plan(
    wanted: Iterable[Target],
    local: Iterable[LocalFiles],
    owner: str | None = None,
    locations: Mapping[ChunkRef, ChunkLocation] = MappingProxyType({}),
) -> Plan:
    """Return the plan for the targets of a version.

    Each chunk that is not in its file yet comes from the first of these that has it: a local file of its own target, a
    location that `locations` names, the store.

    Args:
        wanted: the targets.
        local: the files that hold each target, as found by a scan.
        owner: the process that restores. Part files of this owner are resumed; from part files of other owners, which
            may be at work, chunks are copied. None resumes every part file.
        locations: where else on this machine chunks may lie.
    """
    pairs = list(zip(wanted, local, strict=True))
    resumed = _choose_part_files(pairs, owner)
    taken = {(target.root, name) for (target, _), name in zip(pairs, resumed, strict=True)}
    pending_files: list[PendingFile] = []
    destinations: dict[ChunkRef, list[Destination]] = {}
    in_own_files: dict[ChunkRef, ChunkLocation] = {}
    needed_space: dict[Path, int] = {}
    for (target, files), name in zip(pairs, resumed, strict=True):
        if files.complete:
            continue
        written = dict(files.part_files).get(name, frozenset[int]()) if name else frozenset[int]()
        spare = (
            ((*PART_DIRECTORY, part_file), indexes)
            for part_file, indexes in files.part_files
            if (target.root, part_file) not in taken
        )
        sources = (*files.partial, *spare)
        missing = 0
        for index, (offset, chunk) in enumerate(target.chunk_offsets()):
            if index in written:
                continue
            missing += 1
            destinations.setdefault(chunk, []).append(Destination(len(pending_files), offset))
            source = next((components for components, indexes in sources if index in indexes), None)
            if source is not None:
                in_own_files.setdefault(chunk, ChunkLocation(target.root.joinpath(*source), offset, target.root))
            needed_space[target.root] = needed_space.get(target.root, 0) + chunk.size
        pending_files.append(PendingFile(target, name, missing))
    copies = []
    fetches = []
    # The chunks of the smallest file first: a file can be used as soon as it is complete, and most files are small.
    in_order = sorted(destinations.items(), key=lambda item: min(pending_files[at.file].target.size for at in item[1]))
    for chunk, of_chunk in in_order:
        location = in_own_files.get(chunk) or locations.get(chunk)
        if location:
            copies.append(Copy(chunk, location, tuple(of_chunk)))
        else:
            fetches.append(Fetch(chunk, tuple(of_chunk)))
    return Plan(
        targets=tuple(target for target, _ in pairs),
        complete=tuple(files.complete for _, files in pairs),
        pending_files=tuple(_with_bases(pending_files, copies)),
        fetches=tuple(fetches),
        copies=tuple(copies),
        needed_space=needed_space,
    )


def _with_bases(pending_files: Sequence[PendingFile], copies: Iterable[Copy]) -> Iterator[PendingFile]:
    """Yield each file with its base.

    The base is the local file that holds the most bytes of it at the same offsets, provided that this is half or more.
    """
    shared: list[dict[Path, int]] = [{} for _ in pending_files]
    for copy in copies:
        for destination in copy.destinations:
            if destination.offset == copy.source.offset:
                by_path = shared[destination.file]
                by_path[copy.source.path] = by_path.get(copy.source.path, 0) + copy.chunk.size
    for pending, by_path in zip(pending_files, shared, strict=True):
        base = max(by_path, key=lambda path: by_path[path], default=None)
        if base and not pending.part_file and 2 * by_path[base] >= pending.target.size:
            yield pending._replace(base=base, shared=by_path[base])
        else:
            yield pending


def part_file_name(content: str, owner: str, token: str) -> str:
    """Return a part file's name.

    Args:
        content: 64 hex, what the file will hold.
        owner: the restore that fills it.
        token: distinguishes the part files of one owner.
    """
    return f"{content}.{owner}.{token}.part"


def _choose_part_files(pairs: Iterable[tuple[Target, LocalFiles]], owner: str | None) -> list[str | None]:
    """Return the part file that each target resumes.

    A part file serves one target, even if several targets have its content.
    """
    taken: set[tuple[Path, str]] = set()
    chosen: list[str | None] = []
    for target, files in pairs:
        choice = None
        for name, _ in () if files.complete else files.part_files:
            if (target.root, name) not in taken and owner in (None, name.split(".")[1]):
                choice = name
                taken.add((target.root, name))
                break
        chosen.append(choice)
    return chosen
