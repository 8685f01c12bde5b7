"""Tells whether a download from Hugging Face fits into a directory, and removes the files of one that did not fit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from cas.errors import AccessDenied, CasError, DiskFull, InputError, NotFoundError
from cas.hub.download import HubFile, list_files
from cas.hub.source import Source
from cas.local.fs import is_inside
from cas.local.hf_cache import RepoCache
from cas.local.locks import Lock
from worker.boot import directories, environment


def list_source(source: Source) -> list[HubFile] | None:
    """List the files of `source` on the hub.

    Returns:
        The files; none if the hub says that it has no such repo or revision, or does not let this user read it; None
        if the hub cannot be reached, or fails. The download that follows reports the cause.
    """
    try:
        return [file for repo in source.repos for file in list_files(repo)]
    except (AccessDenied, NotFoundError, InputError):
        return []
    except CasError:
        return None


def space_problem(files: Iterable[HubFile] | None, path: Path) -> str:
    """Say why files do not fit into a directory.

    Args:
        files: the files as the hub lists them, those that the directory has among them; None if the hub lists none.
        path: the directory.

    Returns:
        The reason, in words; empty if the files fit, or the directory has all of them.
    """
    hub = environment.hub_of(path)
    try:
        absent = (file for file in files or () if not any(found.exists() for found in _possible_paths(file, hub)))
        missing = 1 if files is None else sum(file.size for file in absent)
        problem = directories.free_space(path).problem(missing) if missing else ""
    except OSError as error:
        return str(error.strerror)
    except CasError as error:
        return str(error)
    return "it has no room left" if problem and files is None else problem


def _possible_paths(file: HubFile, hub: Path) -> Iterator[Path]:
    """Where a hub cache would have a file: as a blob, or in a snapshot."""
    cache = RepoCache(hub, file.repo.repo_type, file.repo.repo_id)
    if file.etag:
        yield cache.root.joinpath(*cache.blob_components(file.etag))
    yield cache.root.joinpath(*cache.snapshot_components(file.commit, file.path))


def is_disk_full(error: CasError) -> bool:
    """Return whether a download failed because the disk is full.

    hf_xet, the library that moves large files for huggingface_hub, says so in its message alone.
    """
    return isinstance(error, DiskFull) or "os error 28" in str(error) or "No space left on device" in str(error)


def cached_paths(source: Source, hub: Path) -> frozenset[Path]:
    """Return the paths of the blobs, unfinished blobs and snapshot files that a hub cache has of a source's repos."""
    return frozenset(path for cache in _caches(source, hub) for path in _paths_of(cache))


def remove_new_files(source: Source, hub: Path, before: Set[Path]) -> None:
    """Remove what a failed download left. Blobs that another process is downloading, and their links, stay.

    Args:
        source: the repos that were downloaded.
        hub: the hub cache.
        before: the paths that the cache had before the download, from `cached_paths`.
    """
    for cache in _caches(source, hub):
        # `blobs` and `snapshots` may be links to elsewhere: nothing outside the repo's folder is removed.
        new = [path for path in _paths_of(cache) if path not in before and is_inside(path, cache.root)]
        for path in new:
            if path.parent == cache.root / "blobs":
                lock = Lock(cache.blob_lock(path.name.partition(".")[0]))
                if lock.try_acquire() is not False:
                    _unlink(path)
                lock.release()
        for path in new:
            # A link whose blob is still there belongs to the other process's download.
            if path.parent != cache.root / "blobs" and not (path.is_symlink() and path.exists()):
                _unlink(path)


def _caches(source: Source, hub: Path) -> Iterator[RepoCache]:
    for repo in source.repos:
        yield RepoCache(hub, repo.repo_type, repo.repo_id)


def _paths_of(cache: RepoCache) -> Iterator[Path]:
    for name in ("blobs", "snapshots"):
        for parent, _, names in os.walk(cache.root / name):
            yield from (Path(parent, name) for name in names)


def _unlink(path: Path) -> None:
    # A file that cannot be removed takes up space, and does no harm: the client checks it before it uses it.
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
