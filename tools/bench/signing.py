"""Measure what signed refs cost a start: `python -m tools.bench.signing`, and with `--also TREE` another checkout.

A small version in a store of SeaweedFS is restored into an empty cache by `cas restore`, and by the boot of a worker:
with no keys configured, and with a key that is trusted and signed the tag. Each round runs all ways, in turns forwards
and backwards; what is printed are medians, and of the differences within a round the median and the range. The requests
of each way are counted in a run of their own. With `--delay` the store is that far away.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.models import noise, write_tree
from tests.support.safetensors import Tensor, safetensors
from tools.bench.measure import Run, run, spread
from tools.servers.fault_proxy import FaultProxy
from tools.servers.relay import Manner, Relay
from tools.servers.seaweed import SeaweedFS

_ROOT = Path(__file__).parents[2]
_BUCKET, _MODEL = "signing", "f5-tts"
_FILES = {
    "model.safetensors": safetensors({"x": Tensor("F32", (500_000,), noise(2_000_000, 1))}),
    "vocab.txt": b"a\n",
    "vocos/pytorch_model.bin": noise(100_000, 2),
    "vocos/config.yaml": b"a: 1\n",
}
_RESTORE, _BOOT, _WITH, _BEFORE = "cas restore", "worker.boot", "with a key", "before"
_AT_MOST = 0.040  # seconds, which a trusted key may cost a start
_IMPORT = """
import time
from cas.refs import reflog
from cas.store import store
begun = time.perf_counter()
from cas.local import trusted_keys
read = time.perf_counter()
from cas.refs import floors, signatures
from cas.formats import minisign_lines
minisign_lines.ed25519()
print(read - begun, time.perf_counter() - read)
"""


class _Ways:
    """The ways to start, with a cache that is empty each time."""

    def __init__(self, folder: Path, store: Mapping[str, str], keys: Mapping[str, str], before: Path | None) -> None:
        self._folder, self._cache, self._out = folder, folder / "cache", folder / "out"
        self._store = {**os.environ, **store, "CAS_STORE": f"s3://{_BUCKET}/cas", "HF_HUB_DISABLE_TELEMETRY": "1"}
        self._keys, self._before = keys, before

    def calls(self) -> dict[str, Callable[[str], Run]]:
        """Return the ways by name; each takes the endpoint, and returns what it took."""
        found: dict[str, Callable[[str], Run]] = {}
        for name, start in ((_RESTORE, self._restore), (_BOOT, self._boot)):
            found[name] = lambda endpoint, start=start: start(_ROOT, endpoint, {})  # type: ignore[misc]
            found[f"{name}, {_WITH}"] = lambda endpoint, start=start: start(_ROOT, endpoint, self._keys)  # type: ignore[misc]
            if before := self._before:
                found[f"{name}, {_BEFORE}"] = lambda endpoint, start=start: start(before, endpoint, {})  # type: ignore[misc]
        return found

    def _restore(self, tree: Path, endpoint: str, keys: Mapping[str, str]) -> Run:
        return self._run(tree, endpoint, keys, "cas", "-q", "restore", _MODEL, "--cache-dir", str(self._cache))

    def _boot(self, tree: Path, endpoint: str, keys: Mapping[str, str]) -> Run:
        variables = {"CAS_CACHE_DIRS": str(self._cache), "CAS_RECEIPT": "false", "RUNPOD_MIN_DISK_PERCENT": "0"}
        taken = self._run(tree, endpoint, {**keys, **variables}, "worker.boot")
        line = json.loads(self._out.read_text().splitlines()[-1])
        return dataclasses.replace(taken, wall=line["seconds_ready"])  # not what it does after a cold start

    def _run(self, tree: Path, endpoint: str, variables: Mapping[str, str], *words: str) -> Run:
        shutil.rmtree(self._cache, ignore_errors=True)
        environment = {**self._store, "AWS_ENDPOINT_URL": endpoint, "PYTHONPATH": str(tree), **variables}
        return run([sys.executable, "-P", "-m", *words], environment, self._out)

    def publish(self, endpoint: str, signing: Mapping[str, str]) -> None:
        """Publish a version, whose tag is signed."""
        source = write_tree(self._folder / "model", _FILES)
        words = ("-q", "publish", _MODEL, "--dir", str(source), "--as", "SWivid/F5-TTS")
        self._run(_ROOT, endpoint, {**self._keys, **signing}, "cas", *words)


def main() -> int:
    """Print seconds, differences and requests; the exit code is 1 when a trusted key costs more than it may."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.signing", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=15, help="interleaved runs of each, after one that is not counted"
    )
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds that bytes take each way to the store")
    parser.add_argument("--also", type=Path, help="a checkout from before, which knows no keys")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cas-signing-") as folder, contextlib.ExitStack() as stack:
        work = Path(folder)
        server = stack.enter_context(SeaweedFS(work / "server"))
        server.create_bucket(_BUCKET)
        run([sys.executable, "-P", "-m", "cas", "-q", "keygen", str(work / "key")], _plain())
        keys, signing = {"CAS_TRUSTED_KEYS": str(work / "key.pub")}, {"CAS_SIGNING_KEY": str(work / "key.key")}
        ways = _Ways(work, server.env(_BUCKET), keys, options.also)
        ways.publish(server.endpoint, signing)
        manner = Manner(delay=options.delay / 1000)
        relay = stack.enter_context(Relay("127.0.0.1", server.port, lambda number: manner))
        endpoint = relay.url if options.delay else server.endpoint
        runs = _measure(ways.calls(), endpoint, options.rounds)
        requests = _requests(ways.calls(), server)
    for line in _lines(runs, requests):
        print(line)
    costs = [statistics.median(_differences(runs, name, _WITH)) for name in (_RESTORE, _BOOT)]
    return int(max(costs) > _AT_MOST)


def _measure(calls: Mapping[str, Callable[[str], Run]], endpoint: str, rounds: int) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in calls}
    for round_ in range(rounds + 1):
        for name in list(calls)[:: 1 if round_ % 2 else -1]:
            taken = calls[name](endpoint)
            if round_:
                runs[name].append(taken)
        print(f"  round {round_} of {rounds}", file=sys.stderr, flush=True)
    return runs


def _requests(calls: Mapping[str, Callable[[str], Run]], server: SeaweedFS) -> dict[str, int]:
    """Return how many requests each way makes."""
    host, _, port = server.endpoint.removeprefix("http://").partition(":")
    found = {}
    with FaultProxy(host, int(port), credentials=server.credentials()) as proxy:
        for name, call in calls.items():
            proxy.requests.clear()
            call(proxy.url)
            found[name] = len(proxy.requests)
    return found


def _differences(runs: Mapping[str, list[Run]], name: str, other: str) -> list[float]:
    """Return by how many seconds the other way is slower, round by round."""
    return [more.wall - plain.wall for plain, more in zip(runs[name], runs[f"{name}, {other}"], strict=True)]


def _cpu_differences(runs: Mapping[str, list[Run]], name: str, other: str) -> list[float]:
    return [more.cpu - plain.cpu for plain, more in zip(runs[name], runs[f"{name}, {other}"], strict=True)]


def _fastest(runs: Mapping[str, list[Run]], name: str, other: str, than: str = "") -> str:
    """Return by how much the fastest run of another way is slower: beside other work, that disturbs these the least."""
    plain, more = (min(run_.wall for run_ in runs[way]) for way in (name, than or f"{name}, {other}"))
    return f"{1000 * (more - plain):.0f}"


def _lines(runs: Mapping[str, list[Run]], requests: Mapping[str, int]) -> Iterator[str]:
    for name, taken in runs.items():
        wall, cpu = (statistics.median(getattr(run_, what) for run_ in taken) for what in ("wall", "cpu"))
        yield f"{name:28}{wall:7.3f} s {cpu:7.3f} CPU s   {requests[name]} requests"
    for name in (_RESTORE, _BOOT):
        wall, cpu = _differences(runs, name, _WITH), _cpu_differences(runs, name, _WITH)
        more = requests[f"{name}, {_WITH}"] - requests[name]
        yield f"{name}: a key costs {_ms(wall)} ms (at most {_AT_MOST * 1000:g}), {_ms(cpu)} ms of CPU, {more} requests"
        yield f"  the fastest runs of both differ by {_fastest(runs, name, _WITH)} ms"
        if f"{name}, {_BEFORE}" in runs:
            wall, cpu = _differences(runs, name, _BEFORE), _cpu_differences(runs, name, _BEFORE)
            more = requests[name] - requests[f"{name}, {_BEFORE}"]
            wall, cpu = [-taken for taken in wall], [-taken for taken in cpu]
            yield f"{name}: without a key more than before: {_ms(wall)} ms, {_ms(cpu)} ms of CPU, {more} requests"
            yield f"  the fastest runs of both differ by {_fastest(runs, f'{name}, {_BEFORE}', '', name)} ms"
    imports = [_output(_IMPORT).split() for _ in range(9)]
    for what, column in (("who is trusted", 0), ("what verifies, beside the first request,", 1)):
        yield f"importing {what} takes {_ms([float(line[column]) for line in imports])} ms"


def _ms(seconds: Sequence[float]) -> str:
    return spread([1000 * each for each in seconds], 1)


def _output(code: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        run([sys.executable, "-P", "-c", code], _plain(), out)
        return out.read_text()


def _plain() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_ROOT)}


if __name__ == "__main__":
    sys.exit(main())
