"""Where a worker's model comes from: the store, each mirror, this machine, and Hugging Face last.

    the version is known without a store (CAS_MODEL, CAS_LOCK, a lock file in the image)?  choose it
    for the store, then each mirror:
        choose the version if that is still open (the store has the pins), restore it from there, done
    somebody chose the version (worker/model/condition.py)?
        its bytes are on this machine?              restore it from here, done
        Hugging Face has its files at its commits?  restore it from them and from the stores, done; else the end
    a complete, verified version on this machine?   run it, done
    Hugging Face                                    download what it has as main, done

Each step down is one warning with its cause. With stores switched off, Hugging Face comes before this machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from cas.bucket import RetryPolicy
from cas.config import hub_endpoint, read
from cas.errors import CacheError, CasError, InputError, IntegrityError, NotFoundError, StoreError
from cas.events import SignedEntry, Span
from cas.ops.restore.receipts import ReceiptWriter
from cas.refs.reference import Resolved, resolve
from cas.store.store import Store, open_store
from worker.boot import directories
from worker.boot.messages import Ended, Restored, Source
from worker.boot.ownership import without_others
from worker.boot.settings import Settings
from worker.model import records
from worker.model.condition import Condition
from worker.model.directory_chain import DirectoryChain
from worker.model.failed_sources import DAMAGE, FailedSources, NoSource, is_latest
from worker.model.recorder import Recorder
from worker.model.ref_reader import RefReader
from worker.model.results import Results
from worker.speech.file_roles import Choose, files_of

_WITHIN = 3.0  # seconds to write a receipt
_READ_ONLY = ("https://", "http://")
_RECALLED = "the last one that was restored here"

# Gives up sooner than a command does: a command has no other source to turn to.
_POLICY = RetryPolicy(give_up=60.0)

Report = Callable[[Restored], None]
Reply = Callable[[], Ended | None]


class SourceChain:
    """One walk down the chain of sources.

    Attributes:
        condition: which version is wanted, and what may stand in for it.
    """

    def __init__(
        self, settings: Settings, paths: Sequence[Path], recorder: Recorder, ended: Reply, choose: Choose
    ) -> None:
        """Prepare a walk; nothing is read yet.

        Args:
            settings: what the environment asks for.
            paths: directories that passed the checks, in the order of CAS_CACHE_DIRS.
            recorder: gets phases, warnings and errors.
            ended: waits for the worker's reply that it can speak, or cannot; None when the worker is gone.
            choose: called with the files and the reference of a version before that is restored.
        """
        self._settings, self._paths, self._recorder, self._ended = settings, paths, recorder, ended
        self._choose = choose
        self._refs = RefReader(settings)
        self.condition = Condition(settings, self._refs.trust)
        self._failed, self._results = FailedSources(settings, recorder), Results(self.condition, recorder)
        self._resolved: Resolved | None = None
        self._signed: SignedEntry | None = None  # what named it, where keys are trusted
        self._recalled = False  # whether this machine's own records, and no store, say which version is wanted
        self._answered: list[tuple[Source, Store]] = []  # those that lack something, or hold it damaged

    def walk(self, report: Report) -> None:
        """Bring the model to this machine, and then do what can wait until the worker speaks.

        Args:
            report: called as soon as the model is here.

        Raises:
            InputError: a setting is wrong.
            NoSource: no source has the model.
            CacheError: no directory takes it, or other users may write to all of them.
            CasError: a lock file cannot be used.
        """
        try:
            self._walk(report)
        finally:
            self._refs.keep()

    def _walk(self, report: Report) -> None:
        self._paths = without_others(self._paths, self._recorder.warn)
        self._chain = DirectoryChain(self._settings, self._paths, self._recorder, self._choose)
        self._refs.paths = self.condition.paths = self._paths
        if self._settings.local:
            self._choose_here()
        for kind, url in self._settings.stores():
            if self._resolved is None and not self.condition.may_name(kind) and not self._recall():
                self._failed.skip(kind, url, str(self.condition))
                continue
            try:
                store = open_store(url, policy=_POLICY)
            except (StoreError, CacheError) as error:
                self._failed.add(kind, url, error, self.condition.choice, resolved=self._resolved is not None)
                continue
            self._refs.opened(store)
            # A CacheError from here on is the fault of this machine's directories: the next store would not help.
            try:
                self._from_store(kind, store, report)
                return
            except (NotFoundError, StoreError, *DAMAGE) as error:
                self._failed.add(kind, url, error, self.condition.choice, resolved=self._resolved is not None)
                if not isinstance(error, StoreError):
                    self._answered.append((kind, store))
        match self.condition.fallback:
            case "none":
                nothing_else = "CAS_FALLBACK is none: neither this machine nor Hugging Face may stand in"
                raise NoSource([*self._failed.causes, nothing_else])
            case "bytes":
                self._from_bytes(report)
                return
        if self._settings.enabled and self._from_this_machine(report):
            return
        try:
            self._from_hub(report)
        except NoSource as none:
            if self._settings.enabled or not none.hub_away or not self._from_this_machine(report):
                raise

    def _choose_here(self) -> None:
        """Choose the version without a store; a lock file holds it."""
        choice = self.condition.choose(os.environ, None)
        if choice.caution:
            self._recorder.warn(choice.caution)
        if choice.lock is not None:
            version = choice.version()
            assert isinstance(version, Resolved)
            self._resolved = version

    def _from_store(
        self,
        kind: Source,
        store: Store,
        report: Report,
        downloaded: contextlib.ExitStack | None = None,
        seed: Path | None = None,
    ) -> None:
        """Restore the version from a store; `seed` holds files from Hugging Face, which `downloaded` removes."""
        self._recorder.phase("resolve")
        if kind != "hub" and (url := read("CAS_READ_URL")):
            from cas.store.cdn import through_cdn

            store = through_cdn(store, url, self._recorder.listen)
        if self._resolved is None:
            wanted = self._refs.wanted(store, self.condition)
            self._resolved = self._known(wanted.digest) or resolve(store, wanted)
            self._signed = self._refs.signed
        elif self._recalled and kind == "mirror":
            store.check_format()  # a restore of a complete version would not notice that there is no store
        with contextlib.ExitStack() as stack:
            listen = self._recorder.listen
            writer = None
            if self._settings.receipt and kind != "hub" and not store.url.startswith(_READ_ONLY):
                why, via = self._reason(), "mirror" if kind == "mirror" else ""
                writer = stack.enter_context(
                    ReceiptWriter(store, listen, reason=why, signed=self._signed, source=via, timeout=_WITHIN)
                )
                listen = writer.listen
            directory, done = self._chain.restore(self._resolved, store, listen, [seed] if seed else [])
            if writer:
                writer.finished(done, {str(seed): hub_endpoint()} if seed else {})
            source: tuple[Source, str] = ("hub", hub_endpoint()) if seed else (kind, store.url)
            report(self._results.restored(*source, directory, done, self._reason(), self._signed, seed))
            self._refs.keep()
            if downloaded:
                downloaded.close()
            if kind != "hub" and not (self.condition.choice and self.condition.choice.lock):
                ref = None if self._recalled else self.condition.ref
                with contextlib.suppress(CasError):
                    records.write_last_version(directory.path, self._resolved, store, ref, self._signed)
            if writer:
                boot = self._ended() or Ended(())
                own = (Span(step.name, step.begun, step.seconds) for step in boot.steps)
                writer.boot(own, str(directory.path), directory.reason, boot.failure, fallback=self.condition.fallback)

    def _reason(self) -> str:
        """Why this version, in words."""
        return self.condition.choice.reason if self.condition.choice and not self._recalled else _RECALLED

    def _known(self, digest: str | None) -> Resolved | None:
        """Return the version of a digest (64 hex) if a directory had it last: then no store need be read for it."""
        found = (records.last_version(path, self._settings.model) for path in self._paths)
        return next((version for version in found if version and version.digest == digest), None)

    def _recall(self) -> bool:
        """Take the version that this machine's records say is wanted; return whether they say so."""
        found = self.condition.recalled(refused=self._failed.refused, store_name=self._refs.store_name)
        self._resolved, self._signed = found or (None, None)
        self._recalled = found is not None
        return self._recalled

    def _from_bytes(self, report: Report) -> None:
        """Restore the version that is wanted, and no other, from this machine's files or those of Hugging Face."""
        if self._resolved is None and not self._recall():
            unknown = f"Hugging Face: not asked, as nothing but a store says which version {self.condition} is"
            raise NoSource([*self._failed.causes, f"{unknown} (CAS_FALLBACK=hub runs what it has as main)"])
        assert self._resolved
        exact, nothing = self._resolved.exact, open_store("memory:")
        try:
            directory, done = self._chain.restore(self._resolved, nothing, self._recorder.listen)
        except (NotFoundError, *DAMAGE):
            pass  # some of it is not here; what is here was put into the part files
        else:
            self._recorder.warn(f"{self._failed.why()}: running {exact}, which is in {directory.path}, verified")
            report(self._results.restored("here", str(directory.path), directory, done, self._reason(), self._signed))
            return
        # huggingface_hub takes half a second to import: only where it is needed.
        from worker.model.hub_bytes import download_seed

        self._recorder.warn(f"taking files of {exact} from Hugging Face, as {self._failed.why()}")
        ranked, _ = directories.rank(self._paths, self._resolved.manifest)
        with contextlib.ExitStack() as stack:
            try:
                seed = stack.enter_context(
                    download_seed(self._resolved.manifest, [one.path for one in ranked], self._recorder)
                )
            except StoreError as error:
                raise NoSource([*self._failed.causes, f"Hugging Face: {error}"], hub_away=True) from error
            problem = ""
            for kind, store in [*self._answered, ("hub", nothing)]:
                try:
                    self._from_store(kind, store, report, stack, seed.folder)
                    return
                except (NotFoundError, StoreError, *DAMAGE) as error:
                    problem = f"what it has is not what {exact} names, or not all of it: {error}"
        raise NoSource([*self._failed.causes, f"Hugging Face: {'; '.join(seed.problems) or problem}"])

    def _from_this_machine(self, report: Report) -> bool:
        """Run a version that a directory has, complete and verified; False when no version will do.

        Where the store says that it does not have a version that was asked for by name, no other version will do.
        """
        choice = self.condition.choice
        named = choice is not None and not is_latest(choice)
        exact = choice.parsed.digest if choice and choice.parsed else None
        for path in self._paths:
            version, signed = self._resolved, self._signed
            if version is None and (recorded := self.condition.recorded(path, None, self._refs.store_name)):
                version, signed = recorded
            if version is None or (exact and not version.digest.startswith(exact)):
                continue
            if named and self._failed.refused and not (exact or self._resolved):
                continue
            if directories.missing(version.manifest, path):
                continue
            self._choose(files_of(version.manifest.repos), version.exact)
            try:
                # Nothing is missing, so the empty store is never read.
                directory, done = self._chain.restore(version, open_store("memory:"), self._recorder.listen)
            except CasError:
                continue
            self._recalled = self._resolved is None
            self._recorder.warn(f"{self._failed.why()}: running {version.exact}, which is in {path}, verified")
            report(self._results.restored("here", str(path), directory, done, self._reason(), signed))
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
        instead = f" instead of {self.condition.choice}" if self.condition.choice else ""
        self._recorder.warn(f"taking the model from Hugging Face{instead}, as {self._failed.why()}")
        if self.condition.trust:
            self._recorder.warn("no trusted key signed what Hugging Face has as main: CAS_FALLBACK=hub lets it run")
        try:
            downloaded = download_model(source, self._paths, self._settings.seeds, self._recorder)
        except HubFailed as error:
            raise NoSource([*causes, f"Hugging Face: {error}"], hub_away=error.away) from error
        except IntegrityError as error:
            raise IntegrityError("; ".join([*causes, f"Hugging Face: {error}"])) from error
        self._choose(files_of(downloaded.gathered.repos), "")
        publish = self._settings.publish and self._failed.unpublished
        report(self._results.downloaded(downloaded, publish=publish))
