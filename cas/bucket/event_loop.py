"""The event loop on which all requests of a process run, in a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from cas.errors import StoreError

T = TypeVar("T")

_loops: dict[int, asyncio.AbstractEventLoop] = {}
_starting = threading.Lock()
_LAST_RESULTS = 0.03  # seconds


def run(on: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, run on the network loop; cancels it when the caller is interrupted."""
    future = asyncio.run_coroutine_threadsafe(work, on)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def loop() -> asyncio.AbstractEventLoop:
    """This process's network loop; raises StoreError in a forked child, where every request would hang."""
    with _starting:
        if os.getpid() not in _loops:
            if _loops:
                # Neither the thread of the loop nor those of obstore, which cannot be started anew, survive a fork.
                raise StoreError(
                    "this process was forked from one that had used a store before: start it by spawn or exec "
                    "instead, or use the store in the child only"
                )
            made = asyncio.new_event_loop()
            thread = threading.Thread(target=made.run_forever, name="cas-network", daemon=True)
            thread.start()
            atexit.register(_stop, made, thread)
            _loops[os.getpid()] = made
        return _loops[os.getpid()]


def _stop(on: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    on.call_soon_threadsafe(on.stop)
    thread.join(timeout=2)
    # A thread of obstore's may still be about to let go of its last result, and needs the interpreter for that. Once
    # Python is finalising it would be killed for asking, and take the process with it (SIGABRT, 1 run in 400).
    time.sleep(_LAST_RESULTS)
