"""How long until F5-TTS v1 Base can speak, on the GPU if there is one: `python -m tools.bench.boot`.

Three ways over one link: the worker; the raw files copied with s5cmd and loaded by F5-TTS itself; `hf download` from a
local hub and F5-TTS itself. Each counts as ready after one short inference: of plain F5-TTS with two steps, which loads
what its first use loads; of the worker with one step, as it has spoken before with made-up weights. The worker then
starts once more with the model in its cache: the difference between its two times is what a restore costs. Weights are
random, the architecture and all code are real; `make worker-env` makes the worker's environment.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tools import worker_env
from tools.bench.client import BUCKET, Client
from tools.bench.link import LINKS
from tools.bench.measure import settle
from tools.bench.scene import REPOS, Scene
from tools.bench.stage import named, stage
from tools.models.f5tts import MODEL_FILE, VOCOS_FOLDER

_ROOT = Path(__file__).parents[2]
_PROGRAMS = Path(__file__).parent / "programs"
_MODEL = "f5-tts"
_HUB, _S5CMD = "hf download, F5TTS()", "s5cmd, F5TTS(paths)"
_WORKER, _CACHED, _HALF = "worker", "worker, model here", "worker, float16"
_TARGETS = (
    ("float32", _WORKER, 0.50),
    ("float16", _HALF, 0.27),
    ("model here", _CACHED, 0.20),
)
"""What a start of the worker may take at most, as a part of s5cmd and plain F5-TTS over the same link of 1 Gbit/s."""
_TARGET_LINK = LINKS["1gbit"].title

Times = dict[str, float]
"""Phase -> seconds; `ready` is the time from start to the first inference."""


class _Ways:
    """The ways to get ready, for a client at the end of a link."""

    def __init__(self, client: Client, python: Path, reference: Path) -> None:
        self._client, self._python, self._reference = client, str(python), str(reference)
        self._environment = {"PYTHONPATH": str(_ROOT), "HOME": str(client.scene.work), "HF_HUB_DISABLE_TELEMETRY": "1"}

    def hub(self) -> Times:
        home = self._client.empty("boot")
        command = [self._reference, str(_PROGRAMS / "hub_snapshots.py"), f"{home}/hub", *REPOS]
        fetched = self._client.run(command, self._environment).run.wall
        return self._loaded(fetched, {"HF_HOME": home, "HF_HUB_OFFLINE": "1"})

    def s5cmd(self) -> Times:
        folder = self._client.empty("boot")
        fetched = self._client.s5cmd("cp", f"s3://{BUCKET}/raw/*", f"{folder}/").run.wall
        return self._loaded(fetched, {}, f"{folder}/{MODEL_FILE}", f"{folder}/{VOCOS_FOLDER}")

    def worker(self, reference: str) -> Times:
        self._client.empty("boot")
        return self.worker_again(reference)

    def worker_again(self, reference: str) -> Times:
        """Start the worker with the cache that the last run left."""
        variables = {
            **self._environment,
            "CAS_MODEL": reference,
            "CAS_CACHE_DIRS": f"{self._client.scene.work}/boot",
            "CAS_RECEIPT": "false",
        }
        return self._run([self._python, str(_PROGRAMS / "worker_ready.py")], variables)

    def _loaded(self, fetched: float, variables: dict[str, str], *words: str) -> Times:
        command = [self._reference, str(_PROGRAMS / "plain_f5.py"), *words]
        times = self._run(command, {**self._environment, **variables})
        return {"ready": fetched + times.pop("ready"), "fetch": fetched, **times}

    def _run(self, command: list[str], variables: dict[str, str]) -> Times:
        out = self._client.scene.work / "out.json"
        wall = self._client.run(command, variables).run.wall
        phases: dict[str, Any] = json.loads(out.read_text().strip().splitlines()[-1])
        return {"ready": wall, **{name: value for name, value in phases.items() if isinstance(value, float)}}


def main() -> int:
    """Measure all ways, print medians and targets, write JSON, and return the exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.boot", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved runs of each, after one that is not counted")
    parser.add_argument("--links", default="1gbit,2.5gbit", type=named, help=f"of {','.join(LINKS)}")
    parser.add_argument("--json", type=Path, default=Path("build/bench-boot.json"))
    options = parser.parse_args()
    pythons = [worker_env.python(folder) for folder in (worker_env.folder(), worker_env.reference_folder())]
    medians: dict[str, dict[str, Times]] = {}
    with stage(options.links) as (scene, able):
        for what in ("version", "files", "float16"):
            scene.prepare(what)
        for link in able or [LINKS["none"]]:
            medians[link.title] = _medians(_Ways(scene.over(link), *pythons), options.rounds, scene)
    _print(medians)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(medians, indent=1) + "\n")
    return 0


def _medians(ways: _Ways, rounds: int, scene: Scene) -> dict[str, Times]:
    calls: dict[str, Callable[[], Times]] = {
        _WORKER: lambda: ways.worker(_MODEL),
        _CACHED: lambda: ways.worker_again(_MODEL),
        _HALF: lambda: ways.worker(f"{_MODEL}:fp16"),
        _S5CMD: ways.s5cmd,
        _HUB: ways.hub,
    }
    runs: dict[str, list[Times]] = {name: [] for name in calls}
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            settle(scene.work)
            times = call()
            print(f"  round {round_}, {name}: {times['ready']:.2f} s", file=sys.stderr, flush=True)
            if round_:
                runs[name].append(times)
    return {
        name: {key: statistics.median(run[key] for run in found if key in run) for key in found[0]}
        for name, found in runs.items()
    }


def verdicts(title: str, ways: Mapping[str, Times]) -> Iterator[str]:
    """Yield a line for each way of the worker: its part of the time of s5cmd and plain F5-TTS, and its target.

    Args:
        title: of the link; the targets are for 1 Gbit/s.
        ways: the median times of each way.
    """
    for what, way, limit in _TARGETS:
        ratio = ways[way]["ready"] / ways[_S5CMD]["ready"]
        judged = f" (at most {limit:.2f}: {'met' if ratio <= limit else 'MISSED'})" if title == _TARGET_LINK else ""
        yield f"worker, {what} / s5cmd and plain load {ratio:.2f}{judged}"


def _print(medians: dict[str, dict[str, Times]]) -> None:
    for title, ways in medians.items():
        print(f"\n{title}")
        for name, times in ways.items():
            steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in times.items() if step != "ready")
            print(f"  {name:24}{times['ready']:7.2f} s   {steps}")
        for line in verdicts(title, ways):
            print(f"  {line}")
        print(f"  waited for after the imports {ways[_WORKER]['wait']:.2f} s")
        first = [f"{name} {ways[name]['first inference']:.2f} s" for name in (_WORKER, _S5CMD)]
        print(f"  the first inference, on a CPU the same brief one: {', '.join(first)}")
        print(f"  a restore costs, all in all, {ways[_WORKER]['ready'] - ways[_CACHED]['ready']:.2f} s")


if __name__ == "__main__":
    sys.exit(main())
