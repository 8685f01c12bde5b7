"""`cas ls` of a model with many versions of many chunks: the first time on a machine, and from then on.

The manifests are real, and the refs; there are no chunks, which `ls` never looks at.
`python -m tools.bench.long_lists` makes 500 versions of 20,000 chunks (770 MB) in a directory.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import msgspec

from cas.formats import manifest
from cas.formats.digest import hex_of, named
from cas.formats.manifest import Manifest, Repo
from cas.refs.entry import RefEntry
from cas.store.layout import manifest_key
from cas.store.store import Store, open_store
from tools.bench.measure import run
from tools.bench.results import MIB

MODEL = "long"
CHUNK = 8 * MIB
FILES = 20


def make_versions(store: Store, versions: int, chunks: int) -> list[str]:
    """Fill a store in a directory with versions of one model, each with one chunk unlike the one before.

    Args:
        store: empty so far.
        versions: how many to make; every tenth gets a tag.
        chunks: of each, in 20 files.

    Returns:
        The digests (64 hex), oldest first.
    """
    store.create()
    root, each = Path(store.url), chunks // FILES
    empty = manifest.encode(
        Manifest(
            model=MODEL,
            repos=(Repo("o/m", "model", "0" * 40, ("main",), ()),),
        )
    )
    made, names = [], [hex_of(b"%d" % number) for number in range(chunks)]
    for version in range(versions):
        names[version % chunks] = hex_of(b"new %d" % version)
        files = ",".join(_file(version, n, names[n * each : (n + 1) * each]) for n in range(FILES))
        data = empty.replace(b'"files":[]', f'"files":[{files}]'.encode(), 1)
        made.append(hex_of(data))
        _write(root / manifest_key(MODEL, made[-1]), data)
        if version % 10 == 0:
            entry = msgspec.json.encode(RefEntry(named(made[-1]), manifest.now(), "bench", "made"))
            _write(root / f"refs/tags/{MODEL}/v{version}/00000001-{os.urandom(8).hex()}.json", entry)
    return made


def _file(version: int, number: int, chunks: list[str]) -> str:
    """Return the JSON of a file: that of a manifest of 20,000 chunks takes `manifest.encode` a second."""
    blob, shown = hex_of(b"%d %d" % (version, number)), ",".join(f'["{name}",{CHUNK}]' for name in chunks)
    size = len(chunks) * CHUNK
    return f'{{"path":"model-{number:05}.safetensors","size":{size},"blob":"{blob}","chunks":[{shown}]}}'


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def main() -> None:
    """Print the first run of `cas ls MODEL` on a machine, and the median of five that follow."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--versions", type=int, default=500)
    parser.add_argument("--chunks", type=int, default=20_000, help="of each version")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cas-long-") as folder:
        store = open_store(f"{folder}/store")
        make_versions(store, options.versions, options.chunks)
        environ = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache"}
        command = [sys.executable, "-m", "cas", "-q", "--store", store.url, "ls", MODEL]
        run(command, environ)  # fills the page cache
        shutil.rmtree(f"{folder}/cache", ignore_errors=True)
        first, *later = [run(command, environ) for _ in range(6)]
        wall = statistics.median(one.wall for one in later)
        print(
            f"first {first.wall:.2f} s, {first.peak / MIB:.0f} MiB; later {wall:.2f} s, {later[0].peak / MIB:.0f} MiB"
        )


if __name__ == "__main__":
    main()
