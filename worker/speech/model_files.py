"""The files that F5-TTS is loaded from, in a hub cache; a file that changed since it was verified is refused."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple, Protocol, TypeVar

from cas.errors import IntegrityError, NotFoundError
from cas.local.hf_cache import RepoCache
from cas.local.verified import FileStamp, VerifiedFiles, stamp_of
from worker.speech.file_roles import CONFIG, MODEL_REPO, VOCABULARY, VOCODER_REPO, VOCODER_WEIGHTS, WEIGHTS

_BESIDE = f"{WEIGHTS.partition('/')[0]}/"


class Identity(NamedTuple):
    """What tells one file of this machine from every other, and from itself once somebody has written to it.

    Attributes:
        device: of the file system that it is on.
        inode: its number there.
        size: bytes.
        mtime: time of its last modification, in nanoseconds.
    """

    device: int
    inode: int
    size: int
    mtime: int


def identity(path: Path) -> Identity:
    """Return the identity of a file; symlinks are followed.

    Raises:
        OSError: there is no such file.
    """
    stats = os.stat(path)
    return Identity(stats.st_dev, stats.st_ino, stats.st_size, stats.st_mtime_ns)


class ReadableFile(Protocol):
    """A file of the model that a step of loading may read.

    Attributes:
        name: the last component of its path in its repo.
    """

    @property
    def name(self) -> str: ...

    def unchanged(self) -> AbstractContextManager[Path]:
        """Yield the path, as `ModelFile.unchanged`."""


@contextlib.contextmanager
def _unchanged(path: Path, state: Callable[[], object]) -> Iterator[Path]:
    """Yield a path, and refuse the file if its state, which also refuses it by itself, differs after the block."""
    before = state()
    yield path
    if before != state():
        raise IntegrityError(f"{path} was written to while it was read: restore the model again")


@dataclass(frozen=True, slots=True)
class ArrivedFile:
    """A file that a restore has completed; its links and the record of verified files may not be written yet.

    Attributes:
        name: the last component of its path in its repo.
        path: the file.
        size: bytes, when it was verified.
        mtime: time of its last modification then, in nanoseconds.
    """

    name: str
    path: Path
    size: int
    mtime: int

    def unchanged(self) -> AbstractContextManager[Path]:
        """Yield the path, to be read from start to end within the block.

        Raises:
            IntegrityError: the file is not as it was when it was verified, or changed within the block.
        """
        return _unchanged(self.path, self._identity)

    def _identity(self) -> Identity:
        try:
            found = identity(self.path)
        except OSError as error:
            raise IntegrityError(f"{self.path} was removed after it was verified: restore the model again") from error
        if found[2:] != (self.size, self.mtime):
            raise IntegrityError(f"{self.path} changed after it was verified: restore the model again")
        return found


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

    @property
    def name(self) -> str:
        """The last component of its path in its repo."""
        return self.path.name

    @property
    def path_in_repo(self) -> PurePath:
        """Its path in its repo; the whole path of a file that is in no snapshot of `root`.

        A snapshot's folder is named after a commit, the folder of the weights may be named after a config.
        """
        snapshots = self.root / "snapshots"
        if not self.path.is_relative_to(snapshots):
            return self.path
        return PurePath(*self.path.relative_to(snapshots).parts[1:])

    def unchanged(self) -> AbstractContextManager[Path]:
        """Yield the path, to be read from start to end within the block.

        Raises:
            IntegrityError: the file is not as it was when it was verified, or changed within the block.
        """
        return _unchanged(self.path, self._state)

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
        vocabulary: the characters that it knows; None where there is no such file: then those that f5_tts ships.
        config: its architecture; None where there is no such file.
        vocoder_config: of Vocos.
        vocoder_weights: of Vocos.
    """

    weights: ModelFile
    vocabulary: ModelFile | None
    config: ModelFile | None
    vocoder_config: ModelFile
    vocoder_weights: ModelFile


Role = TypeVar("Role", bound=str)


class Placed(Protocol):
    """Where a file of a version is, as the process that restored it says.

    Attributes:
        path: the file.
        root: directory of its repo in the hub cache.
        verified: whether a restore has verified it.
    """

    @property
    def path(self) -> str: ...
    @property
    def root(self) -> str: ...
    @property
    def verified(self) -> bool: ...


def of_version(placed: Mapping[Role, Placed]) -> ModelFiles:
    """Return the files that the restoring process chose, by what they are for."""
    files = {str(role): ModelFile(Path(file.path), Path(file.root), file.verified) for role, file in placed.items()}
    return ModelFiles(
        weights=files["weights"],
        vocabulary=files.get("vocabulary"),
        config=files.get("config"),
        vocoder_config=files["vocoder_config"],
        vocoder_weights=files["vocoder_weights"],
    )


def find(hub: Path, *, must_be_verified: bool = False) -> ModelFiles:
    """Find the files where `F5TTS()` itself would, at the ref `main` of both repos.

    Args:
        hub: a Hugging Face hub cache.
        must_be_verified: as of `ModelFile`.

    Raises:
        NotFoundError: a file is not in the cache.
        CacheError: a ref is damaged.
    """
    return ModelFiles(
        weights=_file(hub, MODEL_REPO, WEIGHTS, must_be_verified),
        vocabulary=_file_if_there(hub, MODEL_REPO, _BESIDE + VOCABULARY, must_be_verified),
        config=_file_if_there(hub, MODEL_REPO, _BESIDE + CONFIG, must_be_verified),
        vocoder_config=_file(hub, VOCODER_REPO, CONFIG, must_be_verified),
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
