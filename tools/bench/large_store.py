"""A publish of a small model into a store of a million chunks, and `du` and `gc --dry-run` of a store of sixty.

The million are empty files under made-up digests: a publish lists them or looks them up, and opens none.
`python -m tools.bench.large_store --also TREE` measures another checkout of this repository in the same run.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

from cas.bucket import open_bucket
from cas.store.layout import chunk_key
from cas.store.store import Store, open_store
from tests.support.by_hand import put, repo, version
from tests.support.models import write_tree
from tools.bench.measure import Run, run
from tools.bench.results import MIB
from tools.servers.fault_proxy import FaultProxy
from tools.servers.seaweed import SeaweedFS

_ROUNDS = 3


def main() -> None:
    """Print seconds and memory of the publishes, and how many listings the small store takes."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.large_store", description=__doc__)
    parser.add_argument("--chunks", type=int, default=1_000_000, help="chunks in the store (default 1,000,000)")
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 1100], help="chunks of the models")
    parser.add_argument("--also", type=Path, action="append", default=[], help="another checkout to measure")
    options = parser.parse_args()
    trees = [Path(__file__).parents[2], *options.also]
    with tempfile.TemporaryDirectory(prefix="cas-large-") as folder:
        _small_store(Path(folder), trees)
        store = _fill(Path(folder) / "store", options.chunks)
        for count in options.files:
            files = {f"{number:04}": b"%d of %d" % (number, count) for number in range(count)}
            source = write_tree(Path(folder) / f"model{count}", files)
            _publish(trees[0], store, source, f"first{count}")
            for number, tree in enumerate(trees):
                # Each time under another name, so that no parent tells which chunks the store has.
                runs = [_publish(tree, store, source, f"m{count}-{number}-{round_}") for round_ in range(_ROUNDS)]
                wall, peak = min(one.wall for one in runs), max(one.peak for one in runs) / MIB
                print(f"publish {count:,} into {options.chunks:,}: {wall:6.2f} s {peak:5.0f} MiB   {tree}", flush=True)


def _fill(folder: Path, chunks: int) -> Store:
    store = open_store(str(folder))
    store.create()
    luck = random.Random(1)
    for number in range(256):
        (folder / chunk_key(f"{number:02x}")).parent.mkdir(parents=True)
    for _ in range(chunks):
        os.close(os.open(folder / chunk_key(f"{luck.getrandbits(256):064x}"), os.O_CREAT | os.O_WRONLY))
    return store


def _publish(tree: Path, store: Store, source: Path, model: str) -> Run:
    words = ["-q", "--store", store.url, "publish", model, "--dir", str(source), "--as", "org/m"]
    return run([sys.executable, "-P", "-m", "cas", *words], {**os.environ, "PYTHONPATH": str(tree)})


def _small_store(work: Path, trees: list[Path]) -> None:
    (work / "server").mkdir()
    with SeaweedFS(work / "server") as server:
        server.create_bucket("small-store")
        host, _, port = server.endpoint.removeprefix("http://").partition(":")
        with FaultProxy(host, int(port), credentials=server.credentials()) as proxy:
            environment = {**os.environ, **server.env("small-store"), "AWS_ENDPOINT_URL": proxy.url}
            os.environ.update(environment)
            store = Store(open_bucket("s3://small-store/cas"))
            version(store, [repo("org/m", {str(number): put(store, b"%d" % number) for number in range(60)})])
            for tree in trees:
                for words in (["du"], ["gc", "--dry-run"]):
                    proxy.requests.clear()
                    command = [sys.executable, "-P", "-m", "cas", "-q", "--store", store.url, *words]
                    run(command, {**environment, "PYTHONPATH": str(tree)})
                    lists = proxy.count("GET", "list-type=2") + proxy.count("GET", "versions")
                    print(f"{' '.join(words)} of 60 chunks: {lists:,} listings   {tree}", flush=True)


if __name__ == "__main__":
    main()
