"""Downloads the model from Hugging Face, and verifies it: huggingface_hub compares the sizes of files alone."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cas import events
from cas.config import CacheDirs
from cas.errors import (
    AccessDenied,
    CacheError,
    CasError,
    DiskFull,
    FormatError,
    IntegrityError,
    NotFoundError,
    StoreError,
)
from cas.hub.download import HubFile, without_shared_blobs
from cas.hub.gather import Gathered, LocalRepo, gather
from cas.hub.source import Source, matching
from cas.local.fs import is_inside, open_binary
from cas.local.hf_cache import RepoCache, SnapshotFile, blob_hash
from cas.parallel import for_each
from worker.boot import environment
from worker.boot.directories import RankedDirectory
from worker.boot.ownership import others_problem
from worker.model import hub_space
from worker.model.recorder import Recorder

_BLOCK = 4 * 1024 * 1024  # bytes that are read and hashed at a time


@dataclass(frozen=True, slots=True)
class DownloadedModel:
    """The model as a hub cache holds it, verified.

    Attributes:
        gathered: its files.
        directory: the cache directory that they are in.
        started: when the download began, in seconds since 1970, by the clock of files.
        hub_answered: False if the hub failed, and an earlier download, or another program's, is used instead.
    """

    gathered: Gathered
    directory: RankedDirectory
    started: float
    hub_answered: bool = True

    def count_bytes(self) -> tuple[int, int]:
        """Return the bytes of all files, and of those among them that this download brought."""
        stats = [os.stat(file.real) for repo in self.gathered.repos for file in repo.files]
        return sum(stat.st_size for stat in stats), sum(stat.st_size for stat in stats if stat.st_mtime >= self.started)

    def snapshots(self) -> dict[str, str]:
        """Return the snapshot folder of each repo, by repo id."""
        hub = environment.hub_of(self.directory.path)
        return {
            repo.repo_id: str(RepoCache(hub, repo.repo_type, repo.repo_id).root / "snapshots" / str(repo.commit))
            for repo in self.gathered.repos
        }


class HubFailed(StoreError):
    """The hub did not give the model, and no directory has all of it.

    Attributes:
        away: whether the hub could not be reached, or failed; False if it refused, or does not have the model.
    """

    def __init__(self, text: str, *, away: bool) -> None:
        super().__init__(text)
        self.away = away


def download_model(source: Source, paths: Sequence[Path], seeds: Sequence[Path], recorder: Recorder) -> DownloadedModel:
    """Download the model into the first directory that takes it; directories that have all of it come first.

    Args:
        source: the repos that the model consists of.
        paths: the directories, in the order in which to try them.
        seeds: hub caches of other programs. One that has the whole model is used if the hub cannot be reached; it is
            never written to.
        recorder: receives phases, warnings and errors.

    Raises:
        InputError: the source names files that its repos do not have.
        HubFailed: the hub did not give the model, and neither a directory nor a seed has all of it.
        IntegrityError: a file arrives damaged, again after a second download.
        CacheError: no directory takes the model.
    """
    holding = [path for path in paths if is_complete(source, environment.hub_of(path))]
    ordered = [*holding, *(path for path in paths if path not in holding)]
    files = hub_space.list_source(source)
    problems: list[str] = []
    failed: list[tuple[Path, CasError]] = []
    damaged: IntegrityError | None = None
    for index, path in enumerate(ordered):
        if damaged and path not in holding:
            continue  # the same damage would arrive there
        environment.apply(path)
        started = time.time()
        try:
            gathered = _download_into(path, source, files, recorder)
        except CacheError as error:
            problems.append(f"{path}: {error}")
            recorder.warn(f"{problems[-1]}; trying the next directory")
        except AccessDenied as error:
            raise HubFailed(str(error), away=False) from error
        except (StoreError, NotFoundError, FormatError) as error:
            # Try on: huggingface_hub needs no hub for a directory that has all the files it last heard of.
            failed.append((path, error))
            if path != ordered[-1]:
                recorder.warn(f"{error}; trying the next directory")
        except IntegrityError as error:
            damaged = error
        else:
            first = "first of CAS_CACHE_DIRS that passes the checks" if not index else "next of CAS_CACHE_DIRS"
            reason = "it holds what was downloaded before" if path in holding else first
            return DownloadedModel(gathered, RankedDirectory(path, reason), started, hub_answered=files is not None)
    if damaged:
        raise damaged
    if not failed:
        raise CacheError(f"no directory of CAS_CACHE_DIRS takes the model: {'; '.join(problems)}")
    away = files is None or any(isinstance(error, StoreError | FormatError) for _, error in failed)
    if away and (found := _from_other_programs(source, seeds, recorder)):
        return found
    others = f" (nor in {', '.join(str(path) for path, _ in failed[1:])})" if failed[1:] else ""
    raise HubFailed("; ".join([f"{failed[0][1]}{others}", *problems]), away=away) from failed[0][1]


def _download_into(path: Path, source: Source, files: Sequence[HubFile] | None, recorder: Recorder) -> Gathered:
    """Download the model into one directory, as `download_verified` does.

    Raises CacheError if the files do not fit, and leaves none of them behind then.
    """
    hub = environment.hub_of(path)
    # If the hub lists no files, all that is known is that they take up space, unless the directory has them.
    if (files is not None or not is_complete(source, hub)) and (problem := hub_space.space_problem(files, path)):
        raise CacheError(problem)
    before = hub_space.cached_paths(source, hub)
    try:
        return download_verified(source, CacheDirs(hub, path), recorder)
    except (CacheError, StoreError) as error:
        if not hub_space.is_disk_full(error):
            raise
        hub_space.remove_new_files(source, hub, before)
        raise DiskFull(str(error)) from error


def is_complete(source: Source, hub: Path) -> bool:
    """Return whether a hub cache has every file of `source`, at the commit that each revision last named there."""
    try:
        for repo in source.repos:
            cache = RepoCache(hub, repo.repo_type, repo.repo_id)
            commit = cache.commit_of(repo.revision)
            present = {file.path for file in cache.snapshot_files(commit)}
            paths = cache.tree_listing(commit).keys() | present
            chosen = matching(paths, repo.include, repo.repo_id, repo.exclude)
            if not chosen or not chosen <= present:
                return False
    except (CasError, OSError):
        return False
    return True


def _from_other_programs(source: Source, seeds: Sequence[Path], recorder: Recorder) -> DownloadedModel | None:
    """The model from the first hub cache of another program that has all of it, verified; no cache is written to."""
    for hub in seeds:
        if hub != environment.hub_of(hub.parent) or not is_complete(source, hub):
            continue
        if problem := others_problem(hub.parent):
            recorder.warn(f"{hub} is of no use: {problem}")
            continue
        try:
            gathered = gather(source, CacheDirs(hub, hub.parent), events.ignore, download=False)
            unnamed = [file.real for repo in gathered.repos for file in repo.files if file.blob is None]
            damaged = [file.real for _, file in _damaged_files(gathered, recorder)]
        except (CasError, OSError):
            continue
        if wrong := [*unnamed, *damaged]:
            recorder.warn(f"{wrong[0]} cannot be verified: {hub} is of no use")
            continue
        recorder.warn(f"Hugging Face cannot be reached: running what {hub} holds, verified")
        directory = RankedDirectory(hub.parent, "it holds what the platform downloaded")
        return DownloadedModel(gathered, directory, time.time(), hub_answered=False)
    return None


def download_verified(source: Source, dirs: CacheDirs, recorder: Recorder) -> Gathered:
    """Download the files that a hub cache lacks, and once more those that are damaged.

    Args:
        source: the repos that the model consists of.
        dirs: the hub cache, and the HF_HOME that it is in.
        recorder: receives phases, warnings and errors.

    Raises:
        InputError: the source names files that its repos do not have.
        NotFoundError: the hub has no such repo or revision.
        FormatError: the hub sends names that must not become paths on this machine.
        StoreError: the hub cannot be reached, or fails, and the cache does not have all files.
        CacheError: the cache cannot be written to, or its disk is full.
        IntegrityError: a file is damaged after the second download, too.
    """
    gathered = gather(source, dirs, recorder.listen, download=True)
    damaged = _damaged_files(gathered, recorder)
    if not damaged:
        return gathered
    for repo, file in damaged:
        recorder.error(f"{file.real} is not what its name says ({file.path} of {repo.repo_id}): downloading it again")
        _remove(RepoCache(dirs.hub, repo.repo_type, repo.repo_id), file)
    with without_shared_blobs():
        gathered = gather(source, dirs, recorder.listen, download=True)
    if damaged := _damaged_files(gathered, recorder):
        repo, file = damaged[0]
        raise IntegrityError(
            f"{file.path} of {repo.repo_id} arrives damaged from the hub: "
            "look at HF_ENDPOINT and what stands in front of it"
        )
    return gathered


def _remove(cache: RepoCache, damaged: SnapshotFile) -> None:
    """Remove a damaged file from a repo's folder: its blob, and its name in every snapshot.

    A link on the way may lead elsewhere, as to the blobs that several repos share. Nothing outside the repo's folder is
    removed, because a hub tells which shared blob a file is: it could have the blobs of other repos removed.
    """
    names = [Path(entry.path, damaged.path) for entry in os.scandir(cache.root / "snapshots")]
    blob = [cache.root.joinpath(*cache.blob_components(damaged.blob))] if damaged.blob else []
    for path in (damaged.real, *blob, *names):
        if is_inside(path, cache.root) and (path.is_symlink() or path.is_file()):
            path.unlink()


def _damaged_files(gathered: Gathered, recorder: Recorder) -> list[tuple[LocalRepo, SnapshotFile]]:
    """Hash every file whose blob's name tells its content; those that differ, each with its repo."""
    recorder.phase("check")
    found: list[tuple[LocalRepo, SnapshotFile]] = []

    def check(item: tuple[LocalRepo, SnapshotFile]) -> None:
        file = item[1]
        if file.blob is not None and _hash(file.real, file.blob) != file.blob:
            found.append(item)

    files = [(repo, file) for repo in gathered.repos for file in repo.files]
    for_each(check, files, threads=4)
    return found


def _hash(path: Path, blob: str) -> str:
    with open_binary(path) as file:
        running = blob_hash(blob, os.fstat(file.fileno()).st_size)
        while block := file.read(_BLOCK):
            running.update(block)
    return running.hexdigest()
