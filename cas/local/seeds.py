"""Seeds: folders on this machine that may already hold what a restore lacks.

Those of the wanted repos, with their older snapshots, are looked through always; others (another cache, a volume) when
they are named. Of the cache's other repos only what their records tell is used. Nothing found here is believed: a
record, a name or a hash only says where to look, and whatever is copied is hashed again on the way. Seeds are read,
never written.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cas import events
from cas.config import MIB, Limits
from cas.formats import chunking
from cas.formats.manifest import ChunkRef
from cas.local.scan import Extent, hash_all
from cas.local.seed_files import Candidate, Candidates, Identity, unreadable
from cas.local.targets import PART_DIRECTORY, ChunkLocation, LocalFiles, Target

# This much of a file, taken from all over it, is tried first: of one that looks like a version of what is wanted, and
# of one that looks like nothing in particular. It is given up when less than one byte in fifty was of use.
_PROBE = 256 * MIB
_PROBE_UNLIKELY = 64 * MIB
_WORTH = 50

# Bytes of unlikely files that may be read in vain, if that is more than half of what is missing.
_VAIN = 1024 * MIB

# Small files are hashed together: a thread for each is more work than they are.
_TOGETHER = 64 * MIB


def find_chunks(
    wanted: Sequence[Target],
    local: Sequence[LocalFiles],
    seeds: Iterable[Path],
    limits: Limits,
    listen: events.Listener,
) -> Mapping[ChunkRef, ChunkLocation]:
    """Where on this machine chunks seem to lie that `local` lacks.

    wanted, local: as for plan.make_plan. seeds: folders to look through besides those of the wanted repos. A seed that
    cannot be read is told as a warning.
    """
    search = _Search(wanted, local, limits, listen)
    if search.missing:
        for target, here in zip(wanted, local, strict=True):
            for parts in here.complete:
                search.believe(target.root.joinpath(*parts), target.root, target.chunks)
    if search.missing:
        search.look_through(list(dict.fromkeys(seeds)))
    return search.found


class _Search:
    def __init__(
        self, wanted: Sequence[Target], local: Sequence[LocalFiles], limits: Limits, listen: events.Listener
    ) -> None:
        self.missing: set[ChunkRef] = set()
        self.found: dict[ChunkRef, ChunkLocation] = {}
        self._limits, self._listen = limits, listen
        self._guard = threading.Lock()
        self._told = False
        self._refused: dict[Path, OSError] = {}
        self._targets: list[Target] = []
        self._known: set[Identity] = set()
        for target, here in zip(wanted, local, strict=True):
            self._known.update(_identities(target.root.joinpath(*parts) for parts in here.complete))
            if not here.complete:
                self._targets.append(target)
                held: set[int] = set().union(*(good for _, good in (*here.partial, *here.part_files)))
                self.missing.update(chunk for at, chunk in enumerate(target.chunks) if at not in held)
        self._sizes = Counter(chunk.size for chunk in self.missing)
        self._blobs = {target.components[-1]: target for target in self._targets if target.repo}
        self._names = {
            path[-1]: target for target in self._targets for path in (target.components, *target.snapshot_paths)
        }
        self._same_size: dict[int, list[Target]] = {}
        for target in self._targets:
            self._same_size.setdefault(target.size, []).append(target)

    def believe(self, path: Path, seed: Path, chunks: Iterable[ChunkRef]) -> None:
        """Takes somebody's word for the chunks a file consists of."""
        offset = 0
        for chunk in chunks:
            self._hit(chunk, ChunkLocation(path, offset, seed))
            offset += chunk.size

    def look_through(self, given: Sequence[Path]) -> None:
        """Looks through the folders of the wanted repos and then `given`, until nothing is missing."""
        repos = {target.root: target.repo.name for target in self._targets if target.repo}
        files = Candidates(
            smallest=min(self._sizes, default=0),
            repos=set(repos.values()),
            skip=self._known | set(_identities(target.path for target in self._targets if target.repo)),
            skip_parts={target.content for target in self._targets},
        )
        for root in repos:
            files.add(root, related=True)
        for root in {target.root for target in self._targets} - repos.keys():
            # HF_HOME: files beside the wanted ones, not all that lies below it.
            beside = {target.path.parent for target in self._targets if target.root == root}
            files.add(root, *sorted(beside), root.joinpath(*PART_DIRECTORY), deep=False, related=True)
            files.hear(root, root, related=True)
        for hub in {target.repo.hub for target in self._targets if target.repo}:
            for folder in sorted(hub.glob("*s--*")):
                files.hear(folder, folder, related=False)
        for seed in given:
            if trouble := files.add(seed):
                self._listen(events.Warned(f"seed {seed}: {trouble}"))
        ordered = sorted(files.files(), key=self._likelihood)
        for file in ordered:
            twins = (self._blobs[name] for name in file.names & self._blobs.keys())
            file.chunks = file.chunks or next((twin.chunks for twin in twins if twin.size == file.size), ())
            self.believe(file.path, file.seed, file.chunks)
        self._hash([file for file in ordered if not file.chunks])
        for seed in given:
            if error := self._refused.get(seed):
                self._listen(events.Warned(f"seed {seed}: {unreadable(error)}"))

    def _likelihood(self, file: Candidate) -> tuple[object, ...]:
        """For sorting: what has the name or the size of a target first, then the nearer seed, then the closer size."""
        named = next((self._names[name] for name in sorted(file.names & self._names.keys())), None)
        nearest = named.size if named else min(self._same_size, key=lambda size: abs(size - file.size))
        signs = (named is not None) + (file.size in self._same_size)
        return (-signs, not file.related, file.order, abs(nearest - file.size), str(file.path))

    def _likely(self, file: Candidate) -> bool:
        return file.related or file.size in self._same_size or bool(file.names & self._names.keys())

    def _hit(self, chunk: ChunkRef, spot: ChunkLocation) -> bool:
        with self._guard:
            if chunk not in self.missing:
                return False
            self.missing.remove(chunk)
            self._sizes[chunk.size] -= 1
            self.found[chunk] = spot
            return True

    def _hash(self, files: Iterable[Candidate]) -> None:
        """Cuts files where a publish would, and hashes what may match; no more of a file than it promises."""
        allowed = max(_VAIN, sum(chunk.size for chunk in self.missing) // 2)
        for group in _groups(files):
            probes: dict[Candidate, list[Extent]] = {}
            rests: dict[Candidate, list[Extent]] = {}
            for file in group:
                likely = self._likely(file)
                if likely or allowed > 0:
                    probes[file], rests[file] = _spread(self._extents(file), _PROBE if likely else _PROBE_UNLIKELY)
                    allowed -= 0 if likely else _size(probes[file])
            found = self._hash_extents(probes)
            good = [file for file in probes if found[file] * _WORTH >= _size(probes[file]) > 0]
            self._hash_extents({file: rests[file] for file in good})
            allowed += sum(_size(probes[file]) for file in good if not self._likely(file))
            if not self.missing:
                return

    def _extents(self, file: Candidate) -> list[Extent]:
        """Where missing chunks may lie: where a publish would cut, and where a target of this size is cut."""
        cuts = {
            (at, chunk.size) for target in self._same_size.get(file.size, ()) for at, chunk in target.chunk_offsets()
        }
        try:
            with file.path.open("rb") as opened:
                cuts.update((span.offset, span.size) for span in chunking.spans(opened, file.size))
        except OSError as error:
            self._refused.setdefault(file.seed, error)
            return []
        return [Extent(file.path, offset, size) for offset, size in sorted(cuts) if self._sizes[size] > 0]

    def _hash_extents(self, wanted: Mapping[Candidate, Sequence[Extent]]) -> Counter[Candidate]:
        """Hashes these extents as long as they may match; the bytes that did."""
        files = {file.path: file for file in wanted}
        extents = [extent for held in wanted.values() for extent in held]
        found: Counter[Candidate] = Counter()

        def heard(extent: Extent, digest: str | None) -> None:
            file = files[extent.path]
            spot = ChunkLocation(extent.path, extent.offset, file.seed)
            if digest is not None and self._hit(ChunkRef(digest, extent.size), spot):
                with self._guard:
                    found[file] += extent.size

        if extents:
            self._tell()
            promising = (extent for extent in extents if self._sizes[extent.size] > 0)
            hash_all(promising, max(extent.size for extent in extents), self._limits, heard)
        return found

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._listen(events.Phase("search"))


def _groups(files: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    """Large files one by one, small ones some at a time."""
    group: list[Candidate] = []
    size = 0
    for file in files:
        if group and size + file.size > _TOGETHER:
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    if group:
        yield group


def _size(extents: Iterable[Extent]) -> int:
    return sum(extent.size for extent in extents)


def _spread(extents: Sequence[Extent], limit: int) -> tuple[list[Extent], list[Extent]]:
    """Some extents from all over a file, of `limit` bytes or just above, and the others; both in the file's order."""
    size = _size(extents)
    if size <= limit:
        return list(extents), []
    probe: list[Extent] = []
    rest: list[Extent] = []
    passed = taken = 0
    for extent in extents:
        due = taken * size <= passed * limit
        (probe if due else rest).append(extent)
        passed += extent.size
        taken += extent.size if due else 0
    return probe, rest


def _identities(paths: Iterable[Path]) -> Iterator[Identity]:
    for path in paths:
        with contextlib.suppress(OSError):
            found = os.stat(path)
            yield found.st_dev, found.st_ino
