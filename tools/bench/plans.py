"""What planning a very large model costs, by its metadata alone."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from blake3 import blake3

from cas import refs
from cas.formats import manifest
from cas.formats.manifest import ChunkRef, Manifest, Repo, RepoFile
from cas.store.store import Store, open_store
from tools.bench.measure import Run, run

CHUNKS = 20_000
_CHUNK = 8 << 20
_FILES = 32
_MODEL = "large"


def plan_large(folder: Path, environment: Mapping[str, str], chunks: int = CHUNKS) -> Run:
    """Measures `cas restore --dry-run` of a model of so many chunks in a directory store.

    The chunks have made-up digests and are not there: planning does not look at them. At 8 MiB each 20,000 are
    168 GB; where the disk has no room for that, which a plan is about, they are called smaller.
    """
    url = str(folder / "store")
    size = min(_CHUNK, shutil.disk_usage(folder).free // 2 // chunks)
    _write(open_store(url), chunks, size)
    words = ["restore", _MODEL, "--dry-run", "--cache-dir", str(folder / "cache"), "--store", url]
    return run([sys.executable, "-m", "cas", "-q", *words], environment)


def _write(store: Store, chunks: int, size: int) -> None:
    each = chunks // _FILES
    files = tuple(_file(number, each if number else chunks - each * (_FILES - 1), size) for number in range(_FILES))
    repo = Repo("org/large", "model", "c" * 40, ("main",), files)
    new = Manifest(model=_MODEL, created=manifest.now(), created_by="bench", repos=(repo,))
    store.create()
    refs.log_of(store, refs.parse_reference(_MODEL)).append(store.put_manifest(new), reason="bench")


def _file(number: int, chunks: int, size: int) -> RepoFile:
    digests = (blake3(f"{number}/{index}".encode()).hexdigest() for index in range(chunks))
    parts = tuple(ChunkRef(digest, size) for digest in digests)
    path = f"model-{number + 1:05}-of-{_FILES:05}.safetensors"
    return RepoFile(path, chunks * size, blake3(path.encode()).hexdigest(), parts)
