"""Whole processes as the kernel accounts for them."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command. wall, cpu: seconds. peak: bytes resident at most."""

    wall: float
    cpu: float
    peak: int


def run(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Runs a command to its end, its output thrown away; exits with its name when it fails."""
    program = shutil.which(command[0]) or sys.exit(f"bench: {command[0]} is not installed")
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
    begun = time.monotonic()
    child = os.posix_spawn(program, list(command), dict(environment), file_actions=quiet)
    _, status, usage = os.wait4(child, 0)
    wall = time.monotonic() - begun
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"bench: {' '.join(command)} failed")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


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
