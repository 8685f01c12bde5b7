"""What the tests of copies and archives share: a small model of many chunks, and what a store holds."""

from __future__ import annotations

from pathlib import Path

from cas.store import layout
from cas.store.store import Store
from tests.support.models import KIB, noise, put_model

CHUNK = 64 * KIB
FILES = {"model.bin": noise(12 * CHUNK, 1), "config.json": b"{}"}
NEXT = {"model.bin": noise(10 * CHUNK, 1) + noise(2 * CHUNK, 2), "config.json": b"{1}"}


def filled(store: Store, files: dict[str, bytes] = FILES, model: str = "m") -> str:
    """Store a version and tag it `latest`; return its digest (64 hex)."""
    from cas.formats.manifest import digest_of

    return digest_of(put_model(store, {f"org/{model}": files}, model=model))


def objects(store: Store) -> dict[str, bytes]:
    """Every chunk and manifest of a store by its key."""
    found = [*store.bucket.list(layout.CHUNKS), *store.bucket.list(layout.MANIFESTS)]
    return {entry.key: bytes(store.bucket.get(entry.key, 1 << 30)) for entry in found}


def beside(store: Store, tmp_path: Path, name: str = "copy") -> str:
    """The URL of another place for a store, of the same kind."""
    return f"{store.url.rpartition('/')[0]}/{name}" if "://" in store.url else str(tmp_path / name)
