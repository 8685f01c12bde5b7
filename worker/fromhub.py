"""The model from Hugging Face, with the check that its own client leaves out: that files are what their names say."""

from __future__ import annotations

import os
from pathlib import Path

from cas.config import CacheDirs
from cas.errors import IntegrityError
from cas.hfcache import SnapshotFile, blob_hash
from cas.parallel import for_each
from cas.publisher.gather import Gathered, gather
from cas.publisher.source import Source
from worker.notebook import Notebook

_PIECE = 4 * 1024 * 1024


def bring(source: Source, dirs: CacheDirs, notebook: Notebook) -> Gathered:
    """Downloads what is missing, and once more what is damaged.

    Raises InputError, NotFoundError, StoreError when the hub does not answer and the cache has not all of it,
    CacheError, or IntegrityError for a file that stays damaged.
    """
    gathered = gather(source, dirs, notebook.listen, download=True)
    damaged = _damaged(gathered, notebook)
    if not damaged:
        return gathered
    for repo, file in damaged:
        notebook.error(f"{file.real} is not what its name says ({file.path} of {repo}): downloading it again")
        file.real.unlink(missing_ok=True)
        for link in dirs.hub.glob(f"models--{repo.replace('/', '--')}/snapshots/*/{file.path}"):
            link.unlink()
    gathered = gather(source, dirs, notebook.listen, download=True)
    if damaged := _damaged(gathered, notebook):
        repo, file = damaged[0]
        raise IntegrityError(
            f"{file.path} of {repo} arrives damaged from the hub: look at HF_ENDPOINT and what stands in front of it"
        )
    return gathered


def _damaged(gathered: Gathered, notebook: Notebook) -> list[tuple[str, SnapshotFile]]:
    notebook.phase("check")
    found: list[tuple[str, SnapshotFile]] = []

    def look(item: tuple[str, SnapshotFile]) -> None:
        file = item[1]
        if file.blob is not None and _hash(file.real, file.blob) != file.blob:
            found.append(item)

    files = [(repo.repo_id, file) for repo in gathered.repos for file in repo.files]
    for_each(look, files, threads=4)
    return found


def _hash(path: Path, blob: str) -> str:
    with path.open("rb") as file:
        running = blob_hash(blob, os.fstat(file.fileno()).st_size)
        while piece := file.read(_PIECE):
            running.update(piece)
    return running.hexdigest()
