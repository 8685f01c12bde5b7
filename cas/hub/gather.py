"""From a source to files on this machine: downloads what is missing, then lists what the hub cache and folders hold."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cas import events
from cas.config import CacheDirs, cache_dirs, hub_endpoint
from cas.errors import AccessDenied, CacheError, CasError, FormatError, InputError, NotFoundError
from cas.formats.paths import PLAIN_FILE_FOLDER, is_hidden, match_patterns
from cas.hub.download import ErrorWording, HubRevision, check_access, download_snapshot
from cas.hub.source import RepoSource, Source, check_plain_pattern, matching
from cas.local.fs import check_name_encoding
from cas.local.hf_cache import PRIVATE, RepoCache, SnapshotFile, etags_of, files_below
from cas.local.locks import Lock
from cas.local.small_files import check_before_download

# Folders and files that are no content of a repo, at any depth; `hf upload` leaves out the first two, too. A
# `.git/config` may hold a token; a submodule's `.git` is a file. Where names ignore case, git uses `.GIT` as well. The
# last one holds what we know of a folder that a restore filled.
_NOT_CONTENT = (".git", ".cache/huggingface", PRIVATE)

# Seconds to wait for another process's download.
_DOWNLOAD_WAIT = 600.0


@dataclass(frozen=True, slots=True)
class LocalRepo:
    """A repo's files on this machine.

    Attributes:
        repo_id: `ORG/NAME`, or a name alone.
        repo_type: model, dataset or space.
        commit: 40 hex digits; None for a folder, whose commit is derived from its content.
        refs: the refs that a restore writes.
        files: ordered by path.
    """

    repo_id: str
    repo_type: str
    commit: str | None
    refs: tuple[str, ...]
    files: tuple[SnapshotFile, ...]


@dataclass(frozen=True, slots=True)
class Gathered:
    """The files to publish.

    Attributes:
        repos: files of repos and of the folder.
        plain_files: files outside any repo, by their paths below HF_HOME.
    """

    repos: tuple[LocalRepo, ...]
    plain_files: tuple[SnapshotFile, ...]


def gather(
    source: Source, cache_dir: str | Path | CacheDirs | None, listen: events.Listener, *, download: bool
) -> Gathered:
    """Find the files of a source on this machine.

    Args:
        source: the repos, plain files and folder to publish.
        cache_dir: the hub cache to read, or the directories of a cache; None for the user's. A folder alone needs none.
        listen: receives phases and warnings.
        download: whether to download first what the hub cache lacks of the repos.

    Raises:
        InputError: a pattern matches no file or is not below `torch/`, there is nothing to publish, a repo is named
            twice, or huggingface_hub is not installed.
        NotFoundError: the hub has no such repo or revision, or, without a download, the hub cache lacks files.
        CacheError: the cache or the folder cannot be used, or its files are in disorder.
        FormatError: the hub names a commit, etag or path that must not become a path on this machine.
        StoreError: the hub refuses, or fails and the hub cache does not have all files.
    """
    repos: list[LocalRepo] = []
    if not source.repos and not source.files:
        return Gathered((_folder_repo(*source.folder),) if source.folder else (), ())
    dirs = cache_dir if isinstance(cache_dir, CacheDirs) else cache_dirs(cache_dir)
    for repo in source.repos:
        revision = None
        if download:
            check_before_download(RepoCache(dirs.hub, repo.repo_type, repo.repo_id), repo.revision)
            revision = _download(repo, dirs.hub, listen)
        repos.append(_cached_repo(repo, dirs.hub, listen, revision))
    if source.folder:
        repos.append(_folder_repo(*source.folder))
    _check_distinct(repos)
    return Gathered(tuple(repos), _plain_files(source.files, dirs.home, listen))


def _cached_repo(repo: RepoSource, hub: Path, listen: events.Listener, revision: HubRevision | None) -> LocalRepo:
    """The repo's files in the hub cache.

    Args:
        repo: the repo.
        hub: the hub cache.
        listen: receives warnings.
        revision: what the hub said just now, before all files were downloaded; None if it was not asked, or failed.
    """
    cache = RepoCache(hub, repo.repo_type, repo.repo_id)
    commit = cache.commit_of(repo.revision)
    where = f"{repo.repo_id}@{commit[:12]}"
    # The tree listing, if the cache has it, tells files that were never downloaded from files that do not exist.
    listed = cache.tree_listing(commit)
    if not revision and not listed:
        _wait_for_downloads(cache, listen)
        listen(events.Warned(f"{cache.root} has no listing of {where} to compare with: publishing the files it holds"))
    upstream = revision.paths if revision and revision.commit == commit else None
    files = _without_strays(_snapshot(cache, commit, listed), upstream, listed, where, listen)
    # One selection from both sets of paths: a file that only the listing names is selected here and missing below.
    chosen = matching(listed.keys() | files.keys(), repo.include, where, repo.exclude)
    if not chosen <= files.keys():
        _wait_for_downloads(cache, listen)
        files = _without_strays(_snapshot(cache, commit, listed), upstream, listed, where, events.ignore)
    if missing := sorted(chosen - files.keys()):
        raise NotFoundError(
            f"{where} is not completely in the hub cache {hub} ({missing[0]} is missing, {len(missing)} in all): "
            "download it first, or leave out --no-download"
        )
    if not chosen:
        raise InputError(f"{where} in {hub} has no files to publish")
    _check_names(chosen, str(hub))
    return LocalRepo(
        repo.repo_id, repo.repo_type, commit, repo.restored_refs(), tuple(files[path] for path in sorted(chosen))
    )


def _without_strays(
    files: dict[str, SnapshotFile],
    upstream: frozenset[str] | None,
    listed: Mapping[str, object],
    where: str,
    listen: events.Listener,
) -> dict[str, SnapshotFile]:
    """Leave out files that a program or a person put into a snapshot: the commit would vouch for what it does not have.

    Args:
        files: the files of a snapshot, by path.
        upstream: the paths of the commit, as the hub lists them now; None if the hub was not asked or does not tell.
        listed: the tree listing of the cache. A restore of some files lists these alone, so a link to a blob that it
            does not name may be a later download.
        where: the repo and the commit, in words.
        listen: receives a warning that names the files.
    """
    if upstream is not None:
        strays = files.keys() - upstream
    elif listed:
        etags = {None, *etags_of(listed).values()}
        strays = {path for path in files.keys() - listed.keys() if files[path].blob in etags}
    else:
        strays = set()
    if strays:
        others = f" (and {len(strays) - 1} more)" if len(strays) > 1 else ""
        listen(
            events.Warned(
                f"{min(strays)!a}{others} lies in the snapshot of {where}, and is not in the hub's listing of it: "
                "left out; publish your own files with --dir"
            )
        )
    return {path: file for path, file in files.items() if path not in strays}


def _snapshot(cache: RepoCache, commit: str, listed: Mapping[str, object]) -> dict[str, SnapshotFile]:
    try:
        return {file.path: file for file in cache.snapshot_files(commit)}
    except NotFoundError:
        if not listed:
            raise
        return {}  # the commit is known, and none of its files has been downloaded


def _check_distinct(repos: Iterable[LocalRepo]) -> None:
    seen: set[tuple[str, str, str | None]] = set()
    for repo in repos:
        identity = (repo.repo_type, repo.repo_id, repo.commit)
        if identity in seen:
            raise InputError(
                f"{repo.repo_id} is named twice at one commit: name it once, with all its patterns (and refs, in a "
                "source file)"
            )
        seen.add(identity)


def _folder_repo(folder: Path, repo: RepoSource) -> LocalRepo:
    files = {file.path: file for file in files_below(folder, skip=_NOT_CONTENT)}
    chosen = matching(files, repo.include, str(folder), repo.exclude)
    if not chosen:
        raise InputError(f"{folder} has no files to publish")
    _check_names(chosen, str(folder))
    return LocalRepo(
        repo.repo_id, repo.repo_type, None, repo.restored_refs(), tuple(files[path] for path in sorted(chosen))
    )


def _plain_files(patterns: tuple[str, ...], home: Path, listen: events.Listener) -> tuple[SnapshotFile, ...]:
    """The files that the patterns match; like a shell's, their wildcards match no name with a leading dot."""
    for pattern in patterns:
        check_plain_pattern(pattern)
    if not patterns:
        return ()
    folder = home / PLAIN_FILE_FOLDER
    below = files_below(folder, skip=_NOT_CONTENT) if folder.is_dir() else []
    found = [file._replace(path=f"{PLAIN_FILE_FOLDER}/{file.path}") for file in below]
    hidden, _ = match_patterns((file.path for file in found if is_hidden(file.path)), patterns)
    if hidden:
        listen(
            events.Warned(
                f"{min(hidden)} in {home} has a name with a leading dot ({len(hidden)} in all): no version may have "
                "such a plain file, so it is left out"
            )
        )
    files = {file.path: file for file in found if not is_hidden(file.path)}
    chosen = matching(files, patterns, str(home))
    _check_names(chosen, str(home))
    return tuple(files[path] for path in sorted(chosen))


def _check_names(paths: set[str], folder: str) -> None:
    """Raise InputError for a name that no manifest can have: one whose bytes are no UTF-8, as old archives leave them.

    Python passes such bytes on as lone surrogates.
    """
    check_name_encoding(paths)
    for path in sorted(paths):
        try:
            path.encode()
        except UnicodeEncodeError:
            name = os.fsencode(path).decode(errors="backslashreplace")
            raise InputError(
                f"the name of the file {name} in {folder} is not UTF-8: rename it, or choose other files with --include"
            ) from None


def _wait_for_downloads(cache: RepoCache, listen: events.Listener) -> None:
    """Wait while another process downloads into the repo. Raise CacheError if a download was broken off."""
    deadline = time.monotonic() + _DOWNLOAD_WAIT
    has_warned = False
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
        if not has_warned:
            listen(events.Warned(f"{cache.repo_id} is being downloaded into {cache.hub}: waiting for it"))
            has_warned = True
        time.sleep(0.2)


def _unfinished(cache: RepoCache) -> list[str]:
    """Etags of blobs whose download began and that are not there. Those with a blob are leftovers of killed clients."""
    return [blob for blob in cache.unfinished_blobs() if not cache.root.joinpath(*cache.blob_components(blob)).exists()]


def _download(repo: RepoSource, hub: Path, listen: events.Listener) -> HubRevision | None:
    """Download the repo's files into the hub cache. Return None if the hub fails, and the cache has to suffice."""
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
    revision = None
    try:
        revision = check_access(repo, wording)
    except (AccessDenied, NotFoundError, FormatError, InputError):
        raise
    except CasError as error:
        listen(events.Warned(f"{error}; looking for it in {hub}"))
    blobs = RepoCache(hub, repo.repo_type, repo.repo_id).root / "blobs"
    present = {path.name for path in blobs.iterdir()} if blobs.is_dir() else set()
    lacking = sum(size for name, size in revision.blobs.items() if name not in present) if revision else 0
    listen(events.Phase("download", max(0, lacking)))
    download_snapshot(repo, hub, wording, lambda size: listen(events.Moved(size, source="hub")))
    return revision
