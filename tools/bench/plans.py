"""Measure the plan of a restore of a very large model, whose chunks need not exist."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from blake3 import blake3

from cas import refs
from cas.formats.manifest import ChunkRef, Manifest, Repo, RepoFile
from cas.store.store import Store, open_store
from tools.bench.measure import Run, run

CHUNKS = 20_000
_CHUNK = 8 << 20
_FILES = 32
_MODEL = "large"


def plan_large(folder: Path, environment: Mapping[str, str], chunks: int = CHUNKS) -> Run:
    """Measure `cas restore --dry-run` of a large model in a directory store.

    The chunks have made-up digests and do not exist: planning does not read them. 20,000 chunks of 8 MiB are 168 GB; a
    plan checks the free space, so the manifest gives smaller sizes where the disk has less than that.

    Args:
        folder: an empty directory for store and cache.
        environment: all variables of the command.
        chunks: how many chunks the model has.

    Raises:
        Failed: the command ends with an exit code other than 0.
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
    new = Manifest(model=_MODEL, repos=(repo,))
    store.create()
    refs.log_of(store, refs.parse_reference(_MODEL)).append(store.put_manifest(new), reason="bench")


def _file(number: int, chunks: int, size: int) -> RepoFile:
    digests = (blake3(f"{number}/{index}".encode()).hexdigest() for index in range(chunks))
    refs_of_chunks = tuple(ChunkRef(digest, size) for digest in digests)
    path = f"model-{number + 1:05}-of-{_FILES:05}.safetensors"
    return RepoFile(path, chunks * size, blake3(path.encode()).hexdigest(), refs_of_chunks)
