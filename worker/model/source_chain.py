"""From where a worker's model comes: the store, each mirror, this machine, and Hugging Face at last."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cas
from cas.bucket import RetryPolicy
from cas.config import hub_endpoint
from cas.errors import (
    CacheError,
    CasError,
    ChunkMissing,
    FormatError,
    InputError,
    IntegrityError,
    ManifestMissing,
    NotFoundError,
    RefUnset,
    SignatureError,
    StoreError,
    StoreMissing,
)
from cas.ops.restore.receipts import PhaseTime, ReceiptWriter
from cas.refs.reference import DEFAULT_TAG, Reference, Resolved, resolve
from cas.refs.selection import Choice, choose
from cas.store.store import Store, open_store
from worker.boot import directories, environment
from worker.boot.directories import RankedDirectory
from worker.boot.messages import Bytes, Ended, Restored, Source
from worker.boot.settings import Settings
from worker.model.recorder import Recorder

if TYPE_CHECKING:
    from worker.model.hub_download import DownloadedModel

_DAMAGE = (IntegrityError, FormatError, SignatureError, ChunkMissing)
_SWITCHED_OFF = "ENABLE_S3_MODEL_CACHE is false"
_RECEIPT_WITHIN = 3.0
_READ_ONLY = ("https://", "http://")

# There is somebody else to ask: less patient than a command whose only hope the store is.
_PATIENCE = RetryPolicy(give_up=60.0)

Told = Callable[[Restored], None]


class NoSource(StoreError):
    """Neither a store nor the hub has a model for this worker. hub_away: whether the hub could not be asked."""

    def __init__(self, causes: Sequence[str], *, hub_away: bool = False) -> None:
        super().__init__("; ".join(causes))
        self.causes, self.hub_away = tuple(causes), hub_away


class Chain:
    """One walk down the chain.

    paths: directories that passed the checks, in the order of CAS_CACHE_DIRS. ended: waits until the worker can use
    what it was told of, or cannot; None when nobody knows.
    """

    def __init__(
        self, settings: Settings, paths: Sequence[Path], recorder: Recorder, ended: Callable[[], Ended | None]
    ) -> None:
        self._settings, self._paths, self._recorder, self._ended = settings, paths, recorder, ended
        self._choice: Choice | None = None
        self._resolved: Resolved | None = None
        self._causes: list[str] = []
        self._unpublished = False
        self._damaged = self._silent = self._absent = self._refused = False

    def walk(self, tell: Told) -> None:
        """Brings the model here, and calls `tell` as soon as it is; ends what can wait after that.

        Raises InputError for settings that cannot be, NoSource when nobody has it, CacheError when no directory takes
        it, and what reading a lock file raises.
        """
        if self._settings.local:
            self._choose(None)
            assert self._choice
            if self._choice.lock is not None:
                version = self._choice.version()
                assert isinstance(version, Resolved)
                self._resolved = version
        if not self._settings.enabled:
            self._causes.append(_SWITCHED_OFF)
        elif self._settings.no_store:
            self._causes.append(self._settings.no_store)
        for kind, url in self._sources():
            try:
                store = open_store(url, policy=_PATIENCE)
            except (StoreError, CacheError) as error:  # of a later CacheError this machine's directories are the cause
                self._step_down(kind, url, error)
                continue
            try:
                self._from_store(kind, store, tell)
                return
            except (NotFoundError, StoreError, *_DAMAGE) as error:
                self._step_down(kind, url, error)
        if self._settings.enabled and self._from_here(tell):
            return
        try:
            self._from_hub(tell)
        except NoSource as none:
            if self._settings.enabled or not none.hub_away or not self._from_here(tell):
                raise

    def _sources(self) -> list[tuple[Source, str]]:
        if not self._settings.enabled:
            return []
        stores: list[tuple[Source, str]] = [("store", self._settings.store)] if self._settings.store else []
        return [*stores, *(("mirror", url) for url in self._settings.mirrors)]

    def _step_down(self, kind: Source, url: str, error: CasError) -> None:
        text = f"{kind} {url}: {error}"
        self._causes.append(text)
        if isinstance(error, _DAMAGE) or self._lost(kind, error):
            self._damaged = True
            self._recorder.error(f"{text}; trying what comes next")
        else:
            self._recorder.warn(f"{text}; trying what comes next")
            self._absent |= isinstance(error, NotFoundError)
            self._silent |= not isinstance(error, NotFoundError)
        if isinstance(error, NotFoundError) and self._resolved is None:
            # A mirror may lag behind: what it lacks, the store may have.
            self._refused |= kind == "store" or not self._settings.store
        if kind == "store" and isinstance(error, StoreMissing | RefUnset):
            # Anything else, such as a tag that was removed, is somebody's choice, or damage to be looked into.
            self._unpublished = self._choice is not None and _is_latest(self._choice)

    def _why(self) -> str:
        """Why it comes from no store, in words."""
        if not self._settings.enabled or not self._sources():
            return f"no store was asked ({self._settings.no_store if self._settings.enabled else _SWITCHED_OFF})"
        if self._damaged:
            return "what the stores hold is damaged or unknown"
        if self._silent:
            return "no store that answered has it" if self._absent else "no store answered"
        return "the store does not have it" if len(self._sources()) == 1 else "no store has it"

    def _lost(self, kind: Source, error: CasError) -> bool:
        """Whether a ref of this very store names a version that it does not hold."""
        if not isinstance(error, ManifestMissing) or self._choice is None or self._choice.parsed is None:
            return False
        by_pin = kind == "store" and not self._settings.local
        return by_pin or self._choice.parsed.digest is None

    def _choose(self, store: Store | None) -> None:
        if self._choice is None:
            self._choice = choose(os.environ, model=self._settings.model, default_lock=self._settings.lock, store=store)

    def _from_store(self, kind: Source, store: Store, tell: Told) -> None:
        self._recorder.phase("resolve")
        self._choose(store)
        assert self._choice
        if self._resolved is None:
            assert self._choice.parsed is not None, "a lock file says without a store which version it holds"
            self._resolved = self._known(self._choice.parsed) or resolve(store, self._choice.parsed)
        with contextlib.ExitStack() as stack:
            listen = self._recorder.listen
            writer = None
            if self._settings.receipt and not store.url.startswith(_READ_ONLY):
                options = {"reason": self._choice.reason, "timeout": _RECEIPT_WITHIN}
                writer = stack.enter_context(ReceiptWriter(store, listen, **options))  # type: ignore[arg-type]
                listen = writer.listen
            directory, done = self._restore(self._resolved, store, listen)
            if writer:
                writer.finished(done)
            tell(self._outcome(kind, store.url, directory, done, self._choice.reason))
            if self._choice.lock is None:
                with contextlib.suppress(CasError):
                    directories.write_last_version(directory.path, self._resolved, store)
            if writer:
                boot = self._ended() or Ended(())
                phases = (PhaseTime(step.name, round(step.seconds, 6)) for step in boot.steps)
                writer.boot(phases, str(directory.path), directory.reason, boot.failure)

    def _known(self, reference: Reference) -> Resolved | None:
        """A version named by its digest that a directory was given before: no store need be asked for it."""
        found = (directories.last_version(path, self._settings.model) for path in self._paths)
        return next((version for version in found if version and version.digest == reference.digest), None)

    def _restore(
        self, version: Resolved, store: Store, listen: cas.events.Listener
    ) -> tuple[RankedDirectory, cas.Restored]:
        ranked, small = directories.rank(self._paths, version.manifest)
        problems = [f"{finding.path}: {finding.problem}" for finding in small]
        for problem in problems:
            self._recorder.warn(f"{problem}; trying the next directory")
        for directory in ranked:
            environment.apply(directory.path)
            seeds = [*self._settings.seeds, *(path for path in self._paths if path != directory.path and path.is_dir())]
            try:
                return directory, cas.restore(
                    version, store, cache_dir=environment.hub_of(directory.path), seeds=seeds, on_event=listen
                )
            except CacheError as error:
                problems.append(f"{directory.path}: {error}")
                self._recorder.warn(f"{problems[-1]}; trying the next directory")
        raise CacheError(f"no directory of CAS_CACHE_DIRS takes {version.exact}: {'; '.join(problems)}")

    def _from_here(self, tell: Told) -> bool:
        """Takes a version that is here, complete and verified; False when there is none that will do.

        Where the store says that what somebody asked for by name is not there, no other version will.
        """
        named = self._choice is not None and not _is_latest(self._choice)
        found = [(path, self._resolved or directories.last_version(path, self._settings.model)) for path in self._paths]
        for path, version in found:
            exact = self._choice.parsed.digest if self._choice and self._choice.parsed else None
            if version is None or (exact and not version.digest.startswith(exact)):
                continue
            if named and self._refused and not (exact or self._resolved):
                continue
            if directories.missing(version.manifest, path):
                continue
            try:
                directory, done = self._restore(version, open_store("memory:"), self._recorder.listen)
            except CasError:
                continue
            reason = self._choice.reason if self._choice and self._resolved else "the last one that was restored here"
            self._recorder.warn(f"{self._why()}: running {version.exact}, which is in {path}, verified")
            tell(self._outcome("here", str(path), directory, done, reason))
            return True
        return False

    def _from_hub(self, tell: Told) -> None:
        # huggingface_hub takes half a second to import: only where it is needed.
        from cas.hub.source import Source as HubSource
        from worker.model.hub_download import HubFailed, download_model

        try:
            source = HubSource.from_file(self._settings.source)
        except InputError as error:
            if not self._causes:
                raise
            raise NoSource([*self._causes, f"Hugging Face: {error}"], hub_away=True) from error
        instead = f" instead of {self._choice}" if self._choice else ""
        self._recorder.warn(f"taking the model from Hugging Face{instead}, as {self._why()}")
        try:
            downloaded = download_model(source, self._paths, self._settings.seeds, self._recorder)
        except HubFailed as error:
            raise NoSource([*self._causes, f"Hugging Face: {error}"], hub_away=error.away) from error
        except IntegrityError as error:
            raise IntegrityError("; ".join([*self._causes, f"Hugging Face: {error}"])) from error
        tell(self._downloaded(downloaded))

    def _outcome(
        self, source: Source, where: str, directory: RankedDirectory, done: cas.Restored, reason: str
    ) -> Restored:
        return Restored(
            source=source,
            where=where,
            directory=str(directory.path),
            directory_reason=directory.reason,
            version=done.reference,
            version_reason=reason,
            snapshots=done.snapshots,
            complete=True,
            publish=False,
            bytes=Bytes(
                total=done.total,
                fetched=done.fetched,
                wire=done.wire,
                reused=done.reused,
                present=max(0, done.total - done.fetched - done.reused),
            ),
            steps=self._recorder.steps(),
            warnings=tuple(self._recorder.warnings),
            errors=tuple(self._recorder.errors),
        )

    def _downloaded(self, downloaded: DownloadedModel) -> Restored:
        total, moved = downloaded.count_bytes()
        return Restored(
            source="hub",
            where=hub_endpoint(),
            directory=str(downloaded.directory.path),
            directory_reason=downloaded.directory.reason,
            version="",
            version_reason="what Hugging Face has as main",
            snapshots=downloaded.snapshots(),
            complete=False,
            publish=self._settings.publish and self._unpublished and downloaded.hub_answered,
            bytes=Bytes(total=total, downloaded=moved, present=total - moved),
            steps=self._recorder.steps(),
            warnings=tuple(self._recorder.warnings),
            errors=tuple(self._recorder.errors),
        )


def _is_latest(choice: Choice) -> bool:
    """Whether the version is whatever is newest: a publish must not move past one that somebody has chosen."""
    return choice.parsed is not None and choice.parsed.tag == DEFAULT_TAG
