"""Command line of the fuzzer: `python -m tools.fuzz [TARGET...] [--seconds N]`.

Each target runs in a process of its own, one after the other, on one core; `targets.py` says what a fault is. libFuzzer
keeps the inputs that reach new code in build/fuzz/, so that the next run goes on from there; the committed corpus
(tools/fuzz/corpus/) stays as it is.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tools.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).with_name("corpus")

_INPUT_SECONDS = 10  # for one input; the slowest that is all right takes less than one
_MEMORY = 1024  # MiB of the whole process


def corpus(name: str) -> list[Path]:
    """Return the committed inputs of a target."""
    return sorted((CORPUS / name).iterdir())


def fuzz(name: str, seconds: int, found: Path) -> bool:
    """Fuzz one target; return whether no fault was found.

    Args:
        name: of the target.
        seconds: how long.
        found: the folder for the inputs that reach new code, and for those that show a fault.
    """
    own = found / name
    own.mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": seconds,
        "timeout": _INPUT_SECONDS,
        "rss_limit_mb": _MEMORY,
        "max_len": TARGETS[name].max_size,
        "artifact_prefix": f"{found}/fault-{name}-",
        "print_final_stats": 1,
    }
    command = [sys.executable, "-m", "tools.fuzz.engine", name, *(f"-{key}={value}" for key, value in options.items())]
    done = subprocess.run(
        [*command, own, CORPUS / name],
        cwd=ROOT,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    stats = dict(
        line[6:].split(": ", 1) for line in done.stdout.splitlines() if line.startswith("stat::") and ": " in line
    )
    runs, memory = stats.get("number_of_executed_units", "?").strip(), stats.get("peak_rss_mb", "?").strip()
    print(f"{name:<15} {'ok' if done.returncode == 0 else 'FAULT'}: {runs} inputs, at most {memory} MB", flush=True)
    if done.returncode:
        print(done.stdout[-6000:], flush=True)
    return done.returncode == 0


def main() -> None:
    """Fuzz the targets of the command line, and exit with 1 if a fault was found."""
    parser = argparse.ArgumentParser("python -m tools.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)}. Default: all.")
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default: 600)")
    parser.add_argument("--found", type=Path, default=ROOT / "build/fuzz", help="folder for what is found")
    args = parser.parse_args()
    if unknown := set(args.targets) - set(TARGETS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    faulty = [name for name in args.targets or TARGETS if not fuzz(name, args.seconds, args.found.absolute())]
    if faulty:
        sys.exit(
            f"faults in {', '.join(faulty)}: the inputs are {args.found}/fault-*. Mend the code with a test beside its "
            "others, and put the input into tools/fuzz/corpus/TARGET/, which the tests replay"
        )


if __name__ == "__main__":
    main()
