"""A publish that extends a version: files that the tag's version has of the same commit stay, though they are not here.

For whoever publishes a repo file by file, as a server does with what it fetches from a hub: each publish adds to the
last, and no file has to stay on this machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

import msgspec

from cas.errors import ChunkMissing
from cas.formats.manifest import Manifest, Repo, RepoFile
from cas.host import Limits
from cas.store import lookup
from cas.store.store import Store


def extended(repos: Iterable[Repo], parent: Manifest | None) -> tuple[Repo, ...]:
    """Return the repos with the files that the parent has of them, at the same commits and other paths."""
    before = {_identity(repo): repo.files for repo in parent.repos} if parent else {}
    return tuple(_extended(repo, before.get(_identity(repo), ())) for repo in repos)


def check_stored(repos: Iterable[Repo], known: Iterable[str], store: Store, limits: Limits) -> None:
    """Check that the store has the chunks that no file on this machine could replace.

    Args:
        repos: of the new version.
        known: digests of the chunks that are on this machine.
        store: the store.
        limits: requests at once.

    Raises:
        ChunkMissing: it lacks one.
        StoreError: it cannot be read.
    """
    chunks = {chunk.digest: chunk.size for repo in repos for file in repo.files for chunk in file.chunks}
    for digest in known:
        chunks.pop(digest, None)
    if chunks and (lost := chunks.keys() - lookup.stored_chunks(store, chunks, limits)):
        raise ChunkMissing(min(lost), store.where)


def _extended(repo: Repo, before: Iterable[RepoFile]) -> Repo:
    here = {file.path for file in repo.files}
    files = (*repo.files, *(file for file in before if file.path not in here))
    return msgspec.structs.replace(repo, files=tuple(sorted(files, key=attrgetter("path"))))


def _identity(repo: Repo) -> tuple[str, str, str]:
    return repo.repo_type, repo.repo_id, repo.commit
