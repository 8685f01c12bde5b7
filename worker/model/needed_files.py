"""The files that a worker loads: of the version that it runs and, where that has no vocoder, of a second version.

    choose      when the version is known, before anything of it is fetched: which of its files are loaded? No vocoder
                among them, or CAS_VOCODER names one: restore that version now, by a source chain of its own
    complete    when the version is here: say where each of the files is
    finish      when the worker has been told: the second restore leaves its receipt

The vocoder comes first, as it is small (54 MB): it can be loaded while the other files are on their way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

import cas
from cas.errors import CasError
from worker.boot.messages import Bytes, Ended, Expected, PlacedFile, Restored, Role
from worker.boot.settings import Settings
from worker.log import logger
from worker.model.recorder import Recorder
from worker.model.source_chain import SourceChain
from worker.speech.file_roles import NoSuchFiles, RepoFile, SpeechFiles, VocoderFiles, speech_files, vocoder_files

_SENT_WITHIN = 1800.0  # seconds
_NO_NAME = "what Hugging Face has as main"


class NoVocoder(CasError):
    """The vocoder that the worker needs beside its version cannot be brought here.

    Attributes:
        causes: what each source said.
        exit_code: that of the error.
    """

    def __init__(self, error: CasError) -> None:
        super().__init__(f"no vocoder: {error}")
        self.exit_code = error.exit_code
        causes: Sequence[str] = getattr(error, "causes", (str(error),))
        advice = "put one into the store with `cas publish vocos --source vocos`, or name a version with CAS_VOCODER"
        self.causes = (*(f"vocoder: {cause}" for cause in causes), advice)


class NeededFiles:
    """Chooses the files that the worker loads, and brings the vocoder where the version has none."""

    def __init__(self, settings: Settings, paths: Sequence[Path], recorder: Recorder) -> None:
        """Prepare for one boot; nothing is read yet.

        Args:
            settings: what the environment asks for.
            paths: directories that passed the checks, in the order of CAS_CACHE_DIRS.
            recorder: gets phases, warnings and errors.
        """
        self._settings, self._paths, self._recorder = settings, paths, recorder
        self._speech: SpeechFiles | None = None
        self._vocoder: VocoderFiles | None = None
        self._second: _SecondVersion | None = None

    def choose(self, files: Iterable[RepoFile], version: str) -> None:
        """Choose among the files of a version, and restore a second one for the vocoder where that is needed.

        It may be called again for the same boot, when the next source has another version.

        Args:
            files: those of the version.
            version: the reference that names it; empty for what Hugging Face has as main.

        Raises:
            InputError: there are several candidates: the message names them, and the variable that chooses.
            NoSuchFiles: the version has no weights.
            NoVocoder: it has no vocoder, and none can be brought.
        """
        every, name = tuple(files), version or _NO_NAME
        self._speech = speech_files(every, name, self._settings.weights)
        self._vocoder = None if self._settings.vocoder else vocoder_files(every, name, beside=self._speech.weights)
        if self._vocoder is None and self._second is None:
            second = _SecondVersion(self._settings, self._paths, self._recorder)
            second.bring()
            self._second = second
        self._recorder.send(Expected(self._expected()))

    def _expected(self) -> dict[Role, tuple[str, str]]:
        assert self._speech, "choose first"
        vocoder = self._vocoder or (self._second and self._second.result()[1])
        files: dict[Role, RepoFile | None] = {
            "weights": self._speech.weights,
            "vocabulary": self._speech.vocabulary,
            "config": self._speech.config,
            "vocoder_config": vocoder.config if vocoder else None,
            "vocoder_weights": vocoder.weights if vocoder else None,
        }
        return {role: (file.repo_id, file.path) for role, file in files.items() if file}

    def complete(self, result: Restored) -> Restored:
        """Return the message with the files that the worker loads, and with what the second version adds to it.

        Args:
            result: how the version was restored.
        """
        assert self._speech, "choose first"
        speech = self._speech
        files: dict[Role, PlacedFile] = {"weights": _placed(result, speech.weights)}
        if speech.vocabulary:
            files["vocabulary"] = _placed(result, speech.vocabulary)
        if speech.config:
            files["config"] = _placed(result, speech.config)
        if self._vocoder:
            files |= _placed_vocoder(result, self._vocoder)
        elif self._second:
            second, vocoder = self._second.result()
            files |= _placed_vocoder(second, vocoder)
            result = _joined(result, second)
        logger.info("; ".join(f"{role.replace('_', ' ')}: {file.path}" for role, file in files.items()))
        return msgspec.structs.replace(result, files=files)

    def finish(self, within: float) -> None:
        """Let the second restore write its receipt, now that the worker knows that the model is here.

        Args:
            within: seconds to wait for it.
        """
        if self._second:
            self._second.finish(within)


class _SecondVersion:
    """A version that is restored for its vocoder alone, in a thread that goes on until its receipt is written."""

    def __init__(self, settings: Settings, paths: Sequence[Path], recorder: Recorder) -> None:
        named = settings.vocoder
        own = settings.of_vocoder()
        self._chain = SourceChain(own, paths, recorder, self._ended, self._choose)
        self._chain.condition.choice = cas.Choice(
            "CAS_VOCODER" if named else "the version that runs has no vocoder",
            named or f"{own.model}:latest",
            by_default=not named or (":" not in named and "@" not in named),
        )
        self._files: VocoderFiles | None = None
        self._restored: Restored | None = None
        self._error: Exception | None = None
        self._here, self._sent = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._walk, name="vocoder", daemon=True)

    def bring(self) -> None:
        """Restore the version; return as soon as it is here."""
        self._thread.start()
        self._here.wait()
        if isinstance(self._error, CasError):
            raise NoVocoder(self._error) from self._error
        if self._error:
            raise self._error

    def result(self) -> tuple[Restored, VocoderFiles]:
        assert self._restored and self._files, "bring it first"
        return self._restored, self._files

    def finish(self, within: float) -> None:
        self._sent.set()
        self._thread.join(within)

    def _walk(self) -> None:
        try:
            self._chain.walk(self._report)
        except Exception as error:
            if self._restored:
                logger.warning(f"the vocoder is here; after that: {error}")
            else:
                self._error = error
        finally:
            self._here.set()

    def _choose(self, files: Iterable[RepoFile], version: str) -> None:
        self._files = vocoder_files(files, version or _NO_NAME)
        if self._files is None:
            raise NoSuchFiles(
                f"{version or _NO_NAME} has no vocoder: a pytorch_model.bin with its config.yaml beside it is one"
            )

    def _report(self, restored: Restored) -> None:
        self._restored = restored
        self._here.set()

    def _ended(self) -> Ended | None:
        self._sent.wait(_SENT_WITHIN)
        return Ended(())


def _placed(result: Restored, file: RepoFile) -> PlacedFile:
    snapshot = Path(result.snapshots[file.repo_id])
    # <repo>/snapshots/<commit>, as in every hub cache.
    return PlacedFile(str(snapshot / file.path), str(snapshot.parent.parent), verified=result.complete)


def _placed_vocoder(result: Restored, vocoder: VocoderFiles) -> dict[Role, PlacedFile]:
    return {"vocoder_config": _placed(result, vocoder.config), "vocoder_weights": _placed(result, vocoder.weights)}


def _joined(result: Restored, second: Restored) -> Restored:
    """Return a result to which the snapshots and bytes of the second version are added."""
    counts = {name: getattr(result.bytes, name) + getattr(second.bytes, name) for name in Bytes.__struct_fields__}
    return msgspec.structs.replace(
        result,
        snapshots={**second.snapshots, **result.snapshots},
        complete=result.complete and second.complete,
        holds=result.holds + second.holds,
        bytes=Bytes(**counts),
    )
