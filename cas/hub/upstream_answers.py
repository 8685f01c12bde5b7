"""What a hub's answers mean: the files of a repo, the offset of a body, the error of a status."""

from __future__ import annotations

import re

import msgspec
from httpx2 import Response

from cas.errors import AccessDenied, CasError, FormatError, NotFoundError, StoreError, Transient
from cas.formats import paths
from cas.formats.manifest import RepoFile
from cas.local.hf_cache import is_blob

_MAX_SIZE = 2**53 - 1
_FAILS_FOR_NOW = (408, 425, 429)


class UpstreamRepoMissing(NotFoundError):
    """The hub has no such repo, or does not show it to this caller."""


class UpstreamRevisionMissing(NotFoundError):
    """The hub has the repo, but not this revision."""


class UpstreamFileMissing(NotFoundError):
    """The hub's commit has no such file."""


class _Lfs(msgspec.Struct):
    sha256: str
    size: int


class _Sibling(msgspec.Struct, rename={"blob_id": "blobId", "path": "rfilename"}):
    path: str
    size: int | None = None
    blob_id: str | None = None
    lfs: _Lfs | None = None


class Info(msgspec.Struct):
    """A repo at one revision, as `/api/…/revision/…?blobs=true` describes it.

    Attributes:
        sha: the commit.
        private: whether it is shown to some users only.
        gated: whether its files are given to some users only; `auto` and `manual` say how they are admitted.
        siblings: its files.
    """

    sha: str
    private: bool = False
    gated: bool | str = False
    siblings: list[_Sibling] = []

    def files(self) -> tuple[RepoFile, ...]:
        """Return the files by path, without chunks.

        Raises:
            FormatError: a path is not safe, or a file's size or hash is not told.
        """
        found = tuple(sorted((_file(sibling) for sibling in self.siblings), key=lambda file: file.path))
        paths.check_tree([file.path for file in found])
        return found


# Made at import: threads that race for a type's first decoder crash msgspec 0.22.
INFO = msgspec.json.Decoder(Info)


def _file(sibling: _Sibling) -> RepoFile:
    paths.check_path(sibling.path)
    blob = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    size = sibling.lfs.size if sibling.lfs else sibling.size
    if blob is None or not is_blob(blob) or size is None or not 0 <= size <= _MAX_SIZE:
        raise FormatError(f"it tells neither size nor hash of {sibling.path!a}")
    return RepoFile(sibling.path, size, blob, ())


def begin_of(answer: Response) -> int | None:
    """The offset of the first byte that an answer sends; None if it cannot be told."""
    if answer.status_code == 200:
        return 0
    unit, _, span = answer.headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and re.fullmatch("[0-9]{1,19}", first) else None


def refused(answer: Response, url: str, where: str) -> CasError | None:
    """The error that a status means, with the hub's codes (huggingface_hub, utils/_http.py); None for success."""
    status, code = answer.status_code, answer.headers.get("X-Error-Code", "")
    if status < 400:
        return None
    if code == "GatedRepo" or status == 403:
        return AccessDenied(
            f"{where} is gated on {url}: accept its terms there, and send a token of your own (HF_TOKEN)"
        )
    missing: dict[str, type[NotFoundError]] = {
        "RevisionNotFound": UpstreamRevisionMissing,
        "EntryNotFound": UpstreamFileMissing,
    }
    if code in missing:
        return missing[code](f"{where} is not on {url}")
    if status in (401, 404, 410) or code == "RepoNotFound":
        return UpstreamRepoMissing(f"{where} is not on {url}, or private")
    kind = Transient if status >= 500 or status in _FAILS_FOR_NOW else StoreError
    return kind(f"{url} answers {status} for {where}")
