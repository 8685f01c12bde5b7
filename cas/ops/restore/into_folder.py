"""The steps of a restore into a folder: as files of its own, or as links to or clones of files in the cache.

arrange     which file goes where; collisions are refused here, before a byte moves
check       no symlink and nothing that no restore made is in the way; links are possible
restore     into the folder itself, with the cache as a seed; or, for links, into the cache
link        make the links, once the files in the cache are verified
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from cas import events, host
from cas.config import CacheDirs
from cas.formats.manifest import Manifest
from cas.local.hf_cache import RepoCache
from cas.ops.restore.cache_targets import CacheTargets
from cas.ops.restore.execution import Execution
from cas.ops.restore.folder import Folder
from cas.ops.restore.folder_links import FolderLinks
from cas.ops.restore.folder_targets import FolderTargets, errors_of_folder
from cas.refs.reference import Resolved


class Filled(NamedTuple):
    """What became of a folder.

    Attributes:
        files: the size in bytes of each file that the restore named, by its path below the folder.
        linked: bytes of the files that became links to, or clones of, files in the cache.
        removed: paths of the leftovers that were removed.
    """

    files: dict[str, int]
    linked: int
    removed: tuple[str, ...]


class Run(Protocol):
    """Restores targets, with more seeds than the user named; in a dry run it only counts."""

    def __call__(self, what: CacheTargets | FolderTargets, *more_seeds: Path) -> Execution: ...


def fill(
    folder: Folder,
    versions: Sequence[Resolved],
    dirs: CacheDirs | None,
    run: Run,
    limits: host.Limits,
    listen: events.Listener,
    *,
    dry_run: bool,
) -> tuple[Execution, Filled]:
    """Restore the files of versions into a folder.

    Args:
        folder: where, and how.
        versions: the versions, with the files that were chosen.
        dirs: the cache; None only where no links are wanted.
        run: restores targets.
        limits: bounds of memory and threads.
        listen: hears what happens.
        dry_run: change nothing.

    Raises:
        CasError: as `restore` does.
    """
    manifests = [version.manifest for version in versions]
    files = FolderTargets(manifests, folder)
    linked = 0
    if folder.link is None:
        with errors_of_folder():
            job = run(files, *_repos_in_cache(manifests, dirs))
    else:
        assert dirs
        links = FolderLinks(files, folder.link, dirs, limits, listen)
        with errors_of_folder():
            files.check()
            links.check()
        job = run(CacheTargets(versions, dirs, listen))
        with errors_of_folder():
            linked = links.size if dry_run else links.make(job.complete)
    return job, Filled(files.paths, linked, files.removed)


def _repos_in_cache(manifests: Sequence[Manifest], dirs: CacheDirs | None) -> Iterator[Path]:
    """Yield the directories in the cache of the versions' repos, which may hold what the folder lacks."""
    for repo in (repo for manifest in manifests for repo in manifest.repos if dirs):
        assert dirs
        root = RepoCache(dirs.hub, repo.repo_type, repo.repo_id).root
        if root.is_dir():
            yield root
