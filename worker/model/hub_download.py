"""The model from Hugging Face, with the check that its own client leaves out: that files are what their names say."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cas import events
from cas.config import CacheDirs
from cas.errors import AccessDenied, CacheError, CasError, DiskFull, IntegrityError, NotFoundError, StoreError
from cas.hub.download import HubFile
from cas.hub.gather import Gathered, gather
from cas.hub.source import Source, matching
from cas.local.hf_cache import RepoCache, SnapshotFile, blob_hash
from cas.parallel import for_each
from worker.boot import environment
from worker.boot.directories import RankedDirectory
from worker.model import hub_space
from worker.model.recorder import Recorder

_PIECE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Brought:
    """The model, and where it is. begun: when its download began, by the clock of files. asked: False when the hub was
    of no use, and what another program had downloaded has to do.
    """

    gathered: Gathered
    directory: RankedDirectory
    begun: float
    asked: bool = True

    def bytes(self) -> tuple[int, int]:
        """Of all its files, and of those that were downloaded just now."""
        found = [os.stat(file.real) for repo in self.gathered.repos for file in repo.files]
        return sum(one.st_size for one in found), sum(one.st_size for one in found if one.st_mtime >= self.begun)

    def snapshots(self) -> dict[str, str]:
        """The folder of each repo by its id."""
        hub = environment.hub_of(self.directory.path)
        return {
            repo.repo_id: str(RepoCache(hub, repo.repo_type, repo.repo_id).root / "snapshots" / str(repo.commit))
            for repo in self.gathered.repos
        }


class HubFailed(StoreError):
    """The hub did not give the model, and no directory has all of it. away: whether it could not be asked."""

    def __init__(self, text: str, *, away: bool) -> None:
        super().__init__(text)
        self.away = away


def take(source: Source, paths: Sequence[Path], seeds: Sequence[Path], recorder: Recorder) -> Brought:
    """The model in the first of `paths` that takes it; one that has it already comes before the others.

    seeds: hub caches of other programs. One that has it all does when the hub cannot be reached, and stays as it is.
    Raises InputError, HubFailed, IntegrityError for files that arrive damaged, CacheError when no directory takes them.
    """
    holding = [path for path in paths if complete(source, environment.hub_of(path))]
    ordered = [*holding, *(path for path in paths if path not in holding)]
    files = hub_space.listed(source)
    problems: list[str] = []
    failed: list[tuple[Path, CasError]] = []
    damaged: IntegrityError | None = None
    for at, path in enumerate(ordered):
        if damaged and path not in holding:
            continue  # it would arrive there no better
        environment.apply(path)
        begun = time.time()
        try:
            gathered = _into(path, source, files, recorder)
        except CacheError as error:
            problems.append(f"{path}: {error}")
            recorder.warn(f"{problems[-1]}; trying the next directory")
        except AccessDenied as error:
            raise HubFailed(str(error), away=False) from error
        except (StoreError, NotFoundError) as error:
            # The hub's client goes without it where a directory has all that it last heard of.
            failed.append((path, error))
            if path != ordered[-1]:
                recorder.warn(f"{error}; trying the next directory")
        except IntegrityError as error:
            damaged = error
        else:
            first = "first of CAS_CACHE_DIRS that passes the checks" if not at else "next of CAS_CACHE_DIRS"
            reason = "it holds what was downloaded before" if path in holding else first
            return Brought(gathered, RankedDirectory(path, reason), begun)
    if damaged:
        raise damaged
    if not failed:
        raise CacheError(f"no directory of CAS_CACHE_DIRS takes the model: {'; '.join(problems)}")
    away = files is None or any(isinstance(error, StoreError) for _, error in failed)
    if away and (found := _of_others(source, seeds, recorder)):
        return found
    others = f" (nor in {', '.join(str(path) for path, _ in failed[1:])})" if failed[1:] else ""
    raise HubFailed("; ".join([f"{failed[0][1]}{others}", *problems]), away=away) from failed[0][1]


def _into(path: Path, source: Source, files: Sequence[HubFile] | None, recorder: Recorder) -> Gathered:
    """As `bring`; raises CacheError where the files do not fit, and leaves none of them behind then."""
    hub = environment.hub_of(path)
    # Of files that the hub does not list nobody knows more than that they take up room, unless they are here.
    if (files is not None or not complete(source, hub)) and (problem := hub_space.problem(files, path)):
        raise CacheError(problem)
    before = hub_space.content(source, hub)
    try:
        return bring(source, CacheDirs(hub, path), recorder)
    except (CacheError, StoreError) as error:
        if not hub_space.says_full(error):
            raise
        hub_space.remove_new(source, hub, before)
        raise DiskFull(str(error)) from error


def complete(source: Source, hub: Path) -> bool:
    """Whether a hub cache has every file of `source`, of whatever commit it last heard of."""
    try:
        for repo in source.repos:
            cache = RepoCache(hub, repo.repo_type, repo.repo_id)
            commit = cache.commit_of(repo.revision)
            held = {file.path for file in cache.snapshot_files(commit)}
            chosen = matching(cache.tree_listing(commit).keys() | held, repo.include, repo.repo_id)
            if not chosen or not chosen <= held:
                return False
    except (CasError, OSError):
        return False
    return True


def _of_others(source: Source, seeds: Sequence[Path], recorder: Recorder) -> Brought | None:
    """What another program downloaded, where all of it is what its names say. Nothing of it is touched."""
    for hub in seeds:
        if hub != environment.hub_of(hub.parent) or not complete(source, hub):
            continue
        try:
            gathered = gather(source, CacheDirs(hub, hub.parent), events.ignore, download=False)
            nameless = [file.real for repo in gathered.repos for file in repo.files if file.blob is None]
            damaged = [file.real for _, file in _damaged(gathered, recorder)]
        except (CasError, OSError):
            continue
        if wrong := [*nameless, *damaged]:
            recorder.warn(f"{wrong[0]} cannot be verified: {hub} is of no use")
            continue
        recorder.warn(f"Hugging Face cannot be reached: running what {hub} holds, verified")
        return Brought(
            gathered, RankedDirectory(hub.parent, "it holds what the platform downloaded"), time.time(), asked=False
        )
    return None


def bring(source: Source, dirs: CacheDirs, recorder: Recorder) -> Gathered:
    """Downloads what is missing, and once more what is damaged.

    Raises InputError, NotFoundError, StoreError when the hub does not answer and the cache has not all of it,
    CacheError, or IntegrityError for a file that stays damaged.
    """
    gathered = gather(source, dirs, recorder.listen, download=True)
    damaged = _damaged(gathered, recorder)
    if not damaged:
        return gathered
    for repo, file in damaged:
        recorder.error(f"{file.real} is not what its name says ({file.path} of {repo}): downloading it again")
        file.real.unlink(missing_ok=True)
        for link in dirs.hub.glob(f"models--{repo.replace('/', '--')}/snapshots/*/{file.path}"):
            link.unlink()
    gathered = gather(source, dirs, recorder.listen, download=True)
    if damaged := _damaged(gathered, recorder):
        repo, file = damaged[0]
        raise IntegrityError(
            f"{file.path} of {repo} arrives damaged from the hub: look at HF_ENDPOINT and what stands in front of it"
        )
    return gathered


def _damaged(gathered: Gathered, recorder: Recorder) -> list[tuple[str, SnapshotFile]]:
    recorder.phase("check")
    found: list[tuple[str, SnapshotFile]] = []

    def look(item: tuple[str, SnapshotFile]) -> None:
        file = item[1]
        if file.blob is not None and _hash(file.real, file.blob) != file.blob:
            found.append(item)

    files = [(repo.repo_id, file) for repo in gathered.repos for file in repo.files]
    for_each(look, files, threads=4)
    return found


def _hash(path: Path, blob: str) -> str:
    with path.open("rb") as file:
        running = blob_hash(blob, os.fstat(file.fileno()).st_size)
        while piece := file.read(_PIECE):
            running.update(piece)
    return running.hexdigest()
