"""Import torch beside threads that fetch chunks.

torch's import is a second and more of Python's own work, for which the threads that receive and decode chunks wait
again and again. Where two cores load 1.26 GB over loopback, the whole takes 0.92 of the time when Python changes
threads after 0.5 ms instead of 5, and 0.91 of that without the garbage collector (docs/performance.md).
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
import threading
from typing import Any

from cas.errors import InputError

_SWITCH = 0.0005  # seconds
_importing = threading.Lock()


def is_installed() -> bool:
    """Whether torch is there, without importing it."""
    return "torch" in sys.modules or importlib.util.find_spec("torch") is not None


def import_torch() -> Any:
    """Return torch; while it is imported, Python changes threads more often and collects no garbage.

    Raises:
        InputError: it cannot be imported.
    """
    with _importing:
        if "torch" in sys.modules:
            return importlib.import_module("torch")
        interval, collects = sys.getswitchinterval(), gc.isenabled()
        sys.setswitchinterval(min(interval, _SWITCH))
        gc.disable()
        try:
            return importlib.import_module("torch")
        except (ImportError, OSError) as error:  # the second, when a library of its own is broken
            raise InputError(f"torch cannot be imported: {error}") from error
        finally:
            sys.setswitchinterval(interval)
            if collects:
                gc.enable()
