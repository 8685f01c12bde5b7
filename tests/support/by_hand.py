"""Versions made by hand, chunk by chunk: repos, files and the chunks at chosen cuts."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from cas.formats.digest import hex_of, named
from cas.formats.frame import Encoder
from cas.formats.manifest import ChunkRef, Manifest, Manifest1, Repo, RepoFile
from cas.store.store import Store
from tests.support.models import COMMIT


def put(store: Store, data: bytes, cuts: Sequence[int] = ()) -> tuple[ChunkRef, ...]:
    """Store `data` in chunks that end at the offsets `cuts`, and return them."""
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    refs = []
    for start, end in itertools.pairwise(edges):
        piece = data[start:end]
        store.put_frame(hex_of(piece), Encoder().encode(piece))
        refs.append(ChunkRef(hex_of(piece), len(piece)))
    return tuple(refs)


def repo(
    name: str, files: Mapping[str, tuple[ChunkRef, ...]], commit: str = COMMIT, refs: tuple[str, ...] = ("main",)
) -> Repo:
    """Return a repo of files that consist of stored chunks; a blob's name is a hash of its chunks' digests.

    Args:
        name: the repo's id.
        files: path -> the file's chunks.
        commit: the repo's commit (40 hex).
        refs: the repo's refs.
    """
    made = []
    for path, chunks in files.items():
        blob = hashlib.sha256("".join(chunk.digest for chunk in chunks).encode()).hexdigest()
        made.append(RepoFile(path, sum(chunk.size for chunk in chunks), blob, chunks))
    return Repo(name, "model", commit, refs, tuple(made))


def version(store: Store, repos: Sequence[Repo], model: str = "m", created: str | None = None, **fields: Any) -> str:
    """Store a manifest, and return a reference to the version.

    Args:
        store: the store, which is created if it does not exist.
        repos: the version's repos.
        model: the model's name.
        created: the time in a manifest of version 1; None makes one of version 2.
        fields: other fields of the manifest.
    """
    store.create()
    if created is None:
        made = Manifest(model=model, repos=tuple(repos), **fields)
    else:
        made = Manifest1(model=model, created=created, created_by="tests", repos=tuple(repos), **fields)
    return f"{model}@{named(store.put_manifest(made))}"
