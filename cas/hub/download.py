"""The one module that calls huggingface_hub: it downloads repos and files, lists revisions, and translates errors.

HF_ENDPOINT and HF_TOKEN are always the user's: no manifest and no source file chooses either. What a hub says is not
trusted: cas/hub/names.py checks each name that a path is made of.

huggingface_hub takes half a second to import, so each function imports it when it is called. It comes with the extra
`hub`: without it, whatever would send a request raises InputError.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cas.config import hub_endpoint, without_secrets
from cas.errors import NO_SPACE, AccessDenied, CacheError, CasError, DiskFull, NotFoundError, StoreError
from cas.formats.paths import match_patterns
from cas.hub import library, names
from cas.hub.silent_bar import counter, without_bars
from cas.hub.source import RepoSource, matching
from cas.parallel import for_each

# Seconds that the hub may take to describe a revision. Downloads have huggingface_hub's own timeouts.
_INFO_TIMEOUT = 10.0

# A hub may list no more files than this of a larger repo (VERY_LARGE_REPO_THRESHOLD of huggingface_hub).
_WHOLE_LISTING = 50_000


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a revision, as the hub lists it.

    Attributes:
        repo: the repo and the revision that were asked for.
        commit: the commit that the revision names now, 40 hex digits.
        path: relative to the repo.
        size: in bytes; 0 if the hub does not say.
        etag: the name of the file's blob in a hub cache (a sha256 or a git sha1); None if the hub does not say.
    """

    repo: RepoSource
    commit: str
    path: str
    size: int
    etag: str | None


class HubRevision(NamedTuple):
    """What a hub says of a revision.

    Attributes:
        commit: the commit that it names now, 40 hex digits.
        paths: all files of that commit; None if the hub does not list all of them.
        blobs: the size in bytes of each file that matches the repo's patterns, by the name of its blob in a hub cache,
            as far as the hub says.
    """

    commit: str
    paths: frozenset[str] | None
    blobs: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorWording:
    """What differs between operations when an error of huggingface_hub is translated.

    Attributes:
        subject: what is downloaded, in words: `ORG/NAME@REVISION`, or a file of it.
        absent: the whole message if the hub has no such repo, revision or file. If it is empty, a missing repo and a
            missing revision have messages of their own, and a missing file counts as any other failure.
        incomplete: the whole message if the hub cannot be reached and `folder` lacks files. If it is empty, this counts
            as any other failure.
        folder: the hub cache that the files go into.
        if_full: the next step, other than to free space, if the disk of `folder` is full.
        if_unusable: the next step if `folder` cannot be written to. If it is empty, this counts as any other failure.
        if_failed: the next step after any other failure; empty for none.
    """

    subject: str
    absent: str = ""
    incomplete: str = ""
    folder: Path | None = None
    if_full: str = ""
    if_unusable: str = ""
    if_failed: str = ""


def check_access(repo: RepoSource, wording: ErrorWording) -> HubRevision:
    """Ask the hub whether it has a revision of a repo, and lets this user read it; return what it says of it.

    snapshot_download alone does not tell: it silently falls back to the hub cache, even when access is refused.

    Raises:
        FormatError: the commit, or the path of a file that matches the repo's patterns, must not become a path here.
        AccessDenied: the repo is gated, and the user has not accepted its terms.
        NotFoundError: the hub has no such repo or revision.
        StoreError: the hub cannot be reached, or fails.
    """
    info = _revision_info(repo, wording)
    files = {file.rfilename: file for file in getattr(info, "siblings", None) or ()}
    taken = set(match_patterns(files, repo.include)[0] if repo.include else files)
    taken -= set(match_patterns(files, repo.exclude)[0] if repo.exclude else ())
    for path in taken:
        names.check_file_path(path)
    blobs = {_blob_name(files[path]): files[path].size for path in taken if isinstance(files[path].size, int)}
    return HubRevision(info.sha, frozenset(files) if 0 < len(files) < _WHOLE_LISTING else None, blobs)


def list_files(repo: RepoSource) -> list[HubFile]:
    """List the files of a revision that match the repo's patterns, with the sizes and etags that the hub has for them.

    Raises:
        InputError: a pattern matches no file.
        FormatError: the commit, or a file's path or etag, must not become a path here.
        AccessDenied: the repo is gated, and the user has not accepted its terms.
        NotFoundError: the hub has no such repo or revision.
        StoreError: the hub cannot be reached, or fails.
    """
    wording = ErrorWording(subject=f"{repo.repo_id}@{repo.revision}")
    info = _revision_info(repo, wording)
    with _hub_errors(repo, wording):
        files = {
            file.rfilename: HubFile(repo, str(info.sha), file.rfilename, file.size or 0, _blob_name(file))
            for file in getattr(info, "siblings", None) or ()
        }
    chosen = [files[path] for path in matching(files, repo.include, repo.repo_id, repo.exclude)]
    for file in chosen:
        names.check_file_path(file.path)
        if file.etag is not None:
            names.check_etag(file.etag)
    return chosen


def download_snapshot(repo: RepoSource, hub: Path, wording: ErrorWording, moved: Callable[[int], None]) -> None:
    """Download into a hub cache what it lacks of the files of a revision that match the repo's patterns.

    If the hub cannot be reached, a hub cache that has all the files that it last heard of is enough.

    Args:
        repo: which files.
        hub: the hub cache.
        wording: of errors.
        moved: called with a number of bytes when these have come, from any thread; never by huggingface_hub before 1.0.

    Raises:
        FormatError: the hub names a commit, etag or path that must not become a path here.
        AccessDenied: the repo is gated, and the user has not accepted its terms.
        NotFoundError: the hub has no such repo or revision.
        DiskFull: the files do not fit.
        CacheError: the hub cache cannot be written to, and `wording.if_unusable` is given.
        StoreError: the hub cannot be reached, or fails.
    """
    library.require()
    from huggingface_hub import snapshot_download

    def download() -> None:
        snapshot_download(
            repo.repo_id,
            repo_type=repo.repo_type,
            revision=repo.revision,
            allow_patterns=list(repo.include) or None,
            ignore_patterns=list(repo.exclude) or None,
            cache_dir=hub,
            tqdm_class=counter(moved),
        )

    _run_download(download, repo, wording)


def download_file(repo: RepoSource, path: str, hub: Path, wording: ErrorWording) -> None:
    """Download one file of a revision into a hub cache, unless the cache has it.

    Raises:
        FormatError: the hub names a commit, etag or path that must not become a path here.
        AccessDenied: the repo is gated, and the user has not accepted its terms.
        NotFoundError: the hub has no such repo, revision or (if `wording.absent` is given) file.
        DiskFull: the file does not fit.
        CacheError: the hub cache cannot be written to, and `wording.if_unusable` is given.
        StoreError: the hub cannot be reached, or fails.
    """
    library.require()
    from huggingface_hub import hf_hub_download

    def download() -> None:
        hf_hub_download(repo.repo_id, path, repo_type=repo.repo_type, revision=repo.revision, cache_dir=hub)

    _run_download(download, repo, wording)


@contextlib.contextmanager
def without_shared_blobs() -> Iterator[None]:
    """Have huggingface_hub (1.33 and later) download files instead of linking those that several repos share."""
    library.require()
    from huggingface_hub import constants

    name = "HF_HUB_DISABLE_SHARED_BLOBS"
    before = getattr(constants, name, False)
    setattr(constants, name, True)
    try:
        yield
    finally:
        setattr(constants, name, before)


def hide_secrets_in_log() -> None:
    """Keep secrets of HF_ENDPOINT out of what huggingface_hub logs, such as the addresses of failed requests.

    It works once huggingface_hub has been imported, because the import makes the log handlers.
    """
    for handler in logging.getLogger("huggingface_hub").handlers:
        handler.addFilter(_SECRETS_FILTER)


class _SecretsFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_secrets(record.getMessage()), ()
        return True


_SECRETS_FILTER = _SecretsFilter()


def _revision_info(repo: RepoSource, wording: ErrorWording) -> Any:
    """What the hub says of a revision: its commit, and its files with their sizes and etags."""
    library.require()
    from huggingface_hub import HfApi

    hide_secrets_in_log()
    with _hub_errors(repo, wording):
        return HfApi().repo_info(
            repo.repo_id,
            repo_type=repo.repo_type,
            revision=repo.revision,
            timeout=_INFO_TIMEOUT,
            files_metadata=True,
        )


def _blob_name(file: Any) -> Any:
    """The name of a listed file's blob in a hub cache (a sha256 or a git sha1); None if the hub does not say."""
    return file.lfs.sha256 if file.lfs else file.blob_id


def _run_download(download: Callable[[], None], repo: RepoSource, wording: ErrorWording) -> None:
    hide_secrets_in_log()
    with _hub_errors(repo, wording), without_bars():
        # The download runs in a thread of for_each, which Ctrl-C can leave. In the main thread, Ctrl-C would wait until
        # the threads of huggingface_hub have downloaded the files that they are working on.
        for_each(lambda run: run(), [download], threads=1)


@contextlib.contextmanager
def _hub_errors(repo: RepoSource, wording: ErrorWording) -> Iterator[None]:
    """Have the hub's names checked, and translate the errors of huggingface_hub."""
    from huggingface_hub import HfApi, file_download

    names.guard(file_download, HfApi)
    try:
        yield
    except CasError:
        raise
    except Exception as error:
        raise _translated(error, repo, wording) from error


def _translated(error: Exception, repo: RepoSource, wording: ErrorWording) -> CasError:  # noqa: PLR0911 (a table)
    """The table of errors. The first row that fits counts: some classes of huggingface_hub are subclasses of others."""
    from huggingface_hub import errors as hf

    endpoint, subject = hub_endpoint(), wording.subject
    if isinstance(error, hf.GatedRepoError):
        return AccessDenied(
            f"{subject} is gated: accept its terms on the hub, then set HF_TOKEN or run `hf auth login`"
        )
    if isinstance(error, hf.RevisionNotFoundError):
        return NotFoundError(wording.absent or f"{repo.repo_id} has no revision {repo.revision} on {endpoint}")
    if isinstance(error, hf.RepositoryNotFoundError):
        return NotFoundError(
            wording.absent or f"{repo.repo_id} is not on {endpoint}, or private: check its name, or set HF_TOKEN"
        )
    # It means that the hub cannot be reached, yet it is a subclass of EntryNotFoundError.
    if isinstance(error, hf.LocalEntryNotFoundError):
        if wording.incomplete:
            return StoreError(wording.incomplete)
    elif isinstance(error, hf.EntryNotFoundError) and wording.absent:
        return NotFoundError(wording.absent)
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return DiskFull(f"no room left in {wording.folder} ({error.strerror}): free some space, or {wording.if_full}")
    if isinstance(error, OSError) and error.errno is not None and error.filename and wording.if_unusable:
        return CacheError(f"{error.filename}: {error.strerror}: {wording.if_unusable}")
    # The first line alone, without a query: what follows may hold signatures.
    first = without_secrets(str(error)).strip().split("\n", 1)[0].split("?", 1)[0][:300]
    cause = f"{type(error).__name__}: {first}"
    failure = f"{subject} cannot be downloaded from {endpoint}"
    return StoreError(f"{failure} ({cause}): {wording.if_failed}" if wording.if_failed else f"{failure}: {cause}")
