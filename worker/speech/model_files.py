"""The files of F5-TTS in a hub cache; a file that changed since it was verified is refused."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cas.errors import IntegrityError, NotFoundError
from cas.local.hf_cache import RepoCache
from cas.local.verified import FileStamp, VerifiedFiles, stamp_of

MODEL_REPO = "SWivid/F5-TTS"
WEIGHTS = "F5TTS_v1_Base/model_1250000.safetensors"
CONFIG = "F5TTS_v1_Base/config.yaml"
VOCODER_REPO = "charactr/vocos-mel-24khz"
VOCODER_CONFIG = "config.yaml"
VOCODER_WEIGHTS = "pytorch_model.bin"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a hub cache.

    Attributes:
        path: the file.
        root: directory of its repo in the cache, which holds the record of verified files.
        must_be_verified: refuse the file if no restore has verified it; else only if it changed since then.
    """

    path: Path
    root: Path
    must_be_verified: bool

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[Path]:
        """Yield the path, to be read from start to end within the block.

        Raises:
            IntegrityError: the file is not as it was when it was verified, or changed within the block.
        """
        before = self._state()
        yield self.path
        if before != self._state():
            raise IntegrityError(f"{self.path} was written to while it was read: restore the model again")

    def _state(self) -> tuple[str, FileStamp | None]:
        unchanged = VerifiedFiles(self.root).is_unchanged(self.path)
        if unchanged is False:
            raise IntegrityError(
                f"{self.path} changed since it was verified: restore it with `cas restore --verify`, or delete it"
            )
        if unchanged is None and self.must_be_verified:
            raise IntegrityError(f"{self.path} was never verified here: restore the model into this cache again")
        real = os.path.realpath(self.path)
        return real, stamp_of(Path(real), "")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """All files that are read to load F5-TTS.

    Attributes:
        weights: of F5-TTS.
        config: its architecture; None when no such file is beside the weights.
        vocoder_config: of Vocos.
        vocoder_weights: of Vocos.
    """

    weights: ModelFile
    config: ModelFile | None
    vocoder_config: ModelFile
    vocoder_weights: ModelFile


def find(hub: Path, *, must_be_verified: bool = False) -> ModelFiles:
    """Find the files where F5-TTS itself would, at the ref `main` of both repos.

    Args:
        hub: a Hugging Face hub cache.
        must_be_verified: as of `ModelFile`.

    Raises:
        NotFoundError: a file is not in the cache.
        CacheError: a ref is damaged.
    """
    return ModelFiles(
        weights=_file(hub, MODEL_REPO, WEIGHTS, must_be_verified),
        config=_file_if_there(hub, MODEL_REPO, CONFIG, must_be_verified),
        vocoder_config=_file(hub, VOCODER_REPO, VOCODER_CONFIG, must_be_verified),
        vocoder_weights=_file(hub, VOCODER_REPO, VOCODER_WEIGHTS, must_be_verified),
    )


def _file(hub: Path, repo: str, name: str, must_be_verified: bool) -> ModelFile:
    file = _file_if_there(hub, repo, name, must_be_verified)
    if file is None:
        raise NotFoundError(f"{name} of {repo} is not in the hub cache {hub}: restore or download the model first")
    return file


def _file_if_there(hub: Path, repo: str, name: str, must_be_verified: bool) -> ModelFile | None:
    cache = RepoCache(hub, "model", repo)
    path = cache.root.joinpath(*cache.snapshot_components(cache.commit_of("main"), name))
    return ModelFile(path, cache.root, must_be_verified) if path.is_file() else None
