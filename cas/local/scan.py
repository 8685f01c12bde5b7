"""What of a model is already on this machine, told by hashing it, or by the record of an earlier hashing."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cas import events
from cas.config import Limits
from cas.formats.digest import hex_of
from cas.formats.manifest import ChunkRef
from cas.local import verified
from cas.local.fs import is_file, open_for_reading, read_at
from cas.local.targets import PART_DIRECTORY, LocalFiles, Target
from cas.local.verified import FileStamp, VerifiedFiles
from cas.parallel import Pool, for_each


def scan(
    targets: Sequence[Target], limits: Limits, listen: events.Listener, *, rehash: bool = False
) -> list[LocalFiles]:
    """What is here of each target.

    rehash: read every file, whatever the record says. Unreadable files count as absent.
    """
    records = {root: VerifiedFiles(root) for root in {target.root for target in targets}}
    parts = {root: _part_names(root) for root in records}
    states = [_State(target, records[target.root], parts[target.root], rehash) for target in targets]
    looks: dict[Extent, list[_Look]] = {}
    for state in states:
        for look in state.unread():
            looks.setdefault(look.extent, []).append(look)

    def heard(extent: Extent, digest: str | None) -> None:
        for look in looks[extent]:
            if look.chunk.digest == digest:
                look.file.good.add(look.at)
        listen(events.Moved(extent.size, source="local"))

    if looks:
        listen(events.Phase("check", sum(extent.size for extent in looks)))
        hash_all(looks, max(extent.size for extent in looks), limits, heard)
    return [state.result() for state in states]


class Extent(NamedTuple):
    """Some bytes of a local file."""

    path: Path
    offset: int
    size: int


class _Look(NamedTuple):
    """One chunk of one file, to be hashed where it lies."""

    file: _File
    at: int
    extent: Extent
    chunk: ChunkRef


class _File:
    """A local file that may hold a target, whole or in part."""

    def __init__(self, target: Target, parts: tuple[str, ...]) -> None:
        self.target, self.parts = target, parts
        self.path = target.root.joinpath(*parts)
        self.good: set[int] = set()
        self.before = verified.stamp_of(self.path, target.content)

    @property
    def whole(self) -> bool:
        """Every chunk was good, there is nothing behind them, and nobody wrote meanwhile."""
        size_right = self.before is not None and self.before.size == self.target.size
        steady = verified.stamp_of(self.path, self.target.content) == self.before
        return size_right and steady and len(self.good) == len(self.target.chunks)

    def looks(self) -> Iterator[_Look]:
        size = self.before.size if self.before else 0
        for index, (offset, chunk) in enumerate(self.target.chunk_offsets()):
            if offset + chunk.size <= size:
                yield _Look(self, index, Extent(self.path, offset, chunk.size), chunk)


class _State:
    """The candidates for one target."""

    def __init__(self, target: Target, record: VerifiedFiles, parts: list[str], rehash: bool) -> None:
        self.target = target
        self.trusted: dict[tuple[str, ...], FileStamp] = {}
        self.files: list[_File] = []
        for place in _candidates(target):
            seen = None if rehash else record.valid_stamp(place, target.content)
            if seen:
                self.trusted[place] = seen
            else:
                self.files.append(_File(target, place))
        self.parts: list[_File] = []
        if not self.trusted:
            mine = [name for name in parts if name.startswith(target.content)]
            self.parts = [_File(target, (*PART_DIRECTORY, name)) for name in mine]

    def unread(self) -> Iterator[_Look]:
        for file in (*self.files, *self.parts):
            yield from file.looks()

    def result(self) -> LocalFiles:
        whole = self.trusted | {file.parts: file.before for file in self.files if file.before and file.whole}
        if whole:
            return LocalFiles(whole)
        parts = sorted(self.parts, key=lambda file: len(file.good), reverse=True)
        return LocalFiles(
            {},
            tuple((file.parts, frozenset(file.good)) for file in self.files if file.good),
            tuple((file.parts[-1], frozenset(file.good)) for file in parts),
        )


def _candidates(target: Target) -> Iterator[tuple[str, ...]]:
    """Files that may hold the target: its place, and snapshot files that are no links (a volume without symlinks)."""
    first = _lstat(target.path)
    if first is not None and not stat.S_ISDIR(first.st_mode):
        yield target.components
    for name in target.snapshot_paths:
        found = _lstat(target.root.joinpath(*name))
        if is_file(found) and not (first and found and os.path.samestat(first, found)):
            yield name


def hash_all(
    extents: Iterable[Extent], largest: int, limits: Limits, heard: Callable[[Extent, str | None], None]
) -> None:
    """Hashes bytes where they lie, several extents at once, beginning them in the order given.

    largest: bytes of the largest extent. heard: told the digest of each, in whatever thread; None where the file ends
    before, or cannot be read.
    """
    threads = max(1, min(limits.workers, limits.budget // max(1, largest)))
    buffers = Pool(bytearray, threads)

    def hash_one(extent: Extent) -> None:
        digest = None
        with contextlib.suppress(OSError), buffers.acquire() as buffer, open_for_reading(extent.path) as fd:
            if len(buffer) < extent.size:
                buffer.extend(bytes(extent.size - len(buffer)))
            with memoryview(buffer) as whole, whole[: extent.size] as view:
                if read_at(fd, view, extent.offset) == extent.size:
                    digest = hex_of(view)
        heard(extent, digest)

    for_each(hash_one, extents, threads=threads)


def _part_names(root: Path) -> list[str]:
    """Part files that may be gone on with; not what somebody linked there, which would be written to elsewhere."""
    folder = root.joinpath(*PART_DIRECTORY)
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".part"))
    except OSError:
        return []
    found = ((name, _lstat(folder / name)) for name in names)
    return [name for name, stats in found if stats and is_file(stats) and stats.st_nlink == 1]


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None
