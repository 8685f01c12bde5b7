"""Scan: find out which files and chunks of a version this machine has, by hashing or by an earlier hashing's record.

For each target, in this order:
    1. files with a valid stamp count as complete and are not read (unless the caller wants everything hashed);
    2. other files at the target's paths are hashed, chunk by chunk;
    3. part files of its content are hashed, too, if no file has a valid stamp: they save fetching what they hold.
Equal bytes are hashed once, whatever number of targets they may serve.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cas import events
from cas.formats.digest import hex_of
from cas.formats.manifest import ChunkRef
from cas.host import Limits
from cas.local import verified
from cas.local.fs import is_file, open_for_reading, read_at
from cas.local.targets import PART_DIRECTORY, LocalFiles, Target
from cas.local.verified import FileStamp, VerifiedFiles
from cas.parallel import Pool, for_each


def scan(
    targets: Sequence[Target], limits: Limits, listen: events.Listener, *, rehash: bool = False
) -> list[LocalFiles]:
    """Return the files on this machine that hold each target; a file that cannot be read counts as absent.

    Args:
        targets: what to look for.
        limits: bounds of memory and threads.
        listen: hears the phase `check` and how many bytes are hashed.
        rehash: read every file, even one with a valid stamp.
    """
    records = {root: VerifiedFiles(root) for root in {target.root for target in targets}}
    part_files = {root: _part_file_names(root) for root in records}
    scans = [_TargetScan(target, records[target.root], part_files[target.root], rehash) for target in targets]
    checks: dict[Extent, list[_Check]] = {}
    for target_scan in scans:
        for check in target_scan.checks():
            checks.setdefault(check.extent, []).append(check)

    def on_digest(extent: Extent, digest: str | None) -> None:
        for check in checks[extent]:
            if check.chunk.digest == digest:
                check.file.verified.add(check.chunk_index)
        listen(events.Moved(extent.size, source="local"))

    if checks:
        listen(events.Phase("check", sum(extent.size for extent in checks)))
        hash_extents(checks, max(extent.size for extent in checks), limits, on_digest)
    return [target_scan.result() for target_scan in scans]


class Extent(NamedTuple):
    """Consecutive bytes of a local file; `offset` and `size` are in bytes."""

    path: Path
    offset: int
    size: int


class _Check(NamedTuple):
    """A chunk of a target that a file may hold at an extent; `chunk_index` counts the chunks of the target."""

    file: _ScannedFile
    chunk_index: int
    extent: Extent
    chunk: ChunkRef


class _ScannedFile:
    """A local file that may hold a target, all of it or some; `verified` are the indexes of chunks found in it."""

    def __init__(self, target: Target, components: tuple[str, ...]) -> None:
        self.target, self.components = target, components
        self.path = target.root.joinpath(*components)
        self.verified: set[int] = set()
        self.stamp = verified.stamp_of(self.path, target.content)

    def is_complete(self) -> bool:
        """Return whether every chunk was verified, nothing follows the last, and nobody wrote to the file meanwhile."""
        has_size = self.stamp is not None and self.stamp.size == self.target.size
        is_unchanged = verified.stamp_of(self.path, self.target.content) == self.stamp
        return has_size and is_unchanged and len(self.verified) == len(self.target.chunks)

    def checks(self) -> Iterator[_Check]:
        size = self.stamp.size if self.stamp else 0
        for index, (offset, chunk) in enumerate(self.target.chunk_offsets()):
            if offset + chunk.size <= size:
                yield _Check(self, index, Extent(self.path, offset, chunk.size), chunk)


class _TargetScan:
    """The files that may hold one target: those with a valid stamp, and those to be hashed."""

    def __init__(self, target: Target, record: VerifiedFiles, part_files: list[str], rehash: bool) -> None:
        self._stamped: dict[tuple[str, ...], FileStamp] = {}
        self._files: list[_ScannedFile] = []
        for components in _existing_paths(target):
            stamp = None if rehash else record.valid_stamp(components, target.content)
            if stamp:
                self._stamped[components] = stamp
            else:
                self._files.append(_ScannedFile(target, components))
        self._part_files: list[_ScannedFile] = []
        if not self._stamped:
            names = [name for name in part_files if name.startswith(target.content)]
            self._part_files = [_ScannedFile(target, (*PART_DIRECTORY, name)) for name in names]

    def checks(self) -> Iterator[_Check]:
        for file in (*self._files, *self._part_files):
            yield from file.checks()

    def result(self) -> LocalFiles:
        complete = self._stamped | {
            file.components: file.stamp for file in self._files if file.stamp and file.is_complete()
        }
        if complete:
            return LocalFiles(complete)
        part_files = sorted(self._part_files, key=lambda file: len(file.verified), reverse=True)
        return LocalFiles(
            {},
            tuple((file.components, frozenset(file.verified)) for file in self._files if file.verified),
            tuple((file.components[-1], frozenset(file.verified)) for file in part_files),
        )


def _existing_paths(target: Target) -> Iterator[tuple[str, ...]]:
    """Yield the target's paths that exist, as components.

    Of its snapshot paths, only regular files that are not its blob: a volume without symlinks has such files.
    """
    blob = _lstat(target.path)
    if blob is not None and not stat.S_ISDIR(blob.st_mode):
        yield target.components
    for components in target.snapshot_paths:
        found = _lstat(target.root.joinpath(*components))
        if is_file(found) and not (blob and found and os.path.samestat(blob, found)):
            yield components


def hash_extents(
    extents: Iterable[Extent], largest: int, limits: Limits, on_digest: Callable[[Extent, str | None], None]
) -> None:
    """Hash bytes of local files, several extents at once; they are begun in the order given.

    Args:
        extents: what to hash.
        largest: bytes of the largest extent.
        limits: bounds of memory and threads.
        on_digest: called with each extent and its digest, in any thread; the digest is None when the file ends before
            the extent does, or cannot be read.
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
        on_digest(extent, digest)

    for_each(hash_one, extents, threads=threads)


def _part_file_names(root: Path) -> list[str]:
    """Return the names of part files below a root that a restore may resume.

    A symlink or hard link there is left out: writing to it would change a file elsewhere.
    """
    directory = root.joinpath(*PART_DIRECTORY)
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".part"))
    except OSError:
        return []
    found = ((name, _lstat(directory / name)) for name in names)
    return [name for name, stats in found if stats and is_file(stats) and stats.st_nlink == 1]


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None
