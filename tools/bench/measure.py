"""Whole processes as the kernel accounts for them."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# A process's peak begins with that of the process that started it (Linux, fs/exec.c: setmax_mm_hiwater_rss), so a
# small one stands between: a few MiB, whoever measures.
_BETWEEN = """
import json, os, sys, time
out, *command = sys.argv[1:]
files = [(os.POSIX_SPAWN_OPEN, 1, out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666),
         (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
begun = time.monotonic()
child = os.posix_spawn(command[0], command, os.environ, file_actions=files)
_, status, usage = os.wait4(child, 0)
wall = time.monotonic() - begun
print(json.dumps([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, os.waitstatus_to_exitcode(status)]))
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command. wall, cpu: seconds. peak: bytes resident at most."""

    wall: float
    cpu: float
    peak: int


class Failed(RuntimeError):
    """A measured command did not end well."""


def run(command: Sequence[str], environment: Mapping[str, str], out: Path | None = None) -> Run:
    """Runs a command to its end; raises Failed when it is not installed or ends badly.

    out: where its standard output goes, by default nowhere.
    """
    program = shutil.which(command[0])
    if program is None:
        raise Failed(f"{command[0]} is not installed")
    between = [sys.executable, "-I", "-S", "-c", _BETWEEN, str(out or os.devnull), program, *command[1:]]
    measured = subprocess.run(between, env=dict(environment), stdout=subprocess.PIPE, check=True)
    wall, cpu, peak, code = json.loads(measured.stdout)
    if code:
        raise Failed(f"{' '.join(command)} ended with exit code {code}")
    return Run(wall, cpu, peak * (1 if sys.platform == "darwin" else 1024))


def fill_page_cache(folder: Path, size: int = 1 << 31) -> None:
    """Writes and removes a file, so that memory is at hand for the next run whoever it is.

    A virtual machine may give idle memory back to its host; who touches it next pays up to a second a gigabyte.
    """
    block = bytes(1 << 24)
    path = folder / "ballast"
    with path.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
    path.unlink()


def spread(values: Sequence[float]) -> str:
    """Median, with the range behind it."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
