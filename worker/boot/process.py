"""Processes of the worker's own: they find this package wherever they are started, and end with the worker.

The first part is for who starts one, the second for the process itself.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

Child = subprocess.Popen[bytes]

_PR_SET_PDEATHSIG = 1
_ROOT = str(Path(__file__).resolve().parents[2])


def start(module: str, *words: str, stdout: int | None = None, env: Mapping[str, str] | None = None) -> Child:
    """Runs `python -m module words`, with a pipe as its standard input that closes when this process ends."""
    variables = {**os.environ, **(env or {})}
    # The working directory, and what was done to sys.path here, must not decide what it finds.
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, variables.get("PYTHONPATH"))))
    command = [sys.executable, "-m", module, *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, env=variables)  # noqa: S603 (our own)


def end_forks_with_this() -> None:
    """Has Linux end every process that the main thread forks from now on when this one ends, however it does.

    The SDK forks one that tells the platform that the worker lives; it would go on doing so for a worker that was
    killed. See PR_SET_PDEATHSIG in prctl(2).
    """
    if sys.platform != "linux":
        return
    prctl, parent = ctypes.CDLL(None).prctl, 0

    def note() -> None:
        nonlocal parent
        # The signal comes when the thread that forked ends, and only that one lasts as long as its process.
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0

    def follow() -> None:
        if parent:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

    os.register_at_fork(before=note, after_in_child=follow)


class Parent:
    """Who started this process, at the other end of its standard input: when it is gone, this process ends, too."""

    def __init__(self) -> None:
        """Listens from now on."""
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._free = threading.Event()
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def free(self) -> None:
        """From now on this process ends by itself, soon, whoever is there."""
        self._free.set()

    def line(self, within: float) -> bytes:
        """The next line from there; empty when none comes any more, or not within so many seconds."""
        try:
            return self._lines.get(timeout=within)
        except queue.Empty:
            return b""

    def _listen(self) -> None:
        try:
            with open(0, "rb", closefd=False) as stream:
                for line in stream:
                    self._lines.put(line)
        finally:
            self._lines.put(b"")
            if not self._free.is_set():
                os._exit(1)
