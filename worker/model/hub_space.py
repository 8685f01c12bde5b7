"""Whether a download from Hugging Face fits into a directory, and how to leave nothing behind of one that did not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from cas.errors import AccessDenied, CasError, DiskFull, InputError, NotFoundError
from cas.hub.download import HubFile, list_files
from cas.hub.source import Source
from cas.local.hf_cache import RepoCache
from cas.local.locks import Lock
from worker.boot import directories, environment


def listed(source: Source) -> list[HubFile] | None:
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


def problem(files: Iterable[HubFile] | None, path: Path) -> str:
    """Why the files do not fit into a directory; empty when they do, and where it has all of them.

    files: None when nobody knows them.
    """
    hub = environment.hub_of(path)
    try:
        absent = (file for file in files or () if not any(place.exists() for place in _places(file, hub)))
        lacks = 1 if files is None else sum(file.size for file in absent)
        left = directories.room(path) if lacks else 0
    except OSError as error:
        return str(error.strerror)
    except CasError as error:
        return str(error)
    if lacks <= left:
        return ""
    return (
        "it has no room left"
        if files is None
        else f"{lacks:,} bytes are to be downloaded, and it has room for {left:,}"
    )


def _places(file: HubFile, hub: Path) -> Iterator[Path]:
    cache = RepoCache(hub, file.repo.repo_type, file.repo.repo_id)
    if file.etag:
        yield cache.root.joinpath(*cache.blob_components(file.etag))
    yield cache.root.joinpath(*cache.snapshot_components(file.commit, file.path))


def says_full(error: CasError) -> bool:
    """Whether a download failed for want of room; the library that moves large files says so in words alone."""
    return isinstance(error, DiskFull) or "os error 28" in str(error) or "No space left on device" in str(error)


def content(source: Source, hub: Path) -> frozenset[Path]:
    """Every blob, part of one, and name of a file that a hub cache has of `source`."""
    return frozenset(path for cache in _caches(source, hub) for path in _below(cache))


def remove_new(source: Source, hub: Path, before: Set[Path]) -> None:
    """Removes what came after `before` was the content, but for blobs that somebody is downloading just now."""
    for cache in _caches(source, hub):
        new = [path for path in _below(cache) if path not in before]
        for path in new:
            if path.parent == cache.root / "blobs":
                lock = Lock(cache.blob_lock(path.name.partition(".")[0]))
                if lock.try_acquire() is not False:
                    _unlink(path)
                lock.release()
        for path in new:
            # A link whose blob was spared is somebody else's.
            if path.parent != cache.root / "blobs" and not (path.is_symlink() and path.exists()):
                _unlink(path)


def _caches(source: Source, hub: Path) -> Iterator[RepoCache]:
    for repo in source.repos:
        yield RepoCache(hub, repo.repo_type, repo.repo_id)


def _below(cache: RepoCache) -> Iterator[Path]:
    for name in ("blobs", "snapshots"):
        for parent, _, names in os.walk(cache.root / name):
            yield from (Path(parent, name) for name in names)


def _unlink(path: Path) -> None:
    # What cannot be removed takes up room, and does no harm: the client looks at it before it believes it.
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
