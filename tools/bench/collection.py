"""`cas gc` of large stores: time and memory of a run that condemns, and of one that sweeps, in a process of its own.

The bucket is made up as it is read, page by page, so all memory is the collector's. One chunk in ten is garbage, and
each other is needed by five or six versions of 5,000 chunks, of which there are a thousandth as many as chunks.
`python -m tools.bench.collection` measures 100,000 and 1,000,000 chunks; `--also TREE` measures another checkout of
this repository in the same run.
"""

from __future__ import annotations

import argparse
import datetime
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from cas.bucket import Bucket, Entry, Kind
from cas.errors import ObjectMissing
from cas.formats.digest import Buffer, hex_of
from cas.ops.gc import collector
from cas.store.layout import CHUNKS, MANIFESTS, chunk_key, manifest_folder, manifest_key
from cas.store.store import Store
from tools.bench.results import MIB

_MODEL, _EACH, _STRIDE, _PAGE = "large", 5000, 900, 1000
_Entries: TypeAlias = list[Entry]
_NOW = datetime.datetime.now(datetime.UTC)
_OLD = _NOW - datetime.timedelta(days=9)


class MadeUpBucket(Bucket):
    """A bucket of chunks and manifests that nobody wrote; it takes documents of a collector's.

    Attributes:
        written: the documents, by key.
        erased: how many chunks were deleted; a listing goes on showing them.
    """

    def __init__(self, chunks: int) -> None:
        """Make up a store. chunks: how many it has."""
        self.url, self._chunks = "made-up", chunks
        self.written: dict[str, tuple[bytes, datetime.datetime]] = {
            "format.json": (b'{"format":"cas","version":1}', _OLD)
        }
        self._versions = {manifest_key(_MODEL, hex_of(self._manifest(n))): n for n in range(chunks // 1000)}
        self.erased = 0

    def get(self, key: str, limit: int) -> Buffer:
        if key in self._versions:
            return self._manifest(self._versions[key])
        if key in self.written:
            return self.written[key][0]
        raise ObjectMissing(key, self.url)

    def head(self, key: str) -> Entry:
        return Entry(key, len(self.written[key][0]), self.written[key][1])

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        self.written[key] = bytes(data), datetime.datetime.now(datetime.UTC)
        return True

    def delete(self, key: str) -> None:
        self.erased += not self.written.pop(key, None)

    def list(self, prefix: str) -> list[Entry]:
        return [entry for page in self.pages(prefix) for entry in page]

    def pages(self, prefix: str) -> Iterator[_Entries]:
        if prefix.startswith(CHUNKS):
            for shard in [int(prefix[-2:], 16)] if "/" in prefix else range(256):
                numbers = range(shard, self._chunks, 256)
                for at in range(0, len(numbers), _PAGE):
                    yield [Entry(chunk_key(_digest(n)), 4_000_000, _OLD, "0" * 32) for n in numbers[at : at + _PAGE]]
        elif prefix in (MANIFESTS, manifest_folder(_MODEL)):
            yield [Entry(key, 5000 * 75, _NOW) for key in sorted(self._versions)]
        else:
            yield [self.head(key) for key in sorted(self.written) if key.startswith(f"{prefix}/")]

    def _manifest(self, number: int) -> bytes:
        first = number * _STRIDE
        chunks = ",".join(f'["{_digest(n)}",8388608]' for n in range(first, min(first + _EACH, self._chunks * 9 // 10)))
        size = 8388608 * chunks.count("[")
        file = f'{{"path":"x","size":{size},"blob":"{number:064x}","chunks":[{chunks}]}}'
        repo = f'{{"repo_id":"o/m","repo_type":"model","commit":"{"0" * 40}","refs":["main"],"files":[{file}]}}'
        head = f'{{"version":2,"model":"{_MODEL}"'
        return f'{head},"repos":[{repo}],"files":[],"derived":null,"annotations":{{}}}}'.encode()


def _digest(number: int) -> str:
    """The digest of a chunk: those of a version are spread over all folders."""
    return f"{number % 256:02x}{number // 256:010x}{number * 0x9E3779B97F4A7C15 % (1 << 208):052x}"


def measure(chunks: int) -> None:
    """Condemn, and then sweep, in this process; print seconds and the peak after each."""
    bucket = MadeUpBucket(chunks)
    for words in ("condemn", "sweep"):
        begun = time.monotonic()
        cpu = time.process_time()
        done = collector.gc(Store(bucket))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MIB
        what = f"{done.kept_chunks:,} kept, {done.condemned_chunks:,} condemned, {done.swept_chunks:,} swept"
        cpu = time.process_time() - cpu
        print(
            f"{chunks:11,} chunks, {words:8}{time.monotonic() - begun:7.1f} s{cpu:7.1f} CPU s{peak:6.0f} MiB  {what}",
            flush=True,
        )
        bucket.written = {
            key: (data, at - datetime.timedelta(days=2))
            for key, (data, at) in bucket.written.items()
            if "sweep" not in key
        }


def main() -> None:
    """Measure each size in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.collection", description=__doc__)
    parser.add_argument("--chunks", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--also", type=Path, action="append", default=[], help="another checkout to measure")
    parser.add_argument("--here", action="store_true", help="in this process")
    options = parser.parse_args()
    for chunks in options.chunks:
        if options.here:
            measure(chunks)
            continue
        for tree in (Path(__file__).parents[2], *options.also):
            print(tree, flush=True)
            subprocess.run(
                [sys.executable, "-P", __file__, "--here", "--chunks", str(chunks)],
                env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{Path(__file__).parents[2]}"},
                check=True,
            )


if __name__ == "__main__":
    main()
