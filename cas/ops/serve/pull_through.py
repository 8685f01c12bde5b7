"""Pull-through: what the store lacks comes from an upstream hub, is sent on while it arrives, and is published.

find      ask the hub what a revision is, with the caller's token; the answer counts for a minute, and longer while
          the hub is away
admit     of a gated or private repo: ask the hub whether this caller may read it
read      fetch a file once (cas/ops/serve/pulls.py)
publish   when nothing of the repo has been fetched for some seconds: all files of the commit that are here, beside
          those that the tag's version has
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from cas import events
from cas.errors import AccessDenied, CasError, StoreError
from cas.formats.digest import Buffer
from cas.formats.manifest import Repo, RepoFile
from cas.hub.upstream import Upstream, UpstreamRepo
from cas.local.hf_cache import is_commit
from cas.ops.serve import pulled_version
from cas.ops.serve.metrics import Metrics
from cas.ops.serve.pulls import Pulls

SETTLE_SECONDS = 3.0
"""How long nothing of a repo is fetched before it is published: clients ask for files one after the other."""

_FRESH_SECONDS = 60.0  # an answer about a branch
_ADMITTED_SECONDS = 300.0  # an answer about a caller
_AWAY_SECONDS = 24 * 3600.0  # the same, while the hub is away
_REFUSED_SECONDS = 10.0
_AGAIN_SECONDS = 600.0  # before a publish that failed is tried again
_MOST_ANSWERS = 4096
_MOST_REFS = 64  # of a repo in a manifest


class PulledRepo(NamedTuple):
    """What is to be published.

    Attributes:
        model: the model's name.
        repo: the repo, with those of the commit's files that are in the folder.
        hub: the folder, a hub cache.
        annotations: of the manifest.
    """

    model: str
    repo: Repo
    hub: Path
    annotations: dict[str, str]


class Publish(Protocol):
    """Publishes what was pulled, beside the files of the same commit that the tag's version has. It blocks."""

    def __call__(self, pulled: PulledRepo) -> str:
        """Return the version's reference."""


class _Answer(NamedTuple):
    at: float
    found: UpstreamRepo


class _Admission(NamedTuple):
    at: float
    admitted: bool


_Key = tuple[str, str, str]  # a repo's type and id, and a commit


class PullThrough:
    """What a server has from its upstream hub; all methods are of one event loop.

    Args:
        upstream: the hub.
        folder: for the files that are being fetched, and until they are published.
        limit: the most bytes of files that could not be published; above it, they are removed.
        publish: publishes them.
        held: the files that the store has of a repo at its commit; called in threads.
        listen: told of what was published, and of failures.
        published: called in a thread after a publish.
        metrics: counts.
        settle: as SETTLE_SECONDS.
    """

    def __init__(
        self,
        upstream: Upstream,
        folder: Path,
        limit: int,
        publish: Publish,
        held: Callable[[Repo], Sequence[RepoFile]],
        listen: events.Listener,
        published: Callable[[], None],
        metrics: Metrics,
        settle: float = SETTLE_SECONDS,
    ) -> None:
        self._upstream, self._folder, self._limit, self._publish, self._held = upstream, folder, limit, publish, held
        self._listen, self._published, self._metrics, self._settle = listen, published, metrics, settle
        self._pulls = Pulls(upstream, folder, metrics.upstream_bytes.inc, self._pulled)
        self._answers: dict[tuple[str, str, str, bytes], _Answer] = {}
        self._asking: dict[tuple[str, str, str, bytes], asyncio.Future[UpstreamRepo]] = {}
        self._admitted: dict[tuple[str, str, bytes], _Admission] = {}
        self._branches: dict[tuple[str, str], dict[str, str]] = {}
        self._commits: dict[_Key, UpstreamRepo] = {}
        self._arrived: dict[_Key, dict[str, RepoFile]] = {}
        self._timers: dict[_Key, asyncio.TimerHandle] = {}
        self._not_before: dict[_Key, float] = {}
        self._publishing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, repo_type: str, repo_id: str, revision: str, token: str) -> UpstreamRepo:
        """Return what the hub has, asked in this caller's name; what it said before, while it is away.

        Raises:
            CasError: as Upstream.find.
        """
        key = (repo_type, repo_id, revision, _hashed(token))
        known = self._answers.get(key)
        if known and (is_commit(revision) or time.monotonic() - known.at < _FRESH_SECONDS):
            return known.found
        asking = self._asking.get(key)
        if asking is None:  # many callers at once are one request
            asking = self._asking[key] = asyncio.ensure_future(self._upstream.find(repo_type, repo_id, revision, token))
            asking.add_done_callback(lambda done: self._asked(key, done))
        try:
            found = await asyncio.shield(asking)
        except StoreError as error:
            if known is None or isinstance(error, AccessDenied):
                raise
            return known.found
        for same in (key, (repo_type, repo_id, found.repo.commit, _hashed(token))):  # clients ask for the commit next
            _make_space(self._answers)
            self._answers[same] = _Answer(time.monotonic(), found)
        if found.repo.refs:
            _make_space(self._branches)
            told = self._branches.setdefault((repo_type, repo_id), {})
            told |= dict.fromkeys(found.repo.refs, found.repo.commit)
        return found

    async def may_read(self, repo: Repo, token: str) -> bool:
        """Return whether the hub gives a repo's files to this caller.

        Raises:
            StoreError: the hub is away, and has not said so within a day.
        """
        key = (repo.repo_type, repo.repo_id, _hashed(token))
        known = self._admitted.get(key)
        age = time.monotonic() - known.at if known else 0.0
        if known and age < (_ADMITTED_SECONDS if known.admitted else _REFUSED_SECONDS):
            return known.admitted
        # The largest: a hub may give a gated repo's README to everybody.
        path = max(repo.files, key=lambda file: file.size).path if repo.files else None
        try:
            admitted = path is None or await self._upstream.may_read(repo, path, token)
        except StoreError:
            if known is None or not known.admitted or age > _AWAY_SECONDS:
                raise
            return True
        _make_space(self._admitted)
        self._admitted[key] = _Admission(time.monotonic(), admitted)
        return admitted

    def read(
        self, found: UpstreamRepo, file: RepoFile, start: int, stop: int, token: str
    ) -> AsyncGenerator[Buffer, None]:
        """The bytes of a file from `start` up to `stop`; see Pulls.read."""
        self._commits[_key(found.repo)] = found
        return self._pulls.read(found.repo, file, start, stop, token)

    async def close(self) -> None:
        """Publish what has arrived, and end what is under way."""
        for key in list(self._timers):
            self._timers.pop(key).cancel()
            await self._publish_arrived(key)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pulls.close()
        await self._upstream.close()

    def _asked(self, key: tuple[str, str, str, bytes], done: asyncio.Future[UpstreamRepo]) -> None:
        del self._asking[key]
        if not done.cancelled():
            done.exception()  # told to who waits; nobody may

    def _with_branches(self, repo: Repo) -> Repo:
        """A repo with the branches that mean its commit, as far as the hub told them."""
        told = self._branches.get((repo.repo_type, repo.repo_id))
        if told is None:
            return repo
        refs = [ref for ref, commit in told.items() if commit == repo.commit]
        refs = sorted(refs, key=lambda ref: ref != pulled_version.MAIN)[:_MOST_REFS]
        return msgspec.structs.replace(repo, refs=tuple(sorted(refs)))

    def _pulled(self, repo: Repo, file: RepoFile) -> None:
        self._arrived.setdefault(_key(repo), {})[file.path] = file
        self._publish_later(_key(repo))

    def _publish_later(self, key: _Key) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
        wait = max(self._settle, self._not_before.get(key, 0.0) - time.monotonic())
        self._timers[key] = asyncio.get_running_loop().call_later(wait, self._start_publish, key)

    def _start_publish(self, key: _Key) -> None:
        if self._pulls.is_busy(self._commits[key].repo):
            self._publish_later(key)
            return
        del self._timers[key]
        task = asyncio.get_running_loop().create_task(self._publish_arrived(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _publish_arrived(self, key: _Key) -> None:
        """Publish a repo's files that are here, and remove them: the store has them from then on."""
        async with self._publishing:
            found, arrived = self._commits[key], dict(self._arrived.get(key, {}))
            for path in await asyncio.to_thread(self._gone, found.repo, arrived):
                self._arrived.get(key, {}).pop(path, None)
                del arrived[path]
            if not arrived:
                return
            try:
                done = await asyncio.to_thread(self._publish_files, found, arrived)
            except Exception as error:
                why = str(error) if isinstance(error, CasError) else f"unexpected {type(error).__name__}: {error}"
                self._listen(events.Warned(f"{key[1]} from {self._upstream.url} is not published: {why}"))
                self._metrics.pulled.labels("failed").inc()
                self._not_before[key] = time.monotonic() + _AGAIN_SECONDS
                await asyncio.to_thread(self._forget_unpublished)
                if isinstance(error, StoreError) and not isinstance(error, AccessDenied):
                    self._publish_later(key)  # the store is away: that passes
                return
            self._not_before.pop(key, None)
        for path in arrived:
            self._arrived.get(key, {}).pop(path, None)
        self._metrics.pulled.labels("ok").inc()
        self._listen(events.Ended(f"published {len(arrived)} files of {key[1]}@{key[2][:12]} as {done}"))

    def _gone(self, repo: Repo, files: Mapping[str, RepoFile]) -> list[str]:
        """The paths of files that were removed, as a publish of another file with the same content does."""
        gone = tuple(file for file in files.values() if not self._pulls.is_here(repo, file))
        self._pulls.remove(msgspec.structs.replace(repo, files=gone))  # their links, which a publish would follow
        return [file.path for file in gone]

    def _forget_unpublished(self) -> None:
        """Remove what could not be published where it takes too much space, the oldest first: it is fetched again."""
        for key in list(self._not_before):
            if sum(file.size for files in self._arrived.values() for file in files.values()) <= self._limit:
                return
            files = tuple(self._arrived.pop(key, {}).values())
            del self._not_before[key]
            self._pulls.remove(msgspec.structs.replace(self._commits[key].repo, files=files))

    def _publish_files(self, found: UpstreamRepo, arrived: dict[str, RepoFile]) -> str:
        repo = self._with_branches(found.repo)
        empty = [file for file in repo.files if not file.size]
        for file in empty:
            self._pulls.add_empty(repo, file)
        here = {**arrived, **{file.path: file for file in empty}}
        there = {file.path for file in self._held(repo)}
        lacks = [file for file in repo.files if file.path not in here and file.path not in there]
        annotations = pulled_version.annotations_for(self._upstream.url, found.access, lacks)
        if annotations is None:
            raise StoreError("too many of the commit's files were not asked for yet to be written down")
        part = msgspec.structs.replace(repo, files=tuple(here.values()))
        done = self._publish(PulledRepo(pulled_version.model_name(repo), part, self._folder, annotations))
        self._published()
        self._pulls.remove(part)
        return done


def _key(repo: Repo) -> _Key:
    return repo.repo_type, repo.repo_id, repo.commit


def _hashed(token: str) -> bytes:
    """What stands for a token in memory that outlives its request."""
    return hashlib.sha256(token.encode()).digest()


def _make_space(memory: dict[Any, Any]) -> None:
    """Forget the oldest of too many answers."""
    while len(memory) >= _MOST_ANSWERS:
        del memory[next(iter(memory))]
