"""Measure publish and restore by the size of the model, and a plan without a model, all in a directory store."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tools.bench import machine
from tools.bench.measure import Run, run, settle
from tools.bench.plans import CHUNKS, plan_large
from tools.bench.results import MIB
from tools.models.safetensors import trained_like

_GB = 1_000_000_000
_TENSOR = ("F32", (1024, 2048))
_TENSOR_BYTES = 4 * 1024 * 2048


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print a table and write JSON.

    Args:
        words: command-line arguments, by default those of this process.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.bench.scale", description=__doc__)
    parser.add_argument("--sizes", type=_sizes, default=[0.1, 1.0, 6.0], help="GB each (default 0.1,1,6)")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each (default 1); the table has medians")
    parser.add_argument("--json", type=Path, default=Path("build/bench-scale.json"))
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="cas-scale-") as folder:
        moves = {size: _move(Path(folder), round(size * _GB), options.rounds) for size in options.sizes}
        settle(Path(folder))
        plan = plan_large(Path(folder), os.environ)
    print(f"{'GB':>5}  {'':8}{'wall s':>8}{'s/GB':>7}{'CPU s':>8}{'s/GB':>7}{'kernel':>8}{'peak MiB':>10}")
    for size, commands in moves.items():
        for command, runs in commands.items():
            wall, cpu, kernel = (
                statistics.median(getattr(one, of) for one in runs) for of in ("wall", "cpu", "kernel")
            )
            peak = max(one.peak for one in runs) / MIB
            costs = f"{wall:>8.2f}{wall / size:>7.2f}{cpu:>8.2f}{cpu / size:>7.2f}{kernel / size:>8.2f}"
            print(f"{size:>5}  {command:8}{costs}{peak:>10.0f}")
    print(f"plan of {CHUNKS:,} chunks: {plan.wall:.2f} s, {plan.peak / MIB:.0f} MiB")
    document = {
        "machine": machine.facts(),
        "moves": [
            {"bytes": round(size * _GB), "verb": command, **asdict(one)}
            for size, commands in moves.items()
            for command, runs in commands.items()
            for one in runs
        ],
        "plan": {"chunks": CHUNKS, **asdict(plan)},
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1) + "\n")


def _move(work: Path, size: int, rounds: int) -> dict[str, list[Run]]:
    """Publish Gaussian float32 tensors of `size` bytes in all, and restore them; each run starts without its target."""
    source, store, cache = work / "source", work / "store", work / "cache"
    count = max(1, round(size / _TENSOR_BYTES))
    trained_like({f"layer.{n}.weight": _TENSOR for n in range(count)}, source / "model.safetensors", seed=1)
    cas = [sys.executable, "-m", "cas", "-q", "--store", str(store)]
    commands = {
        "publish": ([*cas, "publish", "m", "--dir", str(source), "--as", "org/m"], store),
        "restore": ([*cas, "restore", "m", "--cache-dir", str(cache)], cache),
    }
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, (words, target) in commands.items():
            shutil.rmtree(target, ignore_errors=True)
            # With less than the run writes, it would wait for memory that the machine gave back to its host.
            settle(work, size + (1 << 31))
            runs[name].append(run(words, os.environ))
    for folder in (source, store, cache):
        shutil.rmtree(folder)
    return runs


def _sizes(text: str) -> list[float]:
    return [float(size) for size in text.split(",")]


if __name__ == "__main__":
    main()
