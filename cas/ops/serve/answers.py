"""Answers in the hub's words: its JSON documents, the headers of its files, and its errors.

The fields, headers and codes are those that huggingface_hub 0.36, 1.33 and 2.4 read (`hf_api.ModelInfo`, `RepoFile`,
`file_download.get_hf_file_metadata`, `utils._http.hf_raise_for_status`). No answer has a Xet hash, so no client turns
to Xet.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from cas.errors import AccessDenied, CasError, NotFoundError, SignatureError, StoreError
from cas.formats.manifest import Repo, RepoFile
from cas.formats.printable import printable
from cas.ops.serve.listing import Listing, git_oid, is_lfs, pointer

RETRY_SECONDS = 5
"""When a client may ask again after a failure that usually passes (the header Retry-After)."""

_LONGEST = 500  # characters of a message


class Refusal(Exception):
    """A request that is answered by an error.

    Attributes:
        status: the HTTP status.
        code: what the hub has in the header X-Error-Code, by which clients choose their exception; empty for none.
        message: one line for the person who reads the client's error. It holds nothing of the store's address or keys.
        headers: more headers of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers)
        self.message = printable(message[:_LONGEST])  # it may name what a client sent

    def all_headers(self) -> dict[str, str]:
        """The headers by which clients tell what is wrong; a header's text must be ASCII."""
        told = {"X-Error-Message": self.message.encode("ascii", "replace").decode()}
        return {**({"X-Error-Code": self.code} if self.code else {}), **told, **self.headers}


def no_repo(repo_id: str) -> Refusal:
    """The refusal for a repo that nothing here has, or that this caller may not see: the two look the same."""
    return Refusal(404, "RepoNotFound", f"{repo_id} is not served here: publish it, or check the tags that are served")


def no_revision(repo_id: str, revision: str) -> Refusal:
    """The refusal for a revision that nothing here has."""
    return Refusal(404, "RevisionNotFound", f"{repo_id} has no revision {revision} here")


def no_file(listing: Listing, path: str) -> Refusal:
    """The refusal for a path that the commit does not have; clients note the commit of such an answer."""
    message = f"{listing.name} has no file {path}"
    return Refusal(404, "EntryNotFound", message, {"X-Repo-Commit": listing.repo.commit})


def refusal_for(error: CasError) -> Refusal:
    """What a caller is told of an error of ours; its own text, which may name the store, is for the server's log."""
    if isinstance(error, AccessDenied | StoreError):
        message = "the store behind this server cannot be read now: try again, and see the server's log"
        return Refusal(503, "", message, {"Retry-After": str(RETRY_SECONDS)})
    if isinstance(error, NotFoundError):
        return Refusal(500, "", "the store behind this server lacks what a version names: see the server's log")
    if isinstance(error, SignatureError):
        return Refusal(500, "", "no trusted key signed the tag or pin that names this here: see the server's log")
    return Refusal(500, "", f"the server cannot answer ({type(error).__name__}): see its log")


def info(listing: Listing) -> dict[str, Any]:
    """What `model_info`, `dataset_info` and `space_info` read, with sizes and names of the files' contents."""
    siblings = [
        {"rfilename": file.path, "size": file.size, "blobId": git_oid(file), **_lfs(file, "sha256")}
        for file in listing.files.values()
    ]
    return {**summary(listing.repo, listing.time), "siblings": siblings, "usedStorage": _total(listing.files.values())}


def summary(repo: Repo, time: str = "") -> dict[str, Any]:
    """What lists of repos hold of each."""
    names = {"_id": repo.commit[:24], "id": repo.repo_id, "sha": repo.commit}
    if repo.repo_type == "model":
        names["modelId"] = repo.repo_id
    if "/" in repo.repo_id:
        names["author"] = repo.repo_id.partition("/")[0]
    times = {"lastModified": time, "createdAt": time} if time else {}
    return {
        **names,
        **times,
        "private": False,
        "gated": False,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
    }


def tree(listing: Listing, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """The files and folders below a folder, all on one page: a hub's pages of 1,000 are for its own sake.

    Args:
        listing: the commit.
        folder: relative to the repo; empty for all of it.
        recursive: whether what is deeper is listed, too.

    Raises:
        Refusal: the commit has no such folder.
    """
    start = f"{folder}/" if folder else ""
    entries: dict[str, dict[str, Any]] = {}
    for path, file in listing.files.items():
        if not path.startswith(start):
            continue
        steps = path[len(start) :].split("/")
        for depth in range(1, len(steps) if recursive else min(len(steps), 2)):
            below = start + "/".join(steps[:depth])
            entries[below] = _folder(listing, below)
        if recursive or len(steps) == 1:
            entries[path] = entry(file)
    if folder and not entries:
        raise no_file(listing, folder)
    return list(entries.values())


def paths_info(listing: Listing, paths: Iterable[str]) -> list[dict[str, Any]]:
    """The files and folders among the paths; a path that the commit does not have is left out, as on the hub."""
    folders = {parent for path in listing.files for parent in _parents(path)}
    found = []
    for path in dict.fromkeys(path.strip("/") for path in paths):
        if path in listing.files:
            found.append(entry(listing.files[path]))
        elif path in folders:
            found.append(_folder(listing, path))
    return found


def refs(repo: Repo) -> dict[str, Any]:
    """The branches of a repo: `main`, which is what is served, and what the version calls it besides."""
    names = dict.fromkeys(("main", *repo.refs))
    named = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": repo.commit} for name in names]
    return {"branches": named, "converts": [], "tags": [], "pullRequests": []}


def file_headers(listing: Listing, file: RepoFile) -> dict[str, str]:
    """The headers of a file: its content's name, twice for a file in Git LFS, and the commit that it belongs to."""
    headers = {
        "ETag": f'"{file.blob}"',
        "X-Repo-Commit": listing.repo.commit,
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "X-Content-Type-Options": "nosniff",  # a browser must not take a file of a model for a page of this server
    }
    if is_lfs(file):
        headers |= {"X-Linked-ETag": f'"{file.blob}"', "X-Linked-Size": str(file.size)}
    return headers


def entry(file: RepoFile) -> dict[str, Any]:
    """What listings hold of a file."""
    return {"type": "file", "oid": git_oid(file), "size": file.size, "path": file.path, **_lfs(file, "oid")}


def _folder(listing: Listing, path: str) -> dict[str, Any]:
    return {"type": "directory", "oid": listing.repo.commit, "size": 0, "path": path}


def _lfs(file: RepoFile, digest_key: str) -> dict[str, Any]:
    """The `lfs` entry of a file, empty for a file outside LFS; the digest is `sha256` in model info, `oid` in trees."""
    if not is_lfs(file):
        return {}
    return {"lfs": {digest_key: file.blob, "size": file.size, "pointerSize": len(pointer(file))}}


def _parents(path: str) -> Iterable[str]:
    while path := posixpath.dirname(path):
        yield path


def _total(files: Iterable[RepoFile]) -> int:
    return sum(file.size for file in files)
