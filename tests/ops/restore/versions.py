"""Two versions of one model, and a cache to bring from one to the other."""

from __future__ import annotations

import os
from pathlib import Path

import cas
from cas import refs
from cas.bucket import open_bucket
from cas.store.store import Store
from tests.support.buckets import RecordingBucket
from tests.support.models import KIB, publish_tree, read_tree, snapshot, write_tree
from tools.models.safetensors import write_safetensors
from tools.models.weights import Recipe, Weights

MIB = 1024 * KIB
TENSORS = {f"layer{at}.weight": ("F32", (1280, 256)) for at in range(6)} | {"small.bias": ("F32", (100,))}
"""Six of 1.25 MiB, each a chunk of its own; the small one shares none."""


def model(changed: float = 0.0, note: str | None = None) -> bytes:
    """A safetensors file, or a successor of it; a note makes the header longer."""
    path = Path(os.environ["HOME"]) / "made.safetensors"
    metadata = None if note is None else {"note": note}
    write_safetensors(path, Weights(TENSORS, Recipe(0, changed)), metadata)
    return path.read_bytes()


class Versions:
    """Two versions of one repo in a store that counts, and what only the newer one consists of."""

    def __init__(self, root: Path, old: dict[str, bytes], new: dict[str, bytes]) -> None:
        self.root, self.old, self.new = root, old, new
        inner = open_bucket(str(root / "store"))
        for tag, files in (("old", old), ("new", new)):
            publish_tree(Store(inner), write_tree(root / tag, files), tags=[tag])
        self.bucket = RecordingBucket(inner)
        self.store = Store(self.bucket)
        self.cache = root / "cache"
        self.added = chunks_of(self.store, "new").keys() - chunks_of(self.store, "old").keys()
        self.added_bytes = sum(chunks_of(self.store, "new")[digest] for digest in self.added)

    def restore(self, tag: str = "new", **options: object) -> cas.Restored:
        self.bucket.read.clear()
        return cas.restore(f"m:{tag}", self.store, **{"cache_dir": self.cache, **options})  # type: ignore[arg-type]

    def check(self, restored: cas.Restored) -> None:
        """Exactly what the old version lacks was fetched, each chunk once, and the rest came from here."""
        assert sorted(self.bucket.chunks) == sorted(self.added)
        assert restored.fetched == self.added_bytes
        assert read_tree(snapshot(restored)) == self.new
        assert not self.restore().changed


def chunks_of(store: Store, tag: str) -> dict[str, int]:
    """The chunks of a version, and how long each is."""
    return refs.resolve(store, f"m:{tag}").manifest.chunks()


def old_commit(versions: Versions) -> str:
    """The commit that the old version is of."""
    (repo,) = refs.resolve(versions.store, "m:old").manifest.repos
    return repo.commit


def flip(path: Path, at: int) -> None:
    """Changes one bit of a file in place."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def big_file(cache: Path) -> Path:
    """Where the model's bytes lie in a cache."""
    (blob,) = (path for path in cache.glob("models--org--model/blobs/*") if path.stat().st_size > MIB)
    return blob
