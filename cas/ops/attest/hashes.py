"""The sha256 of every file of a version, of its bytes in the store: each chunk is fetched once and verified.

The names of files in a manifest are not believed: who wrote the manifest chose them. They are compared with what the
bytes hash to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

from cas import events
from cas.errors import IntegrityError
from cas.formats.manifest import ChunkRef, Manifest, RepoFile
from cas.host import Limits
from cas.local.hf_cache import blob_hash
from cas.store.chunk_memory import ChunkMemory
from cas.store.store import Store

Chunks: TypeAlias = tuple[ChunkRef, ...]

_AHEAD = 8  # chunks that are on their way while one is hashed


def sha256s(store: Store, manifest: Manifest, limits: Limits, listen: events.Listener) -> dict[Chunks, str]:
    """Return the sha256 (64 hex) of each content of a version, by its chunks.

    Args:
        store: where the chunks are.
        manifest: of the version.
        limits: bounds of memory, requests and decoders.
        listen: hears of each chunk that was hashed.

    Raises:
        IntegrityError: a file's bytes are not those that its name in the manifest, a sha256 or git sha1, tells.
        ChunkMissing: the store lacks a chunk.
        ChunkCorrupt: a chunk is damaged.
    """
    names: dict[Chunks, dict[str, str]] = {}  # content -> name of a blob -> a file's path, for errors
    for file in manifest.all_files():
        of_content = names.setdefault(file.chunks, {})
        if isinstance(file, RepoFile):
            of_content[file.blob] = file.path
    wanted = [chunk for content in names for chunk in content]
    listen(events.Phase("hash", sum(chunk.size for chunk in wanted)))
    chunks = _in_order(store, wanted, limits)
    found = {}
    for content, of_content in names.items():
        found[content], others = _digests(content, of_content, chunks, listen)
        for blob, got in others.items():
            if got != blob:
                raise IntegrityError(
                    f"file {of_content[blob]!a} is named {blob} in the manifest, and its bytes hash to {got}: no "
                    "publish wrote this manifest; do not release it"
                )
    return found


def _in_order(store: Store, chunks: Sequence[ChunkRef], limits: Limits) -> Iterator[memoryview]:
    """Yield the verified plain bytes of chunks, while those that come next are on their way."""
    memory = ChunkMemory(store, limits)
    for index, chunk in enumerate(chunks):
        memory.fetch_ahead(chunks[index : index + _AHEAD])
        yield memory.get(chunk)


def _digests(
    content: Chunks, blobs: Collection[str], chunks: Iterator[memoryview], listen: events.Listener
) -> tuple[str, dict[str, str]]:
    """Return the sha256 of the next chunks, and what each blob's name should be, by the name that it has."""
    sha256 = hashlib.sha256()
    others = {
        blob: sha256 if len(blob) == 64 else blob_hash(blob, sum(chunk.size for chunk in content)) for blob in blobs
    }
    distinct = {id(running): running for running in (sha256, *others.values())}.values()
    for chunk in content:
        plain = next(chunks)
        for running in distinct:
            running.update(plain)
        listen(events.Moved(chunk.size))
    return sha256.hexdigest(), {blob: running.hexdigest() for blob, running in others.items()}
