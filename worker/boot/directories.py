"""Where a worker keeps its model: the first directory that passes real checks, or the one that holds it already.

Each directory also remembers the last version that was restored into it, for a boot that no store answers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cas
from cas.config import CacheDirs
from cas.errors import CacheError, CasError
from cas.formats.manifest import Manifest
from cas.local import fs
from cas.local.directory import Directory, LinksUnsupported
from cas.parallel import BackgroundCall
from worker.boot.environment import hub_of
from worker.boot.ownership import others_problem

if TYPE_CHECKING:
    from cas.refs.reference import Resolved

# Seconds. On a volume whose server is gone a system call waits for ever.
_ANSWERS_WITHIN = 10.0
_STAYS_FREE = 10  # percent of the file system of `/`: below that RunPod takes a worker for unfit
_PROBE = bytes(range(256)) * 256  # not zeros, which is what a volume that lost it would give back

OWN = ".cas-worker"
"""Folder of a cache directory for the worker's own files."""

RefPath = tuple[str, str, str]
"""The path of a ref below `refs/` in a store: `tags`, model and tag, or `pins`, deployment and model."""


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


def free_space(path: Path, root: Path = Path("/")) -> int:
    """Return how many bytes may be written below `path`.

    Args:
        path: a directory, which need not exist.
        root: on the file system of this directory a tenth stays free.
    """
    existing = fs.nearest_existing(path)
    free = fs.free_bytes(existing)
    if existing.stat().st_dev != root.stat().st_dev:
        return free
    whole = os.statvfs(root)
    return max(0, free - whole.f_blocks * whole.f_frsize * _STAYS_FREE // 100)


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
            left = free_space(path, root)
        except (CasError, OSError) as error:
            small.append(Finding(path, str(error)))
            continue
        if wanted > left:
            small.append(Finding(path, f"{wanted:,} bytes are to be written, and it has room for {left:,}"))
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


def last_version(directory: Path, model: str, ref: RefPath | None = None) -> Resolved | None:
    """Return the last version of a model that `directory` was given; None when nothing readable says so.

    Args:
        directory: a cache directory.
        model: name of the model.
        ref: count only versions that this ref named then; None counts every version.
    """
    try:
        found = cas.read_lock(_last_version_file(directory, model, ref))
    except CasError:
        return None
    return found if found.manifest.model == model else None


def write_last_version(directory: Path, version: Resolved, store: cas.Store, ref: RefPath | None = None) -> None:
    """Write into `directory` that this version was restored there last, and that a ref named it.

    Two requests to the store for each of both, and none where that is written already.

    Args:
        directory: a cache directory.
        version: what was restored.
        store: a store that has the version.
        ref: the ref that named the version; None for a version that no ref named.

    Raises:
        CasError: a file cannot be written, or the store cannot be read.
    """
    model = version.manifest.model
    for of in dict.fromkeys((None, ref)):
        last = last_version(directory, model, of)
        if last is None or last.digest != version.digest:
            cas.write_lock(version.exact, store, _last_version_file(directory, model, of))


def _last_version_file(directory: Path, model: str, ref: RefPath | None) -> Path:
    return directory.joinpath(OWN, *ref[:2], f"{ref[2]}.json") if ref else directory / OWN / f"{model}.json"


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
        notes += [] if free_space(path) else ["no room: only what it holds already can run from it"]
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
