"""What a request's repo and revision mean: the files of one commit, whether the store or the upstream hub has them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from cas.formats.manifest import Repo, RepoFile

_SHA256 = 64  # hex digits of the name of a file in Git LFS; other files are named by a git sha1 of 40
_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repo at one commit.

    Attributes:
        repo: the repo; a file without chunks that is not empty is not in the store, but upstream.
        time: when the version was chosen (RFC 3339); empty if nothing tells.
        reference: the version that the store serves it from, `model@blake3:…`; empty for a repo that is upstream only.
        access: `public`, `gated` or `private`: to whom the upstream hub gives it.
        is_pulled: whether a server published the version from an upstream hub.
        files: the repo's files by path, in the order of their paths.
    """

    repo: Repo
    time: str = ""
    reference: str = ""
    access: str = "public"
    is_pulled: bool = False
    files: Mapping[str, RepoFile] = field(init=False)

    def __post_init__(self) -> None:
        """Index the files."""
        object.__setattr__(self, "files", {file.path: file for file in sorted(self.repo.files, key=_path)})

    @property
    def name(self) -> str:
        """The repo's id and commit, for messages."""
        return f"{self.repo.repo_id}@{self.repo.commit[:12]}"


def _path(file: RepoFile) -> str:
    return file.path


def is_lfs(file: RepoFile) -> bool:
    """Whether a hub would have the file in Git LFS: its blob is a sha256."""
    return len(file.blob) == _SHA256


def is_absent(file: RepoFile) -> bool:
    """Whether the file's bytes are upstream only: it has bytes and no chunks."""
    return bool(file.size) and not file.chunks


def pointer(file: RepoFile) -> bytes:
    """The pointer that git has in place of a file in Git LFS (git-lfs, docs/spec.md, "The Pointer")."""
    return _POINTER.format(sha256=file.blob, size=file.size).encode()


def git_oid(file: RepoFile) -> str:
    """The git sha1 (40 hex) of what git has for the file: its content, or its pointer."""
    if not is_lfs(file):
        return file.blob
    text = pointer(file)
    return hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False).hexdigest()
