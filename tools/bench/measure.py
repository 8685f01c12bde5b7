"""Whole processes as the kernel accounts for them."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


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


def spread(values: Sequence[float]) -> str:
    """Median, with the range behind it."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
