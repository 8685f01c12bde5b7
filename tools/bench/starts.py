"""How long the command takes to start, and a warm restore in all: `python -m tools.bench.starts`.

python -m tools.bench.starts                  `cas --help`, `import cas` beside Python alone, a warm restore of 3 MB
python -m tools.bench.starts --beside FOLDER  the same of this tree and of another (`git archive`), turn by turn

CPU seconds of the process, as wall time tells more of a busy machine's other work.
"""

from __future__ import annotations

import argparse
import compileall
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
_MAIN = "from cas.cli.main import main; main()"
_SIZE = 3_000_000  # bytes of the model


def seconds(code: str, words: list[str], tree: Path, env: Mapping[str, str]) -> tuple[float, float]:
    """Run Python with the package of a tree; return CPU and wall seconds."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, **env, "PYTHONPATH": str(tree)},
        cwd=env["HOME"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="another tree of this project")
    parser.add_argument("--runs", type=int, default=40)
    given = parser.parse_args()
    trees = [ROOT, *([given.beside.resolve()] if given.beside else [])]
    for tree in trees:
        compileall.compile_dir(tree / "cas", quiet=1)
    with tempfile.TemporaryDirectory(prefix="cas-starts-") as name:
        home = Path(name)
        (home / "weights").mkdir()
        (home / "weights/model.bin").write_bytes(os.urandom(_SIZE))
        env = {"HOME": name, "CAS_STORE": f"{name}/store", "HF_HOME": f"{name}/hf", "XDG_CONFIG_HOME": name}
        seconds(_MAIN, ["publish", "m", "--dir", "weights", "--as", "org/m"], ROOT, env)
        seconds(_MAIN, ["restore", "m"], ROOT, env)
        cases = {
            "python": ("pass", []),
            "import cas": ("import cas", []),
            "cas --help": (_MAIN, ["--help"]),
            "cas restore, warm": (_MAIN, ["restore", "m"]),
        }
        for title, (code, words) in cases.items():
            found: dict[Path, list[tuple[float, float]]] = {tree: [] for tree in trees}
            for number in range(given.runs):
                for tree in trees if number % 2 else trees[::-1]:
                    found[tree].append(seconds(code, words, tree, env))
            cpu, wall = (statistics.median(run[kind] for run in found[ROOT]) for kind in (0, 1))
            line = f"{title:<18} {1000 * cpu:6.0f} ms of CPU, {1000 * wall:6.0f} ms"
            for other in trees[1:]:
                pairs = [ours[0] / theirs[0] for ours, theirs in zip(found[ROOT], found[other], strict=True)]
                line += f"; {statistics.median(pairs):.3f} ({min(pairs):.2f}-{max(pairs):.2f}) of the CPU there"
            print(line, flush=True)


if __name__ == "__main__":
    main()
