"""The worker's imports in less time, for a cold start waits for them once the model is here.

Python's garbage collector looks at all objects again and again while torch, transformers and the rest make a million of
them, none of which is garbage: a fifth of the time. The RunPod SDK asks py-cpuinfo for the processor's name, which
forks, and sleeps for a second to measure its clock.
"""

from __future__ import annotations

import contextlib
import gc
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_CPUINFO = "cpuinfo"


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Imports within the block are not looked through for garbage, neither then nor later, and measure no clock."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with _named_processor():
            yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _named_processor() -> Iterator[None]:
    """Puts a module in py-cpuinfo's place that knows what the SDK asks for, and nothing else; not if it is there."""
    if _CPUINFO in sys.modules:
        yield
        return
    quick = ModuleType(_CPUINFO)
    vars(quick)["get_cpu_info"] = lambda: {"brand_raw": _processor()}
    sys.modules[_CPUINFO] = quick
    try:
        yield
    finally:
        del sys.modules[_CPUINFO]


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"
