"""The worker's imports in less time: once the model is restored, a cold start waits for them.

torch, transformers and the rest make a million objects, none of which is garbage, and Python's garbage collector looks
at all of them again and again: a fifth of the time. The RunPod SDK asks py-cpuinfo for the processor's name, which
forks, and sleeps for a second to measure the processor's clock.
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
    """Import within the block without garbage collection, and without py-cpuinfo.

    The objects that the block makes are frozen: the garbage collector never looks at them later, either.
    """
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
    """Stand in for py-cpuinfo with a module that knows the processor's name, which is all that the SDK asks for.

    Where py-cpuinfo is imported already, nothing is done.
    """
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
