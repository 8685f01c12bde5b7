"""Hard links to, or clones of, files in the cache, as the files of a folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cas import events
from cas.config import CacheDirs
from cas.errors import CacheError, IntegrityError
from cas.formats.manifest import RepoFile
from cas.host import Limits
from cas.local import fs
from cas.local.directory import Directory, LinksUnsupported
from cas.local.hf_cache import RepoCache
from cas.local.scan import scan
from cas.local.targets import PART_DIRECTORY, Target
from cas.local.verified import FileStamp, Stamps, stamp_of
from cas.ops.restore.folder import Placed
from cas.ops.restore.folder_targets import FolderTargets
from cas.ops.restore.plan import Plan, make_plan
from cas.ops.restore.root_locks import hold_root_locks

_ADVICE = "leave --link out to have real files, or choose another --cache-dir"


class FolderLinks:
    """The links of one restore.

    Attributes:
        size: bytes of the files that `make` will make, once `check` has looked.
    """

    def __init__(
        self, files: FolderTargets, kind: str, dirs: CacheDirs, limits: Limits, listen: events.Listener
    ) -> None:
        """Make nothing yet.

        Args:
            files: what the folder is to hold.
            kind: `hardlink` or `reflink`.
            dirs: the cache.
            limits: bounds of memory and threads.
            listen: hears what happens.
        """
        self._files, self._kind, self._dirs = files, kind, dirs
        self._limits, self._listen = limits, listen
        self.size = 0

    def check(self) -> None:
        """Refuse, before a byte moves, what cannot be linked, or must not be replaced.

        Raises:
            CacheError: the cache and the folder are on two file systems, or on one without clones; or a file that no
                restore made is in the way.
        """
        pending = self._plan().pending_files
        self.size = sum(each.target.size for each in pending)
        if not pending:
            return
        folder, cache = fs.nearest_existing(self._files.directory), fs.nearest_existing(self._dirs.hub)
        if folder.stat().st_dev != cache.stat().st_dev:
            raise CacheError(f"{folder} and {cache} are on two file systems, which share no bytes: {_ADVICE}")
        if self._kind == "reflink" and _has_clones(folder) is False:
            raise CacheError(f"the file system of {folder} has no clones (reflinks): {_ADVICE}, or --link hardlink")

    def make(self, complete: Mapping[Target, Stamps]) -> int:
        """Make the links that are missing, and return how many bytes they have.

        Args:
            complete: the verified files in the cache.

        Raises:
            IntegrityError: a file in the cache changed meanwhile.
            CacheError: the folder cannot be written, or a link cannot be made.
        """
        plan = self._plan()
        if not plan.pending_files and not self._files.wants_lock(plan):
            return 0
        in_cache = {(target.root, target.components): (target, stamps) for target, stamps in complete.items()}
        with hold_root_locks(self._files.targets, self._listen):
            plan = self._plan()
            self._files.guard.claim(plan)
            done = {target: dict(stamps) for target, stamps in zip(plan.targets, plan.complete, strict=True)}
            placed = {each.target.components: each for each in self._files.placed}
            pending = [each.target for each in plan.pending_files]
            try:
                for target in pending:
                    source, stamps = in_cache[self._cached(placed[target.components])]
                    components, stamp = next(iter(stamps.items()))
                    done[target] = {target.components: self._link(source.root.joinpath(*components), stamp, target)}
            except BaseException:
                self._files.settle()
                raise
            self._files.make_visible(done, self._listen)
        return sum(target.size for target in pending)

    def _plan(self) -> Plan:
        plan = make_plan(self._files.targets, scan(self._files.targets, self._limits, self._listen))
        self._files.guard.check(plan)
        return plan

    def _cached(self, placed: Placed) -> tuple[Path, tuple[str, ...]]:
        """Return the root and the components of the file in the cache that holds a folder's file."""
        if placed.repo and isinstance(placed.file, RepoFile):
            cache = RepoCache(self._dirs.hub, placed.repo.repo_type, placed.repo.repo_id)
            return cache.root, cache.blob_components(placed.file.blob)
        return self._dirs.home, tuple(placed.file.path.split("/"))

    def _link(self, source: Path, stamp: FileStamp, target: Target) -> FileStamp:
        """Make one link, and return the stamp of the file that the folder has now."""
        real = Path(os.path.realpath(source))  # a blob can be a symlink into a cache's shared blobs
        *parents, name = target.components
        with (
            Directory.open(target.root, parents) as parent,
            Directory.open(target.root, PART_DIRECTORY) as scratch,
        ):
            self._files.guard.check_file(target)
            try:
                if self._kind == "hardlink":
                    with Directory.open(real.parent, create=False) as origin:
                        parent.hardlink(origin, real.name, name, scratch)
                else:
                    _clone(real, parent, name, scratch)
            except FileNotFoundError:
                raise CacheError(
                    f"{source} vanished before it was linked: `cas prune` or another program has cleared the cache; "
                    "restore again"
                ) from None
            except LinksUnsupported as error:
                raise CacheError(
                    f"{target.path} cannot be made a {self._kind} of {real} ({error}): {_ADVICE}"
                ) from None
            made = parent.stat(name)
            if made is None or stamp_of(source, stamp.content) != stamp or made.st_size != stamp.size:
                parent.remove(name)
                raise IntegrityError(f"{source} changed while it was linked: restore again")
            return FileStamp(target.content, made.st_size, made.st_mtime_ns)


def _clone(source: Path, parent: Directory, name: str, scratch: Directory) -> None:
    """Make a durable clone of a file; raise LinksUnsupported where the file system makes none."""
    with scratch.temporary_name() as temporary:
        with (
            fs.open_for_reading(source) as old,
            scratch.file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as new,
        ):
            if not fs.clone(old, new):
                raise LinksUnsupported("the file system makes no clones")
            fs.sync(new)
        scratch.rename(temporary, parent, name)


def _has_clones(directory: Path) -> bool | None:
    """Return whether the file system of a directory has clones; None when this process may make no file there to try.

    Both files of the trial are without a name (O_TMPFILE), so they vanish when they are closed.
    """
    if sys.platform != "linux":
        return False
    flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
    try:
        with contextlib.ExitStack() as stack:
            made = []
            for _ in range(2):
                made.append(os.open(directory, flags))
                stack.callback(os.close, made[-1])
            fs.write_all(made[0], bytes(4096))
            return fs.clone(*made)
    except OSError:
        return None
