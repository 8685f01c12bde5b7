"""Downloads the files that hold damaged or missing chunks, at the commits that the versions name."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from cas import events
from cas.config import hub_endpoint
from cas.errors import NotFoundError
from cas.formats.manifest import Manifest, Repo, RepoFile
from cas.hub.download import ErrorWording, download_file
from cas.hub.source import RepoSource


def download_damaged_files(
    wanted: Collection[str],
    versions: Iterable[Manifest],
    folder: Path,
    listen: events.Listener,
    *,
    if_full: str = "set TMPDIR",
    if_failed: str = "check the network and HF_HUB_OFFLINE, or repair from another source",
) -> None:
    """Download into a folder the files of `versions` that hold damaged chunks. The files are not verified.

    A file that several versions have in common is downloaded once. A file that the hub does not have is a warning.

    Args:
        wanted: the digests of the damaged chunks, 64 hex each.
        versions: manifests whose files hold such chunks; each file is downloaded at the commit that its manifest names.
        folder: a hub cache, which is filled.
        listen: receives the warnings.
        if_full: the next step, other than to free space, if the files do not fit, for the error.
        if_failed: the next step if the hub fails, for the error.

    Raises:
        AccessDenied: a repo is gated, and the user has not accepted its terms.
        DiskFull: the files do not fit into `folder`.
        StoreError: the hub cannot be reached, or fails.
    """
    lacking = set(wanted)
    for manifest in versions:
        for repo in manifest.repos:
            for file in repo.files:
                found = {chunk.digest for chunk in file.chunks} & lacking
                if found and _try_download(repo, file, folder, listen, (if_full, if_failed)):
                    lacking -= found
                    if not lacking:
                        return


def _try_download(
    repo: Repo, file: RepoFile, folder: Path, listen: events.Listener, next_steps: tuple[str, str]
) -> bool:
    """Download a file. Return False, after a warning, if the hub does not have it."""
    where = f"{file.path} of {repo.repo_id}@{repo.commit[:12]}"
    wording = ErrorWording(
        subject=where,
        absent=f"{where} is not on {hub_endpoint()}, or private",
        folder=folder,
        if_full=next_steps[0],
        if_failed=next_steps[1],
    )
    try:
        download_file(RepoSource(repo.repo_id, repo.repo_type, repo.commit), file.path, folder, wording)
    except NotFoundError as error:
        listen(events.Warned(str(error)))
        return False
    return True
