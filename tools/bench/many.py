"""A store with a long history: many versions of one model of 1.4 GB, each 2 % unlike the one before.

Manifests, refs and the safetensors header are real. The tensors' chunks are small objects under made-up digests: the
commands that are measured list chunks and never open one. `python -m tools.bench.many` measures `ls`, `tree`, `diff`,
`du` and `gc --dry-run`.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cas.formats import manifest, safetensors
from cas.formats.digest import hex_of, named
from cas.formats.frame import Encoder
from cas.formats.manifest import ChunkRef, Manifest, Repo, RepoFile
from cas.formats.safetensors import Tensor
from cas.refs.entry import RefEntry
from cas.store.layout import chunk_key, manifest_key
from cas.store.store import Store, open_store
from tools.bench.measure import run
from tools.bench.results import MIB

MODEL = "many"
CHUNKS = 250
SIZE = 5_600_000
CHANGED = CHUNKS * 2 // 100
_BEGAN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Many:
    """The versions that were made.

    Attributes:
        digests: digest (64 hex) of each version, oldest first.
        tensors: the chunks of each version, except for the one of the safetensors header.
    """

    digests: list[str]
    tensors: list[list[ChunkRef]]


def make_many(store: Store, versions: int = 200) -> Many:
    """Fill a store as an hourly publish does: `latest` named each version, every tenth has a tag, the last one a pin.

    Args:
        store: a store in a directory, empty so far.
        versions: how many versions to make.
    """
    store.create()
    root = Path(store.url.removeprefix("file://"))
    head = safetensors.render(
        (Tensor(f"blocks.{n}.weight", "F32", (SIZE // 4,), n * SIZE, (n + 1) * SIZE) for n in range(CHUNKS)), None
    )
    header = ChunkRef(hex_of(head), len(head))
    _write(root / chunk_key(header.digest), Encoder().encode(head))
    current = [_chunk(root, f"0-{n}") for n in range(CHUNKS)]
    made = Many([], [])
    for number in range(versions):
        if number:
            for changed in range(CHANGED):
                index = (number * CHANGED + changed) % CHUNKS
                current[index] = _chunk(root, f"{number}-{index}")
        made.tensors.append(list(current))
        made.digests.append(_version(root, number, [header, *current]))
        _move(root / f"refs/tags/{MODEL}/latest", number + 1, number, made.digests[-1])
        if number % 10 == 0:
            _move(root / f"refs/tags/{MODEL}/v{number}", 1, number, made.digests[-1])
    _move(root / f"refs/pins/eu-prod/{MODEL}", 1, versions, made.digests[-1])
    return made


def _version(root: Path, number: int, chunks: list[ChunkRef]) -> str:
    blob = hashlib.sha256(b"%d" % number).hexdigest()
    file = RepoFile("model.safetensors", sum(chunk.size for chunk in chunks), blob, tuple(chunks))
    data = manifest.encode(
        Manifest(
            model=MODEL,
            repos=(Repo("org/many", "model", blob[:40], ("main",), (file,)),),
        )
    )
    digest = hex_of(data)
    _write(root / manifest_key(MODEL, digest), data, number)
    return digest


def _chunk(root: Path, name: str) -> ChunkRef:
    digest = hex_of(name.encode())
    _write(root / chunk_key(digest), b"x" * (50 + int(digest[:2], 16)))
    return ChunkRef(digest, SIZE)


def _move(folder: Path, sequence: int, hour: int, digest: str) -> None:
    created = manifest.timestamp(_BEGAN + datetime.timedelta(hours=hour))
    entry = msgspec.json.encode(RefEntry(named(digest), created, "tests", "made"))
    _write(folder / f"{sequence:08}-{os.urandom(8).hex()}.json", entry, hour)


def _write(path: Path, data: bytes | bytearray, hour: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if hour is not None:
        at = (_BEGAN + datetime.timedelta(hours=hour)).timestamp()
        os.utime(path, (at, at))


def main() -> None:
    """Print medians of five whole processes of each command, and their highest peak."""
    with tempfile.TemporaryDirectory(prefix="cas-many-") as folder:
        store = open_store(f"{folder}/store")
        made = make_many(store)
        first, last = (f"{MODEL}@{named(digest)}" for digest in (made.digests[-2], made.digests[-1]))
        collect = ["gc", "--dry-run", "--grace", "0s"]
        for words in (["ls"], ["ls", MODEL], ["tree"], ["diff", first, last], ["du"], collect):
            command = [sys.executable, "-m", "cas", "-q", "--store", store.url, *words]
            runs = [run(command, os.environ) for _ in range(6)][1:]
            wall, peak = statistics.median(one.wall for one in runs), max(one.peak for one in runs) / MIB
            shown = " ".join(word if "@" not in word else "REF" for word in words)
            print(f"cas {shown:30}{wall:6.2f} s{peak:8.0f} MiB")


if __name__ == "__main__":
    main()
