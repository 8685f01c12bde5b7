"""Which files of a version F5-TTS is loaded from: its weights, vocabulary and config, and those of its vocoder.

    weights      a *.safetensors or *.pt file; of several the one that CAS_WEIGHTS names, else the one of `F5TTS()`
    vocabulary   vocab.txt beside the weights, else in the nearest folder above them, else the version's only one
    config       config.yaml beside the weights, else in the nearest folder above them
    vocoder      pytorch_model.bin and the config.yaml beside it, as charactr/vocos-mel-24khz has them

These names are those of F5-TTS's trainer, of its hub repos and of Vocos' repo. Nothing here imports torch: the process
that restores the version chooses before it fetches anything.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol, TypeAlias

from cas.errors import CasError, InputError

MODEL_REPO = "SWivid/F5-TTS"
WEIGHTS = "F5TTS_v1_Base/model_1250000.safetensors"
VOCODER_REPO = "charactr/vocos-mel-24khz"
VOCABULARY = "vocab.txt"
CONFIG = "config.yaml"
VOCODER_WEIGHTS = "pytorch_model.bin"

_SUFFIXES = (".safetensors", ".pt")
_SHOWN = 8  # names in an error message


class NoSuchFiles(CasError):
    """A version does not hold what F5-TTS or a vocoder is loaded from; no other source of this version would."""

    exit_code = 3


class RepoFile(NamedTuple):
    """A file of a version.

    Attributes:
        repo_id: the repo that it is in.
        path: relative to the repo, with slashes.
    """

    repo_id: str
    path: str

    def __str__(self) -> str:
        return f"{self.repo_id}/{self.path}"

    def beside(self, name: str) -> RepoFile:
        """Return the file of that name in the same folder."""
        return RepoFile(self.repo_id, str(PurePosixPath(self.path).with_name(name)))

    def beside_and_above(self, name: str) -> Iterator[RepoFile]:
        """Yield the file of that name in the same folder, and in each folder above it up to the repo's top."""
        for folder in PurePosixPath(self.path).parents:
            yield RepoFile(self.repo_id, str(folder / name))


Choose: TypeAlias = Callable[[Iterable[RepoFile], str], None]
"""Called with the files of a version, and with the reference that names it, before anything of it is fetched."""


class SpeechFiles(NamedTuple):
    """What F5-TTS's own network is loaded from.

    Attributes:
        weights: its tensors.
        vocabulary: the characters that it knows; None where the version has no such file.
        config: its architecture; None where the version has no such file.
    """

    weights: RepoFile
    vocabulary: RepoFile | None
    config: RepoFile | None


class VocoderFiles(NamedTuple):
    """What Vocos is loaded from.

    Attributes:
        config: its architecture.
        weights: its tensors.
    """

    config: RepoFile
    weights: RepoFile


class _Listed(Protocol):
    @property
    def path(self) -> str: ...


class _Repo(Protocol):
    @property
    def repo_id(self) -> str: ...
    @property
    def repo_type(self) -> str: ...
    @property
    def files(self) -> Sequence[_Listed]: ...


def files_of(repos: Iterable[_Repo]) -> list[RepoFile]:
    """Return the files of all repos of models, of a manifest or of a download."""
    return [RepoFile(repo.repo_id, file.path) for repo in repos if repo.repo_type == "model" for file in repo.files]


def speech_files(files: Iterable[RepoFile], version: str, wanted: str = "") -> SpeechFiles:
    """Choose the files of F5-TTS.

    Args:
        files: those of the version.
        version: names it in errors.
        wanted: what CAS_WEIGHTS says: a glob pattern of the path of the weights, with or without the repo's id.

    Raises:
        NoSuchFiles: the version has no weights.
        InputError: it has several and `wanted` is empty, or `wanted` matches none or several of them; or it has several
            vocabularies, none of them beside or above the weights.
    """
    every = frozenset(files)
    vocoders = {vocoder.config for vocoder in _vocoders(every)}
    weights = _weights(every, version, wanted)
    return SpeechFiles(
        weights,
        _vocabulary(every, weights, version),
        next((file for file in weights.beside_and_above(CONFIG) if file in every - vocoders), None),
    )


def vocoder_files(files: Iterable[RepoFile], version: str, beside: RepoFile | None = None) -> VocoderFiles | None:
    """Choose the files of the vocoder; None where the version has none.

    Args:
        files: those of the version.
        version: names it in errors.
        beside: the weights of F5-TTS: of several vocoders, one in their repo counts.

    Raises:
        InputError: the version has several vocoders.
    """
    found = _vocoders(frozenset(files))
    if len(found) > 1 and beside:
        found = [vocoder for vocoder in found if vocoder.weights.repo_id == beside.repo_id] or found
    if len(found) > 1:
        raise InputError(
            f"{version} has {len(found)} vocoders ({_listed([vocoder.weights for vocoder in found])}): name a version "
            "that has one with CAS_VOCODER, or publish this one with one alone"
        )
    return found[0] if found else None


def _weights(files: frozenset[RepoFile], version: str, wanted: str) -> RepoFile:
    every = sorted(file for file in files if file.path.endswith(_SUFFIXES))
    found = [file for file in every if _matches(file, wanted)] if wanted else every
    if not wanted and (usual := RepoFile(MODEL_REPO, WEIGHTS)) in found:
        return usual
    if len(found) == 1:
        return found[0]
    if not every:
        has = f"it has {_listed(sorted(files))}" if files else "it has no files"
        raise NoSuchFiles(
            f"{version} has no weights of F5-TTS ({has}): publish a *.safetensors or *.pt file of them, as in "
            "`cas publish MODEL --dir DIR --as ORG/NAME`"
        )
    if not found:
        raise InputError(f"CAS_WEIGHTS is {wanted!a}, which matches no weights of {version}: it has {_listed(every)}")
    what = f"CAS_WEIGHTS is {wanted!a}, which matches" if wanted else f"{version} has"
    raise InputError(
        f"{what} {len(found)} files of weights ({_listed(found)}): say which one with CAS_WEIGHTS, as in "
        f"CAS_WEIGHTS={found[-1].path}, or publish it alone"
    )


def _vocabulary(files: frozenset[RepoFile], weights: RepoFile, version: str) -> RepoFile | None:
    near = next((file for file in weights.beside_and_above(VOCABULARY) if file in files), None)
    if near:
        return near
    found = sorted(file for file in files if PurePosixPath(file.path).name == VOCABULARY)
    if len(found) > 1:
        raise InputError(
            f"{version} has {len(found)} vocabularies ({_listed(found)}), none of them beside {weights}: publish the "
            f"one that belongs to these weights as {weights.beside(VOCABULARY)}"
        )
    return found[0] if found else None


def _vocoders(files: frozenset[RepoFile]) -> list[VocoderFiles]:
    weights = sorted(file for file in files if PurePosixPath(file.path).name == VOCODER_WEIGHTS)
    return [VocoderFiles(config, file) for file in weights if (config := file.beside(CONFIG)) in files]


def _matches(file: RepoFile, pattern: str) -> bool:
    return fnmatch.fnmatchcase(file.path, pattern) or fnmatch.fnmatchcase(str(file), pattern)


def _listed(files: Sequence[RepoFile]) -> str:
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return ", ".join(map(str, files[:_SHOWN])) + more
