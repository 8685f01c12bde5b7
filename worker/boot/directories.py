"""Where a worker keeps its model: the first directory that passes real checks, or the one that holds it already."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cas.config import CacheDirs, read
from cas.errors import CacheError, CasError
from cas.formats.manifest import Manifest
from cas.local import fs
from cas.local.directory import Directory, LinksUnsupported
from cas.parallel import BackgroundCall
from worker.boot.environment import hub_of
from worker.boot.ownership import others_problem

# Seconds. On a volume whose server is gone a system call waits for ever.
_ANSWERS_WITHIN = 10.0
_STAYS_FREE = 10.0  # percent of the file system of `/`, as in the SDK's rp_system_fitness.py
_PROBE = bytes(range(256)) * 256  # not zeros, which is what a volume that lost it would give back

OWN = ".cas-worker"
"""Folder of a cache directory for the worker's own files."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the checks of one directory found.

    Attributes:
        path: the directory.
        problem: why it cannot be used; empty when it can.
        note: what it lacks, though it can be used; empty when it lacks nothing.
    """

    path: Path
    problem: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class RankedDirectory:
    """A cache directory to restore into.

    Attributes:
        path: the directory.
        reason: why it comes where it does in the order of trying.
    """

    path: Path
    reason: str


def examine(paths: Iterable[Path], within: float = _ANSWERS_WITHIN) -> list[Finding]:
    """Write, sync and link a file in each directory, all at once, and measure the free space.

    A directory that another user of this machine can write to is not used, whatever it holds.

    Args:
        paths: the directories; those that do not exist are made.
        within: seconds for all of them together; a directory that takes longer cannot be used.
    """
    deadline = time.monotonic() + within
    looks = [(path, BackgroundCall(lambda path=path: _examine(path))) for path in paths]  # type: ignore[misc]
    found = []
    for path, look in looks:
        if look.ends_within(max(0.0, deadline - time.monotonic())):
            found.append(look.result())
        else:
            found.append(Finding(path, f"it did not answer in {within:g} s"))
    return found


class Space(NamedTuple):
    """The free space of a file system.

    Attributes:
        free: bytes that this user may write.
        kept: bytes of them that must stay free.
    """

    free: int
    kept: int = 0

    @property
    def usable(self) -> int:
        """How many bytes may be written."""
        return max(0, self.free - self.kept)

    def problem(self, needed: int) -> str:
        """Say why so many bytes do not fit; empty if they do."""
        if needed <= self.usable:
            return ""
        from cas.cli.display.output import size  # rarely needed, and no start should wait for it

        has = f"needs {size(needed)}, has {size(self.free)}"
        if not self.kept:
            return has
        return (
            f"{has} less {size(self.kept)} kept free: RunPod wants {_percent():g} % of / free "
            "(RUNPOD_MIN_DISK_PERCENT), give the container a larger disk"
        )


def free_space(path: Path, root: Path = Path("/")) -> Space:
    """Return the space of the file system that `path` is on.

    Args:
        path: a directory, which need not exist.
        root: on the file system of this directory a share stays free: with less than RUNPOD_MIN_DISK_PERCENT of it,
            10 by default, the SDK's fitness checks take a worker for unfit.
    """
    existing = fs.nearest_existing(path)
    free = fs.free_bytes(existing)
    if existing.stat().st_dev != root.stat().st_dev:
        return Space(free)
    whole = os.statvfs(root)
    return Space(free, int(whole.f_blocks * whole.f_frsize * _percent() / 100))


def _percent() -> float:
    """RUNPOD_MIN_DISK_PERCENT; the SDK itself ends a worker where that is no number."""
    try:
        return min(max(float(read("RUNPOD_MIN_DISK_PERCENT")), 0.0), 100.0)
    except ValueError:
        return _STAYS_FREE


def rank(
    paths: Sequence[Path], manifest: Manifest, root: Path = Path("/")
) -> tuple[list[RankedDirectory], list[Finding]]:
    """Return the directories in the order in which to try a restore, and those that a version does not fit into.

    A directory that has the whole version, verified, comes first; the others keep their order.

    Args:
        paths: directories that passed the checks.
        manifest: the version.
        root: as for `free_space`.
    """
    whole, others, small = [], [], []
    for path in paths:
        try:
            wanted = missing(manifest, path)
            if not wanted:
                whole.append(RankedDirectory(path, "it holds this version, verified"))
                continue
            problem = free_space(path, root).problem(wanted)
        except (CasError, OSError) as error:
            small.append(Finding(path, str(error)))
            continue
        if problem:
            small.append(Finding(path, problem))
        else:
            others.append(path)
    why = "first of CAS_CACHE_DIRS that passes the checks" if not whole else "next of CAS_CACHE_DIRS"
    ranked = [
        *whole,
        *(RankedDirectory(path, "next of CAS_CACHE_DIRS" if at else why) for at, path in enumerate(others)),
    ]
    return ranked, small


def missing(manifest: Manifest, directory: Path) -> int:
    """Return how many bytes of a version are still to be written into `directory`; 0 when it has all of it, verified.

    The record of verified files decides which files are there. What part files take up is subtracted.
    """
    from cas.local.targets import PART_DIRECTORY, targets_of
    from cas.local.verified import VerifiedFiles

    targets = targets_of(manifest, CacheDirs(hub_of(directory), directory))
    records = {target.root: VerifiedFiles(target.root) for target in targets}
    unwritten = sum(
        max(target.size, 1)  # an empty file is to be written, too
        for target in targets
        if not any(
            records[target.root].valid_stamp(components, target.content)
            for components in (target.components, *target.snapshot_paths)
        )
    )
    begun = sum(_allocated(root.joinpath(*PART_DIRECTORY)) for root in records)
    return max(1, unwritten - begun) if unwritten else 0


def _allocated(part_files: Path) -> int:
    try:
        return sum(path.stat().st_blocks * 512 for path in part_files.iterdir())
    except OSError:
        return 0


def _examine(path: Path) -> Finding:
    try:
        if problem := others_problem(path):
            return Finding(path, problem)
        path.mkdir(parents=True, exist_ok=True)
        if problem := others_problem(path):  # another user may have been faster than this mkdir
            return Finding(path, problem)
        with Directory.open(path, (OWN,)) as scratch, scratch.temporary_name() as name:
            with fs.disk_errors(path), scratch.file(name, os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd:
                fs.write_all(fd, _PROBE)
                durable = _sync(path, fd)
                back = bytearray(len(_PROBE))
                if fs.read_at(fd, memoryview(back), 0) != len(_PROBE) or back != _PROBE:
                    return Finding(path, "what was written there cannot be read back")
            notes = [] if durable else ["no fsync: a power cut may lose files"]
            notes += [] if _has_symlinks(scratch, name) else ["no symlinks: files take their place"]
        # Still usable, as it may hold the whole model already: `rank` knows what is to be written, and whether it fits.
        notes += [] if free_space(path).usable else ["no room: only what it holds already can run from it"]
        return Finding(path, note=", ".join(notes))
    except CasError as error:
        return Finding(path, str(error))
    except OSError as error:
        return Finding(path, f"{error.filename or path}: {error.strerror}")


def _sync(path: Path, fd: int) -> bool:
    try:
        return fs.sync(fd)
    except OSError as error:
        raise CacheError(f"the disk below {path} failed to keep a file ({error.strerror})") from error


def _has_symlinks(scratch: Directory, name: str) -> bool:
    link = f"{name}.link"
    try:
        scratch.symlink(name, link, scratch)
    except LinksUnsupported:
        return False
    scratch.remove(link)
    return True
