"""Versions with a manifest of version 1: dated, in their publisher's order, and cut by other rules."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from cas import refs
from cas.formats.digest import hex_of
from cas.formats.frame import Codec, Encoder
from cas.formats.manifest import ChunkRef, Derived1, Manifest1, PlainFile, RepoFile
from cas.store.store import Store

_File = TypeVar("_File", RepoFile, PlainFile)

CUT = 100_000
"""Bytes of a chunk: no publisher cuts files so small, so the chunk lists of larger files differ by any rules."""


def publish_1(store: Store, other: Store, reference: str = "m", **fields: object) -> str:
    """Store a version of another store with a manifest of version 1, and tag it `latest`.

    Args:
        store: the store, which is created if it does not exist.
        other: the store that has the content.
        reference: names the version there.
        fields: fields of the manifest that shall differ.

    Returns:
        The digest of the manifest (64 hex).
    """
    store.create()
    encoder, codec = Encoder(), Codec()
    same = refs.resolve(other, reference).manifest

    def cut(file: _File) -> _File:
        data = b"".join(bytes(other.get_chunk(chunk, codec.decoder)[0]) for chunk in file.chunks)
        pieces = [data[at : at + CUT] for at in range(0, len(data), CUT)]
        for piece in pieces:
            store.put_frame(hex_of(piece), encoder.encode(piece))
        return msgspec.structs.replace(file, chunks=tuple(ChunkRef(hex_of(piece), len(piece)) for piece in pieces))

    made = Manifest1(
        model=same.model,
        repos=tuple(msgspec.structs.replace(repo, files=tuple(map(cut, repo.files))) for repo in reversed(same.repos)),
        files=tuple(map(cut, same.files)),
        derived=Derived1(same.derived.parent, same.derived.transform, "as it was") if same.derived else None,
        annotations=same.annotations,
        created="2026-01-01T00:00:00Z",
        created_by="cas 0.1.0",
    )
    digest = store.put_manifest(msgspec.structs.replace(made, **fields))
    refs.log_of(store, refs.parse_reference(same.model)).append(digest, reason="publish")
    return digest
