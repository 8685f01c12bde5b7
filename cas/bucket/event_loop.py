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
from cas.parallel import result_of

T = TypeVar("T")

_loops: dict[int, asyncio.AbstractEventLoop] = {}
"""The loop by process id: of this process, or, in a forked child, of its parent."""
_starting = threading.Lock()
_LAST_RESULTS = 0.03  # seconds


def run_on_network_loop(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, run on the network loop; an interrupt of the caller cancels it."""
    try:
        loop = network_loop()
    except StoreError:
        work.close()  # a coroutine that nobody runs would warn about itself
        raise
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return result_of(future)
    except BaseException:
        future.cancel()
        raise


def network_loop() -> asyncio.AbstractEventLoop:
    """Return this process's network loop, and start it at the first call.

    Raises:
        StoreError: this process is a forked child of one that had used a store; every request would hang here.
    """
    with _starting:
        if os.getpid() not in _loops:
            if is_forked():
                # A fork keeps neither the thread of the loop nor those of obstore, which cannot be started anew.
                raise StoreError(
                    "this process was forked from one that had used a store before: start it by spawn or exec "
                    "instead, or use the store in the child only"
                )
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="cas-network", daemon=True)
            thread.start()
            atexit.register(_stop, loop, thread)
            _loops[os.getpid()] = loop
        return _loops[os.getpid()]


def is_forked() -> bool:
    """Whether this process is a forked child of one that had used a store: it can make no request itself."""
    return bool(_loops) and os.getpid() not in _loops


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=2)
    # A thread of obstore may still be about to release its last result, for which it needs the interpreter. Once Python
    # is finalising, Python would kill that thread for asking, and the process with it (SIGABRT, 1 run in 400).
    time.sleep(_LAST_RESULTS)
