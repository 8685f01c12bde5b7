"""When this process, and the container that it runs in, began: what came before the first line of our code.

Source: proc(5), /proc/<pid>/stat. Linux alone tells; elsewhere nothing is known.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from cas.events import Span

CONTAINER = "container"
"""The phase from the start of the container's first process to that of this one."""

PYTHON = "python"
"""The phase from the start of this process to the first line of ours: the interpreter, and what was imported."""

_PROC = Path("/proc")
_START_OF_CONTAINER = 300.0  # seconds; a first process that is older began something else, such as a machine
_ANCESTORS = 64  # more than lie between a program and the first process


class _Process(NamedTuple):
    parent: int
    terminal: int  # 0 for a process without one
    begun: float  # seconds after the start of the system


def spans_before(now: float, proc: Path = _PROC) -> tuple[Span, ...]:
    """Return what came before a moment of this process: the start of its container, and its own.

    A process that was started from a terminal, or from outside the container, began no container.

    Args:
        now: the moment, by the machine's monotonic clock.
        proc: where the kernel tells of processes.
    """
    own = _read(proc, os.getpid())
    if own is None:
        return ()
    # The kernel counts from the start of the system, sleep included.
    begun = time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - own.begun)
    if not 0 <= now - begun <= _START_OF_CONTAINER:
        return ()
    python = Span(PYTHON, begun, now - begun)
    first = _read(proc, 1) if os.getpid() != 1 and own.terminal == 0 and _descends(proc, own) else None
    if first is None or not 0 <= own.begun - first.begun <= _START_OF_CONTAINER:
        return (python,)
    waited = own.begun - first.begun
    return (Span(CONTAINER, begun - waited, waited), python)


def _descends(proc: Path, process: _Process | None) -> bool:
    """Return whether the first process started a process, or one that started it."""
    for _ in range(_ANCESTORS):
        if process is None or process.parent == 0:
            return False
        if process.parent == 1:
            return True
        process = _read(proc, process.parent)
    return False


def _read(proc: Path, pid: int) -> _Process | None:
    try:
        # The name in parentheses may hold blanks and parentheses of its own.
        fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return _Process(int(fields[1]), int(fields[4]), int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return None
