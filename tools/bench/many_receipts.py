"""`cas report` about many starts: the first time on a machine, and from then on, when their receipts are in its cache.

`python -m tools.bench.many_receipts` writes 10,000 receipts of a made-up fleet into a directory and into SeaweedFS.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cas.store.store import open_store
from tools import fleet
from tools.bench.measure import run
from tools.bench.results import MIB
from tools.servers.seaweed import SeaweedFS

_RUNS = 3


def _measure(store: str, environ: Mapping[str, str], folder: Path) -> None:
    """Print what the report about a store takes, without and with the cache of receipts."""
    cache = folder / "cache"
    command = [sys.executable, "-m", "cas", "-q", "--store", store, "report", "-o", str(folder / "report.html")]
    variables = {**environ, "XDG_CACHE_HOME": str(cache)}
    run(command, variables)  # fills the page cache, and keeps bytecode
    first = []
    for _ in range(_RUNS):
        shutil.rmtree(cache, ignore_errors=True)
        first.append(run(command, variables))
    later = [run(command, variables) for _ in range(_RUNS)]
    for name, runs in (("first", first), ("later", later)):
        wall, cpu = (statistics.median(getattr(one, figure) for one in runs) for figure in ("wall", "cpu"))
        peak = max(one.peak for one in runs) / MIB
        print(f"{store:24} {name}: {wall:5.2f} s wall, {cpu:5.2f} s CPU, {peak:4.0f} MiB", flush=True)
    print(f"{'':24} page:  {(folder / 'report.html').stat().st_size / 1e6:.2f} MB")


def main() -> None:
    """Print seconds, CPU seconds and memory of reports about many starts."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--receipts", type=int, default=10_000)
    made = list(fleet.receipts(parser.parse_args().receipts, until=datetime.datetime.now(datetime.UTC)))
    with tempfile.TemporaryDirectory(prefix="cas-receipts-") as name:
        folder = Path(name)
        directory = open_store(str(folder / "store"))
        directory.create()
        fleet.write(directory, made)
        _measure(directory.url, os.environ, folder)
        with SeaweedFS(folder / "seaweed") as server:
            server.create_bucket("fleet")
            os.environ.update(server.env("fleet"))
            remote = open_store("s3://fleet/cas")
            remote.create()
            fleet.write(remote, made)
            _measure(remote.url, os.environ, folder)


if __name__ == "__main__":
    main()
