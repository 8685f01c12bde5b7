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

from cas.config import CacheDirs
from cas.errors import CacheError, CasError
from cas.formats.manifest import Manifest
from cas.local import fs
from cas.local.directory import Directory, LinksUnsupported
from cas.parallel import BackgroundCall
from worker.boot.environment import hub_of

if TYPE_CHECKING:
    from cas.refs.reference import Resolved
    from cas.store.store import Store

# A volume whose server is gone lets a call wait for ever.
_ANSWERS_WITHIN = 10.0
_KEPT_FREE = 10  # percent of the file system of `/`: below that RunPod takes a worker for unfit
_PROBE = bytes(64 * 1024)
_OWN = ".cas-worker"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the checks of one directory said. problem: why it is of no use, empty when it is. note: what it lacks."""

    path: Path
    problem: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class RankedDirectory:
    """A directory to try, and why it comes where it does."""

    path: Path
    reason: str


def examine(paths: Iterable[Path], within: float = _ANSWERS_WITHIN) -> list[Finding]:
    """Writes, keeps and links a file in each directory, all at once, and looks how much room it has.

    within: seconds for all of them together; a directory that takes longer is of no use.
    """
    deadline = time.monotonic() + within
    looks = [(path, BackgroundCall(lambda path=path: _examined(path))) for path in paths]  # type: ignore[misc]
    found = []
    for path, look in looks:
        if look.ends_within(max(0.0, deadline - time.monotonic())):
            found.append(look.result())
        else:
            found.append(Finding(path, f"it did not answer in {within:g} s"))
    return found


def room(path: Path, root: Path = Path("/")) -> int:
    """Bytes that may be written below `path`; on the file system of `root` a tenth of it stays free."""
    existing = fs.nearest_existing(path)
    free = fs.free_bytes(existing)
    if existing.stat().st_dev != root.stat().st_dev:
        return free
    whole = os.statvfs(root)
    return max(0, free - whole.f_blocks * whole.f_frsize * _KEPT_FREE // 100)


def rank(
    paths: Sequence[Path], manifest: Manifest, root: Path = Path("/")
) -> tuple[list[RankedDirectory], list[Finding]]:
    """Directories in the order in which to restore `manifest`, and those without room for it.

    One that holds all of it, verified, comes first; the others keep their order. root: as for `room`.
    """
    first, others, small = [], [], []
    for path in paths:
        try:
            lacks = missing(manifest, path)
            if not lacks:
                first.append(RankedDirectory(path, "it holds this version, verified"))
                continue
            left = room(path, root)
        except (CasError, OSError) as error:
            small.append(Finding(path, str(error)))
            continue
        if lacks > left:
            small.append(Finding(path, f"{lacks:,} bytes are to be written, and it has room for {left:,}"))
        else:
            others.append(path)
    why = "first of CAS_CACHE_DIRS that passes the checks" if not first else "next of CAS_CACHE_DIRS"
    ranked = [
        *first,
        *(RankedDirectory(path, "next of CAS_CACHE_DIRS" if at else why) for at, path in enumerate(others)),
    ]
    return ranked, small


def missing(manifest: Manifest, directory: Path) -> int:
    """Bytes of a version that `directory` has no verified file of, by record; less what part files take up."""
    from cas.local.targets import PART_DIRECTORY, targets_of
    from cas.local.verified import VerifiedFiles

    wanted = targets_of(manifest, CacheDirs(hub_of(directory), directory))
    records = {target.root: VerifiedFiles(target.root) for target in wanted}
    lacks = sum(
        max(target.size, 1)
        for target in wanted
        if not any(
            records[target.root].valid_stamp(parts, target.content)
            for parts in (target.components, *target.snapshot_paths)
        )
    )
    begun = sum(_taken(root.joinpath(*PART_DIRECTORY)) for root in records)
    return max(1, lacks - begun) if lacks else 0


def last_version(directory: Path, model: str) -> Resolved | None:
    """Return the last version of a model that `directory` was given; None when nothing readable says so."""
    from cas.refs.lock_file import read_lock

    try:
        found = read_lock(_last_version_file(directory, model))
    except CasError:
        return None
    return found if found.manifest.model == model else None


def write_last_version(directory: Path, version: Resolved, store: Store) -> None:
    """Write into `directory` that this version was restored there last.

    Two requests to the store, and none where that is written already.

    Raises:
        CasError: the file cannot be written, or the store cannot be read.
    """
    from cas.refs.lock_file import write_lock

    model = version.manifest.model
    last = last_version(directory, model)
    if last is None or last.digest != version.digest:
        write_lock(version.exact, store, _last_version_file(directory, model))


def _last_version_file(directory: Path, model: str) -> Path:
    return directory / _OWN / f"{model}.json"


def _taken(parts: Path) -> int:
    try:
        return sum(path.stat().st_blocks * 512 for path in parts.iterdir())
    except OSError:
        return 0


def _examined(path: Path) -> Finding:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with Directory.open(path, (_OWN,)) as scratch, scratch.temporary_name() as name:
            with fs.disk_errors(path), scratch.file(name, os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd:
                fs.write_all(fd, _PROBE)
                durable = _kept(path, fd)
                back = bytearray(len(_PROBE))
                if fs.read_at(fd, memoryview(back), 0) != len(_PROBE) or back != _PROBE:
                    return Finding(path, "what was written there cannot be read back")
            notes = [] if durable else ["no fsync: a power cut may lose files"]
            notes += [] if _links(scratch, name) else ["no symlinks: files take their place"]
        # It may hold the whole model: who knows what is to be written decides whether it fits.
        notes += [] if room(path) else ["no room: only what it holds already can run from it"]
        return Finding(path, note=", ".join(notes))
    except CasError as error:
        return Finding(path, str(error))
    except OSError as error:
        return Finding(path, f"{error.filename or path}: {error.strerror}")


def _kept(path: Path, fd: int) -> bool:
    try:
        return fs.sync(fd)
    except OSError as error:
        raise CacheError(f"the disk below {path} failed to keep a file ({error.strerror})") from error


def _links(scratch: Directory, name: str) -> bool:
    link = f"{name}.link"
    try:
        scratch.symlink(name, link, scratch)
    except LinksUnsupported:
        return False
    scratch.remove(link)
    return True
