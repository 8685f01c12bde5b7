"""Names that a hub sends: a commit, an etag, a file's path. Each is checked before huggingface_hub makes a path of it.

huggingface_hub (0.36, 1.33, 2.4) joins the headers `X-Repo-Commit`, `X-Linked-Etag` and `ETag`, and the commit and the
paths of a listing, to the folder of the hub cache as they are. So `ETag: ../../x` would be written outside the cache.

`guard` puts the checks into huggingface_hub itself, around the functions through which it receives these names: what is
checked is the very value that it uses, whatever another response of the hub said before.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from cas.config import hub_endpoint
from cas.errors import FormatError, StoreError
from cas.local.hf_cache import is_blob, is_commit

_COMMIT_HEADER = "X-Repo-Commit"
# A backslash and a drive letter are parts of a path on Windows alone. They are refused everywhere, as no manifest may
# name such a file.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:")

_XET_HASH = re.compile(r"[0-9a-f]{64}")

_GUARDED = "cas_guarded"
_guarding = threading.Lock()


def check_commit(commit: object, asked: str = "") -> None:
    """Raise FormatError unless a hub's commit is 40 hex digits.

    Args:
        commit: what the hub sent.
        asked: the revision that was asked for; if that is a commit itself, the hub must name the same one.
    """
    if not isinstance(commit, str) or not is_commit(commit):
        raise _refused("a commit", commit, "is not 40 hex digits")
    if is_commit(asked) and commit != asked:
        raise _refused("a commit", commit, f"is not {asked}, which was asked for")


def check_etag(etag: object) -> None:
    """Raise FormatError unless a hub's etag is 40 or 64 hex digits (a git sha1 or a sha256)."""
    if not isinstance(etag, str) or not is_blob(etag):
        raise _refused("an etag", etag, "is not 40 or 64 hex digits")


def check_file_path(path: object) -> None:
    """Raise FormatError unless a hub's path of a file stays below the folder that it is joined to, on any system."""
    if not isinstance(path, str) or _UNSAFE.search(path) or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise _refused("the path of a file", path, "leads out of the repo")


def _refused(what: str, name: object, why: str) -> FormatError:
    shown = name if isinstance(name, str) else type(name).__name__
    return FormatError(
        f"{hub_endpoint()} sends {shown[:120]!a} as {what}, which {why}; nothing was written under that name: "
        "check HF_ENDPOINT, and what stands between this machine and the hub"
    )


def guard(file_download: ModuleType, api: type) -> None:
    """Make huggingface_hub check every name that it receives, for the rest of this process.

    The guard stays: a download in another thread must not lose it.

    Args:
        file_download: the module `huggingface_hub.file_download`.
        api: the class `huggingface_hub.HfApi`.

    Raises:
        StoreError: this version of huggingface_hub has other functions than the known ones, so it is not used.
    """
    wrappers: Mapping[tuple[Any, str], Callable[[Callable[..., Any]], Callable[..., Any]]] = {
        (api, "repo_info"): _check_repo_info,
        (api, "list_repo_tree"): _check_tree,
        (file_download, "get_hf_file_metadata"): _check_headers,
        (file_download, "_get_metadata_or_catch_error"): _check_metadata,
        (file_download, "_hf_hub_download_to_cache_dir"): _check_filename,
    }
    with _guarding:
        for (owner, name), wrapper in wrappers.items():
            function = getattr(owner, name, None)
            if function is None:
                raise StoreError(
                    f"this version of huggingface_hub cannot be used safely, as it has no {name}: "
                    "install one that `pip install model-cas` accepts"
                )
            if not hasattr(function, _GUARDED):
                guarded = functools.wraps(function)(wrapper(function))
                setattr(guarded, _GUARDED, True)
                setattr(owner, name, guarded)


def _check_repo_info(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the commit of a revision: snapshot_download writes it into refs, and makes folders of that name."""

    def checked(*args: Any, **kwargs: Any) -> Any:
        info = function(*args, **kwargs)
        check_commit(info.sha, str(kwargs.get("revision") or ""))
        return info

    return checked


def _check_tree(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the etags of a listing, which 2.4 uses in place of those of a HEAD request.

    Paths are checked where they are downloaded, because a repo may have files that nobody wants.
    """

    def checked(*args: Any, **kwargs: Any) -> Iterable[Any]:
        for entry in function(*args, **kwargs):
            if (blob := getattr(entry, "blob_id", None)) is not None:
                check_etag(blob)
            if (lfs := getattr(entry, "lfs", None)) is not None:
                check_etag(lfs.sha256)
            yield entry

    return checked


def _check_headers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the headers of a HEAD request, also those of an answer 404: its commit is the name of a folder, too."""

    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            metadata = function(*args, **kwargs)
        except Exception as error:
            headers = getattr(getattr(error, "response", None), "headers", None) or {}
            if (commit := headers.get(_COMMIT_HEADER)) is not None:
                check_commit(commit)
            raise
        # A header that is absent is an error that huggingface_hub reports itself.
        if metadata.commit_hash is not None:
            check_commit(metadata.commit_hash)
        if metadata.etag is not None:
            check_etag(metadata.etag)
        _check_xet(metadata.xet_file_data)
        return metadata

    return checked


def _check_metadata(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check what a download is about to use, wherever huggingface_hub has it from: a header, or a listing on disk."""

    def checked(*args: Any, **kwargs: Any) -> Any:
        found = function(*args, **kwargs)
        _, etag, commit, _, xet, error = found
        if error is None:
            check_commit(commit, str(kwargs.get("revision") or ""))
            check_etag(etag)
            _check_xet(xet)
        return found

    return checked


def _check_filename(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check a file's path, before anything is asked for it."""

    def checked(*args: Any, **kwargs: Any) -> Any:
        check_file_path(kwargs["filename"])
        return function(*args, **kwargs)

    return checked


def _check_xet(data: Any) -> None:
    """Check the hash of a Xet file, after which 2.4 names a file that several repos share."""
    if data is not None and not _XET_HASH.fullmatch(data.file_hash):
        raise _refused("a Xet hash", data.file_hash, "is not 64 hex digits")
