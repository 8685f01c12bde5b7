"""Files that hold damaged chunks, downloaded from the hub at the commit that a version names."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from cas import events
from cas.config import hub_endpoint, without_secrets
from cas.errors import NO_SPACE, AccessDenied, CasError, DiskFull, StoreError
from cas.formats.manifest import Manifest, Repo, RepoFile
from cas.parallel import for_each


def download(wanted: Collection[str], versions: Iterable[Manifest], folder: Path, listen: events.Listener) -> None:
    """Brings the files with chunks `wanted` (64 hex) into `folder`, a hub cache.

    HF_ENDPOINT and HF_TOKEN are the user's: a manifest chooses neither. A file that several versions have in common is
    downloaded once. What the hub does not have is told as a warning. Raises AccessDenied, DiskFull, or StoreError when
    the hub fails.
    """
    lacking = set(wanted)
    for manifest in versions:
        for repo in manifest.repos:
            for file in repo.files:
                held = {chunk.digest for chunk in file.chunks} & lacking
                if held and _downloaded(repo, file, folder, listen):
                    lacking -= held
                    if not lacking:
                        return


def _downloaded(repo: Repo, file: RepoFile, folder: Path, listen: events.Listener) -> bool:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    def fetch(path: str) -> None:
        hf_hub_download(repo.repo_id, path, repo_type=repo.repo_type, revision=repo.commit, cache_dir=folder)

    quiet = not sys.stderr.isatty() and not are_progress_bars_disabled()
    if quiet:
        disable_progress_bars()
    try:
        # In a thread, as its own threads would keep Ctrl-C waiting until the file is there.
        for_each(fetch, [file.path], threads=1)
    except Exception as error:
        where = f"{file.path} of {repo.repo_id}@{repo.commit[:12]}"
        refused = _explained(error, where, folder)
        if refused is not None:
            raise refused from error
        listen(events.Warned(f"{where} is not on {hub_endpoint()}, or private"))
        return False
    finally:
        if quiet:
            enable_progress_bars()
    return True


def _explained(error: Exception, where: str, folder: Path) -> CasError | None:
    """The error to raise; None when the hub said that it does not have the file."""
    from huggingface_hub import errors as hf

    if isinstance(error, hf.GatedRepoError):
        return AccessDenied(f"{where} is gated: accept its terms on the hub, then set HF_TOKEN or run `hf auth login`")
    absent = hf.RepositoryNotFoundError | hf.RevisionNotFoundError | hf.EntryNotFoundError
    if isinstance(error, absent) and not isinstance(error, hf.LocalEntryNotFoundError):
        return None
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return DiskFull(f"no room left in {folder} ({error.strerror}): free some space, or set TMPDIR")
    first = without_secrets(str(error)).strip().split("\n", 1)[0].split("?", 1)[0][:300]
    return StoreError(
        f"{where} cannot be downloaded from {hub_endpoint()} ({type(error).__name__}: {first}): "
        "check the network and HF_HUB_OFFLINE, or repair from another source"
    )
