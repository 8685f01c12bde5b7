"""What the tests of fsck share: a store of many small chunks, and ways to damage it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cas
from cas.bucket import Kind
from cas.formats.digest import hex_of
from cas.formats.frame import Encoder
from cas.formats.manifest import Manifest
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.models import KIB, noise, put_model, read_tree, snapshot

CHUNK = 64 * KIB
OLD = {"model.bin": noise(12 * CHUNK, 1), "config.json": b"{}"}
NEW = {"model.bin": noise(6 * CHUNK, 1) + noise(6 * CHUNK, 2), "config.json": b"{1}"}
ORPHAN = noise(CHUNK, 99)


def fill(store: Store) -> tuple[Manifest, Manifest]:
    """Store two versions of `m`, of which the second is tagged, another model, and a chunk that no version needs."""
    first = put_model(store, {"org/model": OLD})
    second = put_model(store, {"org/model": NEW})
    put_model(store, {"org/other": {"other.bin": noise(2 * CHUNK, 7)}}, model="other")
    store.put_frame(hex_of(ORPHAN), Encoder().encode(ORPHAN))
    return first, second


def piece(files: dict[str, bytes], index: int) -> str:
    """Return the digest (64 hex) of the chunk of model.bin with this index."""
    return hex_of(files["model.bin"][index * CHUNK : (index + 1) * CHUNK])


def edit(store: Store, digest: str, change: Callable[[bytearray], bytes | bytearray]) -> None:
    """Replace the frame of a chunk (64 hex) in the bucket by what `change` makes of it."""
    key = chunk_key(digest)
    store.bucket.put(key, bytes(change(bytearray(store.bucket.get(key, 1 << 30)))), Kind.CHUNK, overwrite=True)


def flip(frame: bytearray) -> bytearray:
    """Flip a bit in the middle of a frame."""
    frame[len(frame) // 2] ^= 1
    return frame


def newer(frame: bytearray) -> bytearray:
    """Mark a frame as one that a later version wrote."""
    assert frame[8:12] == b"CAS1"
    frame[8:12] = b"CAS2"
    return frame


def restored(store: Store, cache: Path, reference: str = "m") -> dict[str, bytes]:
    """Restore a version into a hub cache, and return its files."""
    return read_tree(snapshot(cas.restore(reference, store, cache_dir=cache)))


def state_of(store: Store) -> dict[str, tuple[int, object]]:
    """Return size and time of every object except leases."""
    return {
        entry.key: (entry.size, entry.modified)
        for entry in store.bucket.list("")
        if not entry.key.startswith("leases/")
    }
