"""Where a worker's model comes from: the store, each mirror, this machine, and Hugging Face last.

    the version is known without a store (CAS_MODEL, CAS_LOCK, a lock file in the image)?  choose it
    for the store, then each mirror:
        choose the version if that is still open (the store has the pins), restore it from there, done
    a complete, verified version on this machine?   run it, done
    Hugging Face                                    download it, done

Each step down is one warning with its cause. With stores switched off, Hugging Face comes before this machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cas
from cas.bucket import RetryPolicy
from cas.config import hub_endpoint
from cas.errors import CacheError, CasError, InputError, IntegrityError, NotFoundError, StoreError
from cas.events import Listener
from cas.ops.restore.receipts import PhaseTime, ReceiptWriter
from cas.refs.reference import Reference, Resolved, resolve
from worker.boot import directories, environment
from worker.boot.directories import RankedDirectory
from worker.boot.messages import Bytes, Ended, Restored, Source
from worker.boot.settings import Settings
from worker.model.failed_sources import DAMAGE, FailedSources, is_latest
from worker.model.recorder import Recorder

if TYPE_CHECKING:
    from worker.model.hub_download import DownloadedModel

_RECEIPT_WITHIN = 3.0  # seconds
_READ_ONLY = ("https://", "http://")

# Gives up sooner than a command does: a command has no other source to turn to.
_POLICY = RetryPolicy(give_up=60.0)

Report = Callable[[Restored], None]


class NoSource(StoreError):
    """No source has a model for this worker.

    Attributes:
        causes: what each source said.
        hub_away: whether the hub could not be reached.
    """

    def __init__(self, causes: Sequence[str], *, hub_away: bool = False) -> None:
        super().__init__("; ".join(causes))
        self.causes, self.hub_away = tuple(causes), hub_away


class SourceChain:
    """One walk down the chain of sources."""

    def __init__(
        self, settings: Settings, paths: Sequence[Path], recorder: Recorder, ended: Callable[[], Ended | None]
    ) -> None:
        """Prepare a walk; nothing is read yet.

        Args:
            settings: what the environment asks for.
            paths: directories that passed the checks, in the order of CAS_CACHE_DIRS.
            recorder: gets phases, warnings and errors.
            ended: waits for the worker's reply that it can speak, or cannot; None when the worker is gone.
        """
        self._settings, self._paths, self._recorder, self._ended = settings, paths, recorder, ended
        self._failed = FailedSources(settings, recorder)
        self._choice: cas.Choice | None = None
        self._resolved: Resolved | None = None

    def walk(self, report: Report) -> None:
        """Bring the model to this machine, and then do what can wait until the worker speaks.

        Args:
            report: called as soon as the model is here.

        Raises:
            InputError: a setting is wrong.
            NoSource: no source has the model.
            CacheError: no directory takes it.
            CasError: a lock file cannot be used.
        """
        if self._settings.local:
            self._choose(None)
            assert self._choice
            if self._choice.lock is not None:
                version = self._choice.version()
                assert isinstance(version, Resolved)
                self._resolved = version
        for kind, url in self._settings.stores():
            try:
                store = cas.open_store(url, policy=_POLICY)
            except (StoreError, CacheError) as error:
                self._failed.add(kind, url, error, self._choice, resolved=self._resolved is not None)
                continue
            # A CacheError from here on is the fault of this machine's directories: the next store would not help.
            try:
                self._from_store(kind, store, report)
                return
            except (NotFoundError, StoreError, *DAMAGE) as error:
                self._failed.add(kind, url, error, self._choice, resolved=self._resolved is not None)
        if self._settings.enabled and self._from_this_machine(report):
            return
        try:
            self._from_hub(report)
        except NoSource as none:
            if self._settings.enabled or not none.hub_away or not self._from_this_machine(report):
                raise

    def _choose(self, store: cas.Store | None) -> None:
        if self._choice is None:
            model, lock = self._settings.model, self._settings.lock
            self._choice = cas.choose(os.environ, model=model, default_lock=lock, store=store)

    def _from_store(self, kind: Source, store: cas.Store, report: Report) -> None:
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
                reason = self._choice.reason
                writer = stack.enter_context(ReceiptWriter(store, listen, reason=reason, timeout=_RECEIPT_WITHIN))
                listen = writer.listen
            directory, done = self._restore(self._resolved, store, listen)
            if writer:
                writer.finished(done)
            report(self._restored(kind, store.url, directory, done, self._choice.reason))
            if self._choice.lock is None:
                with contextlib.suppress(CasError):
                    directories.write_last_version(directory.path, self._resolved, store)
            if writer:
                boot = self._ended() or Ended(())
                phases = (PhaseTime(step.name, round(step.seconds, 6)) for step in boot.steps)
                writer.boot(phases, str(directory.path), directory.reason, boot.failure)

    def _known(self, reference: Reference) -> Resolved | None:
        """Return a version named by its digest if a directory had it last: then no store need be read for it."""
        found = (directories.last_version(path, self._settings.model) for path in self._paths)
        return next((version for version in found if version and version.digest == reference.digest), None)

    def _restore(self, version: Resolved, store: cas.Store, listen: Listener) -> tuple[RankedDirectory, cas.Restored]:
        ranked, small = directories.rank(self._paths, version.manifest)
        problems = [f"{finding.path}: {finding.problem}" for finding in small]
        for problem in problems:
            self._recorder.warn(f"{problem}; trying the next directory")
        for directory in ranked:
            environment.apply(directory.path)
            hub = environment.hub_of(directory.path)
            others = (path for path in self._paths if path != directory.path and path.is_dir())
            seeds = [*self._settings.seeds, *others]
            try:
                return directory, cas.restore(version, store, cache_dir=hub, seeds=seeds, on_event=listen)
            except CacheError as error:
                problems.append(f"{directory.path}: {error}")
                self._recorder.warn(f"{problems[-1]}; trying the next directory")
        raise CacheError(f"no directory of CAS_CACHE_DIRS takes {version.exact}: {'; '.join(problems)}")

    def _from_this_machine(self, report: Report) -> bool:
        """Run a version that a directory has, complete and verified; False when no version will do.

        Where the store says that it does not have a version that was asked for by name, no other version will do.
        """
        named = self._choice is not None and not is_latest(self._choice)
        exact = self._choice.parsed.digest if self._choice and self._choice.parsed else None
        for path in self._paths:
            version = self._resolved or directories.last_version(path, self._settings.model)
            if version is None or (exact and not version.digest.startswith(exact)):
                continue
            if named and self._failed.refused and not (exact or self._resolved):
                continue
            if directories.missing(version.manifest, path):
                continue
            try:
                # Nothing is missing, so the empty store is never read.
                directory, done = self._restore(version, cas.open_store("memory:"), self._recorder.listen)
            except CasError:
                continue
            reason = self._choice.reason if self._choice and self._resolved else "the last one that was restored here"
            self._recorder.warn(f"{self._failed.why()}: running {version.exact}, which is in {path}, verified")
            report(self._restored("here", str(path), directory, done, reason))
            return True
        return False

    def _from_hub(self, report: Report) -> None:
        # huggingface_hub takes half a second to import: only where it is needed.
        from cas.hub.source import Source as HubSource
        from worker.model.hub_download import HubFailed, download_model

        causes = self._failed.causes
        try:
            source = HubSource.from_file(self._settings.source)
        except InputError as error:
            if not causes:
                raise
            raise NoSource([*causes, f"Hugging Face: {error}"], hub_away=True) from error
        instead = f" instead of {self._choice}" if self._choice else ""
        self._recorder.warn(f"taking the model from Hugging Face{instead}, as {self._failed.why()}")
        try:
            downloaded = download_model(source, self._paths, self._settings.seeds, self._recorder)
        except HubFailed as error:
            raise NoSource([*causes, f"Hugging Face: {error}"], hub_away=error.away) from error
        except IntegrityError as error:
            raise IntegrityError("; ".join([*causes, f"Hugging Face: {error}"])) from error
        report(self._downloaded(downloaded))

    def _restored(
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
            publish=self._settings.publish and self._failed.unpublished and downloaded.hub_answered,
            bytes=Bytes(total=total, downloaded=moved, present=total - moved),
            steps=self._recorder.steps(),
            warnings=tuple(self._recorder.warnings),
            errors=tuple(self._recorder.errors),
        )
