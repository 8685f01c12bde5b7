"""From a source to files on this machine: downloads through huggingface_hub what is missing, then looks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cas import events
from cas.config import CacheDirs, hub_endpoint
from cas.errors import AccessDenied, CacheError, CasError, InputError, NotFoundError
from cas.hub.download import ErrorWording, check_access, download_snapshot
from cas.hub.source import RepoSource, Source, matching
from cas.local.hf_cache import RepoCache, SnapshotFile, files_below
from cas.local.locks import Lock

# What `hf upload` leaves out of a folder, too.
_NOT_CONTENT = (".git", ".cache/huggingface")

# How long to wait for a download that somebody else has under way.
_DOWNLOAD_WAIT = 600.0


@dataclass(frozen=True, slots=True)
class LocalRepo:
    """A repo's files as they lie here. commit: None for a plain folder, whose commit follows from its content."""

    repo_id: str
    repo_type: str
    commit: str | None
    refs: tuple[str, ...]
    files: tuple[SnapshotFile, ...]


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything to publish. plain_files: relative to HF_HOME."""

    repos: tuple[LocalRepo, ...]
    plain_files: tuple[SnapshotFile, ...]


def gather(source: Source, dirs: CacheDirs, listen: events.Listener, *, download: bool) -> Gathered:
    """The files of `source`; raises InputError, NotFoundError, CacheError, or StoreError when the hub fails."""
    repos = []
    for repo in source.repos:
        asked = False
        if download:
            listen(events.Phase("download"))
            asked = _download(repo, dirs.hub, listen)
        repos.append(_cached(repo, dirs.hub, listen, whole=asked))
    if source.folder:
        repos.append(_folder(*source.folder))
    _check_distinct(repos)
    return Gathered(tuple(repos), _plain_files(source.files, dirs.home))


def _cached(repo: RepoSource, hub: Path, listen: events.Listener, *, whole: bool) -> LocalRepo:
    """The repo's files in the hub cache. whole: a client has just asked the hub and has all of them."""
    cache = RepoCache(hub, repo.repo_type, repo.repo_id)
    commit = cache.commit_of(repo.revision)
    where = f"{repo.repo_id}@{commit[:12]}"
    # The hub's own listing, where there is one, tells a file that was never downloaded from one that is not there.
    listed = cache.tree_listing(commit)
    if not whole and not listed:
        _wait_for_downloads(cache, listen)
        listen(events.Warned(f"{cache.root} has no listing of {where} to compare with: publishing the files it holds"))
    files = _snapshot(cache, commit, listed)
    # One selection from both sets of paths: a file that only the listing names is selected here and missing below.
    chosen = matching(listed.keys() | files.keys(), repo.include, where)
    if not chosen <= files.keys():
        _wait_for_downloads(cache, listen)
        files = _snapshot(cache, commit, listed)
    if missing := sorted(chosen - files.keys()):
        raise NotFoundError(
            f"{where} is not completely in the hub cache {hub} ({missing[0]} is missing, {len(missing)} in all): "
            "download it first, or leave out --no-download"
        )
    if not chosen:
        raise InputError(f"{where} in {hub} has no files to publish")
    return LocalRepo(
        repo.repo_id, repo.repo_type, commit, repo.restored_refs(), tuple(files[path] for path in sorted(chosen))
    )


def _snapshot(cache: RepoCache, commit: str, listed: Mapping[str, object]) -> dict[str, SnapshotFile]:
    try:
        return {file.path: file for file in cache.snapshot_files(commit)}
    except NotFoundError:
        if not listed:
            raise
        return {}  # known, and not one file of it downloaded


def _check_distinct(repos: Iterable[LocalRepo]) -> None:
    seen: set[tuple[str, str, str | None]] = set()
    for repo in repos:
        place = (repo.repo_type, repo.repo_id, repo.commit)
        if place in seen:
            raise InputError(
                f"{repo.repo_id} is named twice at one commit: name it once, with all its patterns (and refs, in a "
                "source file)"
            )
        seen.add(place)


def _folder(folder: Path, repo: RepoSource) -> LocalRepo:
    files = {file.path: file for file in files_below(folder, skip=_NOT_CONTENT)}
    chosen = matching(files, repo.include, str(folder))
    if not chosen:
        raise InputError(f"{folder} has no files to publish")
    return LocalRepo(
        repo.repo_id, repo.repo_type, None, repo.restored_refs(), tuple(files[path] for path in sorted(chosen))
    )


def _plain_files(patterns: tuple[str, ...], home: Path) -> tuple[SnapshotFile, ...]:
    if not patterns:
        return ()
    # Only the folders that a pattern begins with are walked: HF_HOME holds the hub cache, too.
    tops = {pattern.split("/")[0] for pattern in patterns}
    files = {
        f"{top}/{file.path}": file._replace(path=f"{top}/{file.path}")
        for top in sorted(tops)
        if (home / top).is_dir()
        for file in files_below(home / top)
    }
    return tuple(files[path] for path in sorted(matching(files, patterns, str(home))))


def _wait_for_downloads(cache: RepoCache, listen: events.Listener) -> None:
    """Waits while a client is downloading into the repo; raises CacheError for a download that was broken off."""
    deadline = time.monotonic() + _DOWNLOAD_WAIT
    told = False
    while unfinished := _unfinished(cache):
        lock = Lock(cache.blob_lock(unfinished[0]))
        busy = lock.try_acquire() is False
        lock.release()
        if not busy and unfinished[0] in _unfinished(cache):
            raise CacheError(
                f"{cache.root}: the download of blob {unfinished[0][:16]}… was broken off: "
                "finish it with `hf download`, or leave out --no-download"
            )
        if time.monotonic() > deadline:
            raise CacheError(
                f"{cache.root}: a download has been under way for {_DOWNLOAD_WAIT:.0f} s: try again when it is done"
            )
        if not told:
            listen(events.Warned(f"{cache.repo_id} is being downloaded into {cache.hub}: waiting for it"))
            told = True
        time.sleep(0.2)


def _unfinished(cache: RepoCache) -> list[str]:
    """Blobs that somebody began to download and that are not there; killed clients leave their rests behind."""
    return [blob for blob in cache.unfinished_blobs() if not cache.root.joinpath(*cache.blob_components(blob)).exists()]


def _download(repo: RepoSource, hub: Path, listen: events.Listener) -> bool:
    """Download the repo's files into the hub cache. Return False if the hub fails, and the cache has to suffice."""
    where = f"{repo.repo_id}@{repo.revision}"
    wording = ErrorWording(
        subject=where,
        incomplete=(
            f"{where} cannot be downloaded from {hub_endpoint()} and is not completely in {hub}: "
            "check the network and HF_HUB_OFFLINE, or publish what is here with --no-download"
        ),
        folder=hub,
        if_full="choose another --cache-dir",
        if_unusable=f"check {hub}, or choose another --cache-dir",
    )
    answered = True
    try:
        check_access(repo, wording)
    except (AccessDenied, NotFoundError):
        raise
    except CasError as error:
        answered = False
        listen(events.Warned(f"{error}; looking for it in {hub}"))
    download_snapshot(repo, hub, wording)
    return answered
