"""Verify: re-hashes what is on this machine and says which files are not what the version says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cas import config, events, refs
from cas.local.hf_cache import RepoCache, names_commit
from cas.local.scan import scan
from cas.local.targets import targets_of
from cas.refs.reference import Resolved
from cas.store.store import Store, open_store


@dataclass(frozen=True, slots=True)
class Report:
    """What verify found.

    files: how many were looked at. total: their plain bytes. missing, damaged: paths, of refs too when clients would
    find nothing by them.
    """

    reference: str
    hub: str
    files: int
    total: int
    missing: tuple[str, ...]
    damaged: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether every file is there and right."""
        return not self.missing and not self.damaged


def verify(
    reference: str | Resolved,
    store: Store | str | None = None,
    *,
    cache_dir: str | Path | None = None,
    limits: config.Limits | None = None,
    on_event: events.Listener = events.ignore,
) -> Report:
    """Hashes every file of the version `reference` where clients would find it; changes nothing.

    reference: as for a restore; for a version at hand no store is asked, nor opened.
    A ref that names another commit is no damage: another version was put beside this one. store: an open one,
    a URL, or None for the default. cache_dir: the hub cache. Raises what resolving raises.
    """
    resolved = reference if isinstance(reference, Resolved) else refs.resolve(open_store(store), reference)
    dirs = config.cache_dirs(cache_dir)
    wanted = targets_of(resolved.manifest, dirs)
    found = scan(wanted, limits or config.Limits(), on_event, rehash=True)
    missing: list[str] = []
    damaged: list[str] = []
    files = 0
    for target, here in zip(wanted, found, strict=True):
        # By identity, not by path: without symlinks a snapshot's file is a blob's second name.
        sound = {_identity(target.root.joinpath(*parts)) for parts in here.complete}
        for name in target.snapshot_paths or (target.components,):
            files += 1
            path = target.root.joinpath(*name)
            there = _identity(path)
            if there is None:
                missing.append(str(path))
            elif there not in sound:
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
        str(dirs.hub),
        files,
        resolved.manifest.plain_size,
        tuple(sorted(missing)),
        tuple(sorted(damaged)),
    )


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from all others, through links; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
