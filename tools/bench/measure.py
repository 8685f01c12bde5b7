"""Whole processes as the kernel accounts for them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# A process's peak begins with that of the process that started it (Linux, fs/exec.c: setmax_mm_hiwater_rss), so a
# small one stands between: a few MiB, whoever measures.
_BETWEEN = """
import json, os, sys, time
out, errors, *command = sys.argv[1:]
flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
files = [(os.POSIX_SPAWN_OPEN, 1, out, flags, 0o666), (os.POSIX_SPAWN_OPEN, 2, errors, flags, 0o666)]
begun = time.monotonic()
child = os.posix_spawn(command[0], command, os.environ, file_actions=files)
_, status, usage = os.wait4(child, 0)
wall = time.monotonic() - begun
code = os.waitstatus_to_exitcode(status)
print(json.dumps([begun, wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss, code]))
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command.

    wall, cpu: seconds, the latter of the whole process tree. peak: bytes resident at most, of its largest process.
    begun: when it started, on the clock of `time.monotonic`. kernel: seconds of cpu that the kernel took.
    """

    wall: float
    cpu: float
    peak: int
    begun: float = 0.0
    kernel: float = 0.0


class Failed(RuntimeError):
    """A measured command did not end well."""


def run(command: Sequence[str], environment: Mapping[str, str], out: Path | None = None) -> Run:
    """Runs a command to its end; raises Failed when it is not installed or ends badly.

    out: where its standard output goes, by default nowhere. An exception, Ctrl-C for one, kills the command.
    """
    program = shutil.which(command[0])
    if program is None:
        raise Failed(f"{command[0]} is not installed")
    with tempfile.NamedTemporaryFile(prefix="errors-") as errors:
        between = [sys.executable, "-I", "-S", "-c", _BETWEEN, str(out or os.devnull), errors.name]
        measured = _output_of([*between, program, *command[1:]], environment)
        begun, wall, user, kernel, peak, code = json.loads(measured)
        if code:
            said = Path(errors.name).read_text(errors="replace").strip()[-2000:]
            raise Failed(f"{' '.join(command)} ended with exit code {code}:\n{said}")
    return Run(wall, user + kernel, peak * (1 if sys.platform == "darwin" else 1024), begun, kernel)


def _output_of(command: Sequence[str], environment: Mapping[str, str]) -> bytes:
    # A group of its own: the measured command, whose parent is not this process, can be ended with it.
    with subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, process_group=0) as process:
        try:
            return process.communicate()[0]
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def settle(folder: Path, size: int = 1 << 31) -> None:
    """Gives every run the same start: memory at hand for `size` bytes, and nothing of an earlier run left to write."""
    fill_page_cache(folder, size)
    os.sync()


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


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, with the range behind it."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
