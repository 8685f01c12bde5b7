"""Verify: hash the files of a version on this machine again, and report those that are missing or damaged.

Order of steps:
    1. resolve the reference to a manifest
    2. scan: hash every file of the version, even those that are recorded as verified
    3. for each path by which clients find a file: report it missing if nothing is there, and damaged if it leads to
       a file that the scan did not find complete
    4. for each ref: report it missing if it is absent, and damaged if it holds no commit

Why in this order: a file is hashed once, however many snapshot paths lead to it, so paths are compared with files only
after the scan. Nothing is locked and nothing is changed, not even the record: restores heal damage.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cas import config, events, host, refs
from cas.local.hf_cache import RepoCache, names_commit
from cas.local.scan import scan
from cas.local.targets import targets_of
from cas.refs.reference import Resolved
from cas.store.store import Store, open_store


@dataclass(frozen=True, slots=True)
class Report:
    """What a verify found.

    Attributes:
        reference: names the version for ever.
        hub: the hub cache (HF_HUB_CACHE).
        files: how many paths of files were checked.
        total: plain bytes of the version.
        missing: paths where nothing is, of files and refs, in order.
        damaged: paths of files with other content, and of refs that hold no commit, in order.
    """

    reference: str
    hub: Path
    files: int
    total: int
    missing: tuple[str, ...]
    damaged: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether no file and no ref is missing or damaged."""
        return not self.missing and not self.damaged


def verify(
    reference: str | Resolved,
    store: Store | str | None = None,
    *,
    cache_dir: str | Path | None = None,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Report:
    """Hash every file of a version where clients find it, and report what is not as it should be; change nothing.

    A ref that names another commit is no damage: another version was restored beside this one.

    Args:
        reference: as for a restore; for an already resolved version no store is opened.
        store: an open store, a URL, or None for the default.
        cache_dir: the hub cache; by default HF_HUB_CACHE.
        limits: bounds of memory and threads.
        on_event: hears what happens.

    Raises:
        CasError: the reference cannot be resolved; see `cas.refs.resolve`.
    """
    dirs = config.cache_dirs(cache_dir)
    resolved = (
        reference
        if isinstance(reference, Resolved)
        else refs.resolve(open_store(store), reference, (dirs.hub,), listen=on_event)
    )
    wanted = targets_of(resolved.manifest, dirs)
    local = scan(wanted, limits or host.Limits(), on_event, rehash=True)
    missing: list[str] = []
    damaged: list[str] = []
    files = 0
    for target, local_files in zip(wanted, local, strict=True):
        # Files are compared by identity, not by path: without symlinks a snapshot's file is a hard link to its blob.
        sound = {_identity(target.root.joinpath(*components)) for components in local_files.complete}
        for components in target.snapshot_paths or (target.components,):
            files += 1
            path = target.root.joinpath(*components)
            identity = _identity(path)
            if identity is None:
                missing.append(str(path))
            elif identity not in sound:
                damaged.append(str(path))
    for repo in resolved.manifest.repos:
        cache = RepoCache(dirs.hub, repo.repo_type, repo.repo_id)
        for ref in repo.refs:
            path = cache.root.joinpath(*cache.ref_components(ref))
            if not os.path.exists(path):
                missing.append(str(path))
            elif not names_commit(path):
                damaged.append(str(path))
    return Report(
        resolved.exact,
        dirs.hub,
        files,
        resolved.manifest.plain_size,
        tuple(sorted(missing)),
        tuple(sorted(damaged)),
    )


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode number of the file that a path leads to, through links; None when there is none."""
    try:
        stats = os.stat(path)
    except OSError:
        return None
    return stats.st_dev, stats.st_ino
