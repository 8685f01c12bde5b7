"""A folder of files as a Hugging Face repository: etags, sizes and a commit."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

LFS_SUFFIXES = frozenset({".safetensors", ".bin", ".pt", ".gguf"})
LFS_MIN_SIZE = (1 << 20) + 1
_READ = 1 << 20


@dataclass(frozen=True)
class RepoFile:
    """One file of a commit.

    Attributes:
        path: the file's path on this machine.
        size: length in bytes.
        oid: git blob sha1 of the file, or of its LFS pointer (hex).
        sha256: digest of the content (hex), for LFS files only.
        pointer_size: length in bytes of the LFS pointer, 0 for other files.
    """

    path: Path
    size: int
    oid: str
    sha256: str | None = None
    pointer_size: int = 0

    @property
    def etag(self) -> str:
        """The name of the file's blob in a Hugging Face cache."""
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Commit:
    """The files of a repository at one moment, by path within the repository.

    Attributes:
        sha: 40 hex digits, computed from nothing but names and contents.
        files: path with forward slashes -> file.
    """

    sha: str
    files: Mapping[str, RepoFile]


class RepoFolder:
    """Follow the files of one folder as the branch `main` of a repository.

    Args:
        folder: the folder that holds the repository's files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._hashed: dict[str, tuple[tuple[int, int, int], RepoFile]] = {}
        self._commits: dict[str, Commit] = {}

    def head(self) -> Commit:
        """Return the commit of the files as they are now; unchanged files are not read again.

        Raises:
            OSError: a file cannot be read.
        """
        with self._lock:
            self._hashed = dict(self._scan())
            files = {name: file for name, (_, file) in sorted(self._hashed.items())}
            listing = json.dumps([[name, file.etag] for name, file in files.items()])
            sha = hashlib.sha1(listing.encode()).hexdigest()
            return self._commits.setdefault(sha, Commit(sha, files))

    def at(self, revision: str) -> Commit | None:
        """Return the commit that a branch or commit name stands for.

        Args:
            revision: `main`, or 40 hex digits.

        Returns:
            None if the name was never seen, or if one of the commit's files has since changed.

        Raises:
            OSError: a file cannot be read.
        """
        head = self.head()
        if revision == "main":
            return head
        commit = self._commits.get(revision)
        if commit and all(head.files.get(name) == file for name, file in commit.files.items()):
            return commit
        return None

    def _scan(self) -> Iterator[tuple[str, tuple[tuple[int, int, int], RepoFile]]]:
        for path in self._folder.rglob("*"):
            if not path.is_file():
                continue
            name = path.relative_to(self._folder).as_posix()
            identity = _identity(path)
            known = self._hashed.get(name)
            while known is None or known[0] != identity:
                known = (identity, _describe(path, name, identity[0]))
                identity = _identity(path)  # the file may have changed while it was read
            yield name, known


def _identity(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _describe(path: Path, name: str, size: int) -> RepoFile:
    """Hash a file as git and git-lfs do (git-lfs `docs/spec.md`, "The Pointer")."""
    if PurePosixPath(name).suffix not in LFS_SUFFIXES and size < LFS_MIN_SIZE:
        return RepoFile(path, size, _digest(path, hashlib.sha1(b"blob %d\0" % size)))
    sha256 = _digest(path, hashlib.sha256())
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    oid = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()
    return RepoFile(path, size, oid, sha256, len(pointer))


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def _digest(path: Path, state: _Hash) -> str:
    with path.open("rb") as file:
        while block := file.read(_READ):
            state.update(block)
    return state.hexdigest()
