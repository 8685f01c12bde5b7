"""Seeds: directories on this machine that may already hold chunks that a restore lacks.

A search looks for missing chunks in this order, from cheap to dear, and ends when nothing is missing:
    1. files of the version itself that are complete: another file of the version may share their chunks;
    2. lists of chunks, which cost no reading: of files that an earlier restore recorded, and of blobs whose name is a
       wanted blob's. The directories of the wanted repos (with their older snapshots) are always searched. The
       cache's other repos are not, but the files that their records list count. Other directories (another cache, a
       volume) are searched when the user names them as seeds;
    3. files without such a list: they are cut where a publish would cut them, and pieces whose size is missing are
       hashed, likely files first, with a limit on what is read in vain.

The result only says where to look: every chunk is hashed again when it is copied. Seeds are read, never written
(decision 10).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cas import events
from cas.formats import chunking
from cas.formats.manifest import ChunkRef
from cas.host import MIB, Limits
from cas.local.fs import open_binary
from cas.local.scan import Extent, hash_extents
from cas.local.seed_files import Identity, SeedFile, SeedFiles, describe_unreadable
from cas.local.targets import PART_DIRECTORY, ChunkLocation, LocalFiles, Target

# A sample of a file, of this many bytes taken from all over it, is hashed first: of a likely file (one that looks like
# a version of what is wanted) and of an unlikely one. The rest of the file is hashed only if at least one byte in
# _MIN_YIELD of the sample was found to be missing.
_SAMPLE = 256 * MIB
_SAMPLE_UNLIKELY = 64 * MIB
_MIN_YIELD = 50

# Bytes of unlikely files that may be read in vain; half of what is missing, if that is more.
_MAX_IN_VAIN = 1024 * MIB

# Bytes of small files that are hashed together: a thread for each file would cost more than the hashing.
_GROUP_SIZE = 64 * MIB


def find_chunks(
    wanted: Sequence[Target],
    local: Sequence[LocalFiles],
    seeds: Iterable[Path],
    limits: Limits,
    listen: events.Listener,
) -> Mapping[ChunkRef, ChunkLocation]:
    """Return where on this machine chunks seem to lie that `local` lacks.

    Args:
        wanted: the targets of a version.
        local: the files that hold each target, as found by a scan.
        seeds: directories to search besides those of the wanted repos.
        limits: bounds of memory and threads.
        listen: hears the phase `search`, and a warning for each seed that cannot be read.
    """
    search = _Search(wanted, local, limits, listen)
    if search.missing:
        for target, files in zip(wanted, local, strict=True):
            for components in files.complete:
                search.locate_listed(target.root.joinpath(*components), target.root, target.chunks)
    if search.missing:
        search.search(list(dict.fromkeys(seeds)))
    return search.found


class _Search:
    """One search under way: the chunks still `missing`, and where others were `found`."""

    def __init__(
        self, wanted: Sequence[Target], local: Sequence[LocalFiles], limits: Limits, listen: events.Listener
    ) -> None:
        self.missing: set[ChunkRef] = set()
        self.found: dict[ChunkRef, ChunkLocation] = {}
        self._limits, self._listen = limits, listen
        self._guard = threading.Lock()
        self._announced = False
        self._errors: dict[Path, OSError] = {}
        self._targets: list[Target] = []
        self._complete: set[Identity] = set()
        for target, files in zip(wanted, local, strict=True):
            self._complete.update(_identities(target.root.joinpath(*components) for components in files.complete))
            if not files.complete:
                self._targets.append(target)
                verified: set[int] = set().union(*(indexes for _, indexes in (*files.partial, *files.part_files)))
                self.missing.update(chunk for at, chunk in enumerate(target.chunks) if at not in verified)
        self._missing_sizes = Counter(chunk.size for chunk in self.missing)
        self._by_blob = {target.components[-1]: target for target in self._targets if target.repo}
        self._by_name = {
            components[-1]: target
            for target in self._targets
            for components in (target.components, *target.snapshot_paths)
        }
        self._by_size: dict[int, list[Target]] = {}
        for target in self._targets:
            self._by_size.setdefault(target.size, []).append(target)

    def locate_listed(self, path: Path, seed: Path, chunks: Iterable[ChunkRef]) -> None:
        """Record where chunks should be according to an unverified list; each is hashed when it is copied."""
        offset = 0
        for chunk in chunks:
            self._locate(chunk, ChunkLocation(path, offset, seed))
            offset += chunk.size

    def search(self, seeds: Sequence[Path]) -> None:
        """Search the directories of the wanted repos, and then `seeds`, until nothing is missing."""
        files = self._list_files(seeds)
        for file in files:
            same_blob = (self._by_blob[name] for name in file.names & self._by_blob.keys())
            file.chunks = file.chunks or next((blob.chunks for blob in same_blob if blob.size == file.size), ())
            self.locate_listed(file.path, file.seed, file.chunks)
        self._hash_files([file for file in files if not file.chunks])
        for seed in seeds:
            if error := self._errors.get(seed):
                self._listen(events.Warned(f"seed {seed}: {describe_unreadable(error)}"))

    def _list_files(self, seeds: Sequence[Path]) -> list[SeedFile]:
        """Return all seed files, the most likely first."""
        repos = {target.root: target.repo.name for target in self._targets if target.repo}
        files = SeedFiles(
            smallest=min(self._missing_sizes, default=0),
            repos=set(repos.values()),
            skip=self._complete | set(_identities(target.path for target in self._targets if target.repo)),
            skip_part_files={target.content for target in self._targets},
        )
        for root in repos:
            files.add(root, related=True)
        for root in {target.root for target in self._targets} - repos.keys():
            # HF_HOME: only the directories of the wanted files, not all that lies below it.
            beside = {target.path.parent for target in self._targets if target.root == root}
            # A user's folder may hold many other models: they count as related only if their names or sizes say so.
            is_home = not any(target.in_folder for target in self._targets if target.root == root)
            files.add(root, *sorted(beside), root.joinpath(*PART_DIRECTORY), deep=False, related=is_home)
            files.add_recorded(root, root, related=True)
        for hub in {target.repo.hub for target in self._targets if target.repo}:
            for directory in sorted(hub.glob("*s--*")):
                files.add_recorded(directory, directory, related=False)
        for seed in seeds:
            if trouble := files.add(seed):
                self._listen(events.Warned(f"seed {seed}: {trouble}"))
        return sorted(files.files(), key=self._likelihood)

    def _likelihood(self, file: SeedFile) -> tuple[object, ...]:
        """The sort key of a seed file: its signs (a target's name, a target's size), then the nearer seed and size."""
        named = next((self._by_name[name] for name in sorted(file.names & self._by_name.keys())), None)
        nearest = named.size if named else min(self._by_size, key=lambda size: abs(size - file.size))
        signs = (named is not None) + (file.size in self._by_size)
        return (-signs, not file.related, file.order, abs(nearest - file.size), str(file.path))

    def _is_likely(self, file: SeedFile) -> bool:
        return file.related or file.size in self._by_size or bool(file.names & self._by_name.keys())

    def _locate(self, chunk: ChunkRef, location: ChunkLocation) -> bool:
        """Record where a chunk lies; return False when it is not missing (any more)."""
        with self._guard:
            if chunk not in self.missing:
                return False
            self.missing.remove(chunk)
            self._missing_sizes[chunk.size] -= 1
            self.found[chunk] = location
            return True

    def _hash_files(self, files: Iterable[SeedFile]) -> None:
        """Hash pieces of files that may be missing chunks: a sample of each file first, the rest if that was of use."""
        allowed = max(_MAX_IN_VAIN, sum(chunk.size for chunk in self.missing) // 2)
        for group in _groups(files):
            samples: dict[SeedFile, list[Extent]] = {}
            for file in group:
                is_likely = self._is_likely(file)
                if is_likely or allowed > 0:
                    limit = _SAMPLE if is_likely else _SAMPLE_UNLIKELY
                    extents, read = self._extents(file, limit)
                    samples[file] = _sample(extents, limit)
                    allowed -= 0 if is_likely else max(read, _size(samples[file]))
            found = self._hash_extents(samples)
            useful = [file for file in samples if found[file] * _MIN_YIELD >= _size(samples[file]) > 0]
            self._hash_extents({file: self._rest(file, samples[file]) for file in useful})
            allowed += sum(_size(samples[file]) for file in useful if not self._is_likely(file))
            if not self.missing:
                return

    def _extents(self, file: SeedFile, limit: int) -> tuple[list[Extent], int]:
        """Return where missing chunks may lie: where a publish would cut, and where a target of this size is cut.

        Args:
            file: the file.
            limit: bytes; a file that is cut by its content is read and cut up to here, and no further.

        Returns:
            The extents whose size is missing, and how many bytes were read to find them.
        """
        cuts = {
            (offset, chunk.size)
            for target in self._by_size.get(file.size, ())
            for offset, chunk in target.chunk_offsets()
        }
        read = 0
        try:
            with open_binary(file.path) as opened:
                cutter = chunking.Cutter(opened, file.size)
                # Versions of before content-defined cuts are cut every 8 MiB, and can be wanted still.
                cuts.update((span.offset, span.size) for span in cutter.spans(None))
                if cutter.by_content:
                    read = min(limit, file.size)
                    spans = itertools.takewhile(lambda span: span.offset < limit, cutter.spans(opened))
                    cuts.update((span.offset, span.size) for span in spans)
        except OSError as error:
            self._errors.setdefault(file.seed, error)
            return [], read
        return [Extent(file.path, offset, size) for offset, size in sorted(cuts) if self._missing_sizes[size] > 0], read

    def _rest(self, file: SeedFile, sample: Iterable[Extent]) -> list[Extent]:
        """Return the extents of a file that its sample left out."""
        sampled = set(sample)
        return [extent for extent in self._extents(file, file.size)[0] if extent not in sampled]

    def _hash_extents(self, wanted: Mapping[SeedFile, Sequence[Extent]]) -> Counter[SeedFile]:
        """Hash the extents whose size is still missing; return how many bytes of each file were missing chunks."""
        files = {file.path: file for file in wanted}
        extents = [extent for of_file in wanted.values() for extent in of_file]
        found: Counter[SeedFile] = Counter()

        def on_digest(extent: Extent, digest: str | None) -> None:
            file = files[extent.path]
            location = ChunkLocation(extent.path, extent.offset, file.seed)
            if digest is not None and self._locate(ChunkRef(digest, extent.size), location):
                with self._guard:
                    found[file] += extent.size

        if extents:
            self._announce()
            promising = (extent for extent in extents if self._missing_sizes[extent.size] > 0)
            hash_extents(promising, max(extent.size for extent in extents), self._limits, on_digest)
        return found

    def _announce(self) -> None:
        """Tell the listener once that seeds are being read."""
        if not self._announced:
            self._announced = True
            self._listen(events.Phase("search"))


def _groups(files: Iterable[SeedFile]) -> Iterator[list[SeedFile]]:
    """Yield large files one by one, small files several at a time."""
    group: list[SeedFile] = []
    size = 0
    for file in files:
        if group and size + file.size > _GROUP_SIZE:
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    if group:
        yield group


def _size(extents: Iterable[Extent]) -> int:
    return sum(extent.size for extent in extents)


def _sample(extents: Sequence[Extent], limit: int) -> list[Extent]:
    """Return a sample of extents from all over the file, in the file's order, of `limit` bytes or just above."""
    size = _size(extents)
    if size <= limit:
        return list(extents)
    sample: list[Extent] = []
    passed = taken = 0
    for extent in extents:
        if taken * size <= passed * limit:
            sample.append(extent)
            taken += extent.size
        passed += extent.size
    return sample


def _identities(paths: Iterable[Path]) -> Iterator[Identity]:
    for path in paths:
        with contextlib.suppress(OSError):
            stats = os.stat(path)
            yield stats.st_dev, stats.st_ino
