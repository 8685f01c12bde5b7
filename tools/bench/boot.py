"""How long until F5-TTS v1 Base can speak, on the GPU if there is one: `python -m tools.bench.boot`.

Three ways over one link: the worker; the raw files copied with s5cmd and loaded by plain F5-TTS; `hf download` from a
local hub and plain F5-TTS. Each has made one short inference when it counts as ready. The worker starts once more where
the model is: what that takes less is what a restore costs. Weights are random, the architecture and all code are real;
the worker's environment is made by `make worker-env`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools import worker_env
from tools.bench.link import LINKS
from tools.bench.measure import settle
from tools.bench.scene import BUCKET, REPOS, Client, Scene
from tools.bench.stage import named, stage
from tools.models.f5tts import MODEL_FILE, VOCOS_FOLDER

_ROOT = Path(__file__).parents[2]
_CLIENTS = Path(__file__).parent / "clients"
_MODEL = "f5-tts"
_PLAIN, _EARLIER = "hf download, F5TTS()", "s5cmd, F5TTS(paths)"
_OURS, _HERE, _HALF = "worker", "worker, model here", "worker, float16"
_AT_MOST = 0.60
_BEYOND = 1.0

Outcome = dict[str, float]


class _Ways:
    """The ways to get ready, at one end of a link."""

    def __init__(self, client: Client, python: Path) -> None:
        self._client, self._python = client, str(python)
        self._environment = {"PYTHONPATH": str(_ROOT), "HOME": str(client.scene.work), "HF_HUB_DISABLE_TELEMETRY": "1"}

    def plain(self) -> Outcome:
        home = self._client.empty("boot")
        command = [self._python, str(_CLIENTS / "hub_snapshots.py"), f"{home}/hub", *REPOS]
        fetched = self._client.run(command, self._environment).run.wall
        return self._loaded(fetched, {"HF_HOME": home, "HF_HUB_OFFLINE": "1"})

    def earlier(self) -> Outcome:
        folder = self._client.empty("boot")
        fetched = self._client.s5cmd("cp", f"s3://{BUCKET}/raw/*", f"{folder}/").run.wall
        return self._loaded(fetched, {}, f"{folder}/{MODEL_FILE}", f"{folder}/{VOCOS_FOLDER}")

    def worker(self, reference: str) -> Outcome:
        self._client.empty("boot")
        return self.worker_again(reference)

    def worker_again(self, reference: str) -> Outcome:
        """With what is there from the run before."""
        variables = {
            **self._environment,
            "CAS_MODEL": reference,
            "CAS_CACHE_DIRS": f"{self._client.scene.work}/boot",
            "CAS_RECEIPT": "false",
        }
        return self._run([self._python, str(_CLIENTS / "worker_ready.py")], variables)

    def _loaded(self, fetched: float, variables: dict[str, str], *words: str) -> Outcome:
        command = [self._python, str(_CLIENTS / "plain_f5.py"), *words]
        outcome = self._run(command, {**self._environment, **variables})
        return {"ready": fetched + outcome.pop("ready"), "fetch": fetched, **outcome}

    def _run(self, command: list[str], variables: dict[str, str]) -> Outcome:
        out = self._client.scene.work / "out.json"
        wall = self._client.run(command, variables).run.wall
        told: dict[str, Any] = json.loads(out.read_text().strip().splitlines()[-1])
        return {"ready": wall, **{name: value for name, value in told.items() if isinstance(value, float)}}


def main() -> int:
    """Prints medians and targets, and writes JSON."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.boot", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved runs of each, after one that is not counted")
    parser.add_argument("--links", default="1gbit,2.5gbit", type=named, help=f"of {','.join(LINKS)}")
    parser.add_argument("--json", type=Path, default=Path("build/bench-boot.json"))
    options = parser.parse_args()
    python = worker_env.python(worker_env.folder())
    medians: dict[str, dict[str, Outcome]] = {}
    with stage(options.links) as (scene, able):
        for what in ("version", "files", "float16"):
            scene.prepare(what)
        for link in able or [LINKS["none"]]:
            medians[link.title] = _measured(_Ways(scene.over(link), python), options.rounds, scene)
    _print(medians)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(medians, indent=1) + "\n")
    return 0


def _measured(ways: _Ways, rounds: int, scene: Scene) -> dict[str, Outcome]:
    calls: dict[str, Callable[[], Outcome]] = {
        _OURS: lambda: ways.worker(_MODEL),
        _HERE: lambda: ways.worker_again(_MODEL),
        _HALF: lambda: ways.worker(f"{_MODEL}:fp16"),
        _EARLIER: ways.earlier,
        _PLAIN: ways.plain,
    }
    runs: dict[str, list[Outcome]] = {name: [] for name in calls}
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            settle(scene.work)
            outcome = call()
            print(f"  round {round_}, {name}: {outcome['ready']:.2f} s", file=sys.stderr, flush=True)
            if round_:
                runs[name].append(outcome)
    return {
        name: {key: statistics.median(run[key] for run in found if key in run) for key in found[0]}
        for name, found in runs.items()
    }


def _print(medians: dict[str, dict[str, Outcome]]) -> None:
    for title, ways in medians.items():
        print(f"\n{title}")
        for name, outcome in ways.items():
            steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in outcome.items() if step != "ready")
            print(f"  {name:24}{outcome['ready']:7.2f} s   {steps}")
        ratio = ways[_OURS]["ready"] / ways[_EARLIER]["ready"]
        print(f"  worker / s5cmd and plain load {ratio:.2f} (at 1 Gbit/s at most {_AT_MOST:.2f})")
        print(f"  waited for after the imports {ways[_OURS]['wait']:.2f} s (at 2.5 Gbit/s at most {_BEYOND:.1f})")
        print(f"  a restore costs, all in all, {ways[_OURS]['ready'] - ways[_HERE]['ready']:.2f} s")


if __name__ == "__main__":
    sys.exit(main())
