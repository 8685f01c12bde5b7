"""What the tests of fsck share: a store of many small chunks, ways to damage it, and what requests it saw."""

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
    """Stores two versions of `m`, of which the second is tagged, another model, and a chunk that nothing needs."""
    first = put_model(store, {"org/model": OLD})
    second = put_model(store, {"org/model": NEW})
    put_model(store, {"org/other": {"other.bin": noise(2 * CHUNK, 7)}}, model="other")
    store.put_frame(hex_of(ORPHAN), Encoder().encode(ORPHAN))
    return first, second


def piece(files: dict[str, bytes], at: int) -> str:
    """The digest (64 hex) of a chunk of model.bin."""
    return hex_of(files["model.bin"][at * CHUNK : (at + 1) * CHUNK])


def edit(store: Store, digest: str, change: Callable[[bytearray], bytes | bytearray]) -> None:
    """Changes a chunk's frame behind the store's back."""
    key = chunk_key(digest)
    store.bucket.put(key, bytes(change(bytearray(store.bucket.get(key, 1 << 30)))), Kind.CHUNK, overwrite=True)


def flip(frame: bytearray) -> bytearray:
    """A bit in the middle is another."""
    frame[len(frame) // 2] ^= 1
    return frame


def newer(frame: bytearray) -> bytearray:
    """As a later version might write it."""
    assert frame[8:12] == b"CAS1"
    frame[8:12] = b"CAS2"
    return frame


def restored(store: Store, cache: Path, reference: str = "m") -> dict[str, bytes]:
    """The files that a restore gives."""
    return read_tree(snapshot(cas.restore(reference, store, cache_dir=cache)))


def state_of(store: Store) -> dict[str, tuple[int, object]]:
    """What lies in the store, and since when, but for leases."""
    return {
        entry.key: (entry.size, entry.modified)
        for entry in store.bucket.list("")
        if not entry.key.startswith("leases/")
    }
