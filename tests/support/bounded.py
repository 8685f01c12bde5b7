"""Run a function in a process with a limit of memory: this proves that memory is bounded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PROGRAM = """
import importlib, resource, sys
module, function, mib, *words = sys.argv[1:]
call = getattr(importlib.import_module(module), function)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(mib) * 2**20,) * 2)
call(*words)
"""


def call_within_memory(mib: int, module: str, function: str, *words: str, seconds: float = 60) -> None:
    """Call `module.function(*words)` in a process of its own, and fail when the call fails.

    Args:
        mib: MiB that the process may map beyond what its imports take.
        module: name of the module.
        function: name of the function.
        words: the function's arguments.
        seconds: time limit.
    """
    command = [sys.executable, "-c", _PROGRAM, module, function, str(mib), *words]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    assert not done.returncode, done.stderr
