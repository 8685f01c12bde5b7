"""Times cas against s5cmd on F5-TTS v1 Base and a real S3 server on this machine, in interleaved rounds."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools.bench.measure import Run, fill_page_cache, run, spread
from tools.models.f5tts import hub_folder
from tools.seaweed import SeaweedFS

_BUCKET = "bench"
_MODEL = "f5-tts"
_REPO = "SWivid/F5-TTS"


class Bench:
    """The files, the server, and each contender as a function that runs once."""

    def __init__(self, work: Path, server: SeaweedFS) -> None:
        self._work = work
        self.source = work / "hub" / _REPO
        self._environment = {**os.environ, **server.env(_BUCKET), "S3_ENDPOINT_URL": server.endpoint}
        self._endpoint = server.endpoint

    def prepare(self) -> float:
        """Makes the model and puts it into the bucket both ways; stored bytes over plain bytes."""
        hub_folder(self._work / "hub")
        published = subprocess.run(
            [sys.executable, "-m", "cas", "-q", "--json", *self._publish()],
            env=self._environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        document = json.loads(published.stdout)
        self._s5cmd("cp", f"{self.source}/", f"s3://{_BUCKET}/raw/")
        return float(document["wire"] / document["total"])

    def restore(self) -> Run:
        """A cold restore into an empty cache."""
        return self._cas("restore", _MODEL, "--cache-dir", self._empty("cache"))

    def warm_restore(self) -> Run:
        """A restore of what is there."""
        return self._cas("restore", _MODEL, "--cache-dir", str(self._work / "cache"))

    def unchanged_publish(self) -> Run:
        """A publish of what the store has."""
        return self._cas(*self._publish())

    def fresh_publish(self) -> Run:
        """A publish into an empty store."""
        url = f"s3://{_BUCKET}/store-{os.urandom(4).hex()}"
        return self._cas("--store", url, *self._publish())

    def s5cmd_download(self) -> Run:
        """The raw files, copied; nothing is verified."""
        return self._s5cmd("cp", f"s3://{_BUCKET}/raw/*", self._empty("raw") + "/")

    def s5cmd_upload(self) -> Run:
        """The raw files, copied to a fresh prefix."""
        return self._s5cmd("cp", f"{self.source}/", f"s3://{_BUCKET}/raw-{os.urandom(4).hex()}/")

    def _publish(self) -> list[str]:
        return ["publish", _MODEL, "--dir", str(self.source), "--as", _REPO]

    def _cas(self, *words: str) -> Run:
        return run([sys.executable, "-m", "cas", "-q", *words], self._environment)

    def _s5cmd(self, *words: str) -> Run:
        s5cmd = str(Path(sys.executable).with_name("s5cmd"))
        return run([s5cmd, "--endpoint-url", self._endpoint, *words], self._environment)

    def _empty(self, name: str) -> str:
        folder = self._work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return str(folder)


def main() -> None:
    """Runs the rounds and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one that is not counted (default 5)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="cas-bench-") as folder, SeaweedFS(Path(folder, "seaweed")) as server:
        server.create_bucket(_BUCKET)
        bench = Bench(Path(folder), server)
        print("making F5-TTS v1 Base (1.35 GB) and filling the bucket …", flush=True)
        ratio = bench.prepare()
        contenders: dict[str, tuple[Callable[[], Run], str]] = {
            "cas restore": (bench.restore, "s5cmd download"),
            "s5cmd download": (bench.s5cmd_download, ""),
            "cas publish": (bench.fresh_publish, "s5cmd upload"),
            "s5cmd upload": (bench.s5cmd_upload, ""),
            "cas publish, unchanged": (bench.unchanged_publish, ""),
            "cas restore, warm": (bench.warm_restore, ""),
        }
        results: dict[str, list[Run]] = {name: [] for name in contenders}
        for round_ in range(rounds + 1):
            for name, (contender, _) in contenders.items():
                fill_page_cache(Path(folder))
                result = contender()
                if round_:
                    results[name].append(result)
            print(f"round {round_} of {rounds}" + ("" if round_ else " (not counted)"), flush=True)
    _print_table(ratio, results, {name: peer for name, (_, peer) in contenders.items() if peer})


def _print_table(ratio: float, results: dict[str, list[Run]], peers: dict[str, str]) -> None:
    print(f"\nstored bytes / plain bytes: {ratio:.3f}\n")
    print(f"{'':24}{'wall s':>22}{'CPU s':>22}{'peak MiB':>10}{'wall / peer':>22}")
    for name, runs in results.items():
        walls = [result.wall for result in runs]
        pairs = [mine / theirs.wall for mine, theirs in zip(walls, results.get(peers.get(name, ""), []), strict=False)]
        print(
            f"{name:24}{spread(walls):>22}{spread([result.cpu for result in runs]):>22}"
            f"{statistics.median(result.peak for result in runs) / 2**20:>10.0f}{spread(pairs) if pairs else '':>22}"
        )


if __name__ == "__main__":
    main()
