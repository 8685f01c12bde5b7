"""Run a command and measure its process tree by the kernel's own accounts."""

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

# A process's peak memory starts at that of the process that started it (Linux, fs/exec.c: setmax_mm_hiwater_rss). So
# this small process starts the command: then the peak starts at a few MiB, however large the measuring process is.
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


_DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command.

    Attributes:
        wall: seconds from start to end.
        cpu: CPU seconds of the whole process tree, user and kernel.
        peak: the most resident bytes of its largest process.
        begun: when the command started, in seconds on the clock of `time.monotonic`.
        kernel: the part of `cpu` that the kernel took.
    """

    wall: float
    cpu: float
    peak: int
    begun: float = 0.0
    kernel: float = 0.0


class Failed(RuntimeError):
    """A measured command is not installed, or ended with an error."""


def run(command: Sequence[str], environment: Mapping[str, str], out: Path | None = None) -> Run:
    """Run a command to its end and measure it; an exception such as Ctrl-C kills the command.

    Python programs may keep the bytecode of their modules, as an installation has it: else each run of a changed
    checkout would compile the modules that changed, which takes longer than to import all of them.

    Args:
        command: name or path of the program, then its arguments.
        environment: all variables of the command, but for that which forbids bytecode.
        out: file that its standard output goes to, by default none.

    Raises:
        Failed: the command is not installed, or ends with an exit code other than 0.
    """
    program = shutil.which(command[0])
    if program is None:
        raise Failed(f"{command[0]} is not installed")
    with tempfile.NamedTemporaryFile(prefix="errors-") as errors:
        between = [sys.executable, "-I", "-S", "-c", _BETWEEN, str(out or os.devnull), errors.name]
        variables = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
        measured = _output_of([*between, program, *command[1:]], variables)
        begun, wall, user, kernel, peak, code = json.loads(measured)
        if code:
            said = Path(errors.name).read_text(errors="replace").strip()[-2000:]
            raise Failed(f"{' '.join(command)} ended with exit code {code}:\n{said}")
    return Run(wall, user + kernel, peak * (1 if sys.platform == "darwin" else 1024), begun, kernel)


def _output_of(command: Sequence[str], environment: Mapping[str, str]) -> bytes:
    # In a process group of its own, so that the measured command, a grandchild of this process, can be killed with it.
    with subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, process_group=0) as process:
        try:
            return process.communicate()[0]
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def settle(folder: Path, size: int = 1 << 31) -> None:
    """Make every run start alike: `size` bytes of memory are available, and no earlier run has data left to write.

    Args:
        folder: a directory of the file system that the run writes to.
        size: bytes that the run needs.
    """
    fill_page_cache(folder, size)
    os.sync()


def fill_page_cache(folder: Path, size: int = 1 << 31) -> None:
    """Write and remove a file, so that this machine has memory available for the next run.

    A virtual machine may give idle memory back to its host; the first process that uses it again then loses up to a
    second per gigabyte.

    Args:
        folder: where to write the file.
        size: its bytes.
    """
    block = bytes(1 << 24)
    path = folder / "ballast"
    with path.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
    path.unlink()


def can_empty_page_cache() -> bool:
    """Whether this process may have the kernel forget what it has read from files: as root, on Linux."""
    return os.access(_DROP_CACHES, os.W_OK)


def empty_page_cache(served: Path) -> None:
    """Have the kernel forget all files but those that a server serves, as on a machine that has just started.

    Args:
        served: the folder of a server, whose files are read again: its disk is not what is measured.
    """
    os.sync()
    _DROP_CACHES.write_text("3")  # page cache, directory entries and inodes (proc(5))
    for path in served.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 24):
                    pass


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median, followed by the range in parentheses."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
