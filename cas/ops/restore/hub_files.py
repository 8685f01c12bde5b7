"""Bytes of a known version from a hub: the files that hold missing chunks, at the commits that its manifest names.

They are downloaded into a folder that then serves a restore as a seed, which hashes each chunk before it copies it: so
what a hub serves instead of a file's true content never gets the name of that file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cas import events
from cas.config import CacheDirs
from cas.formats.manifest import Manifest
from cas.host import Limits
from cas.hub.repair import download_damaged_files
from cas.local.scan import scan
from cas.local.targets import targets_of
from cas.ops.restore.plan import make_plan


@dataclass(frozen=True, slots=True)
class MissingFiles:
    """What of a version is not in a cache.

    Attributes:
        chunks: digests (64 hex) of the chunks that none of the version's files there holds, finished or not.
        size: bytes of all files of repos that contain such chunks.
    """

    chunks: frozenset[str]
    size: int


def find_missing_files(manifest: Manifest, dirs: CacheDirs, listen: events.Listener) -> MissingFiles:
    """Find out what of a version is not in a cache; files without a valid stamp are hashed.

    Args:
        manifest: the version.
        dirs: the cache.
        listen: hears of the hashing.
    """
    targets = targets_of(manifest, dirs)
    plan = make_plan(targets, scan(targets, Limits(), listen))
    chunks = frozenset(fetch.chunk.digest for fetch in plan.fetches)
    sizes = {
        (repo.repo_id, file.blob): file.size
        for repo in manifest.repos
        for file in repo.files
        if any(chunk.digest in chunks for chunk in file.chunks)
    }
    return MissingFiles(chunks, sum(sizes.values()))


def download_missing_files(
    manifest: Manifest, missing: MissingFiles, folder: Path, listen: events.Listener
) -> list[str]:
    """Download files of a version into a folder, where they are a seed; they are not verified.

    Args:
        manifest: the version.
        missing: what to download.
        folder: an empty folder, which becomes a hub cache.
        listen: hears a warning for each file that the hub does not have.

    Returns:
        Those warnings.

    Raises:
        AccessDenied: a repo is gated, and the user has not accepted its terms.
        DiskFull: the files do not fit.
        StoreError: the hub cannot be reached, or fails.
    """
    warnings: list[str] = []

    def record(event: events.Event) -> None:
        if isinstance(event, events.Warned):
            warnings.append(event.text)
        listen(event)

    listen(events.Phase("download"))
    download_damaged_files(
        missing.chunks,
        [manifest],
        folder,
        record,
        if_full="choose another directory",
        if_failed="check the network, HF_ENDPOINT and HF_HUB_OFFLINE",
    )
    return warnings
