"""A process that may take so much memory and no more: how "bounded" is proven rather than watched."""

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


def within(mib: int, module: str, function: str, *words: str, seconds: float = 60) -> None:
    """Calls `module.function(*words)` in a process that may map `mib` MiB beyond its imports; fails when that fails."""
    command = [sys.executable, "-c", _PROGRAM, module, function, str(mib), *words]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    assert not done.returncode, done.stderr
