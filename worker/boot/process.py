"""Child processes of a worker, which end when the worker ends.

`start` and `end_forks_with_this` are for the process that starts another; `Parent` is for the child itself.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

Child = subprocess.Popen[bytes]

_PR_SET_PDEATHSIG = 1
_ROOT = str(Path(__file__).resolve().parents[2])


def start(module: str, *words: str, stdout: int | None = None, env: Mapping[str, str] | None = None) -> Child:
    """Start `python -m module words`.

    Its standard input is a pipe that closes when this process ends, which is how the child's `Parent` learns of it.

    Args:
        module: a module of this repository.
        words: its arguments.
        stdout: as for subprocess.Popen.
        env: variables to set besides those of this process.
    """
    variables = {**os.environ, **(env or {})}
    # The child finds this package whatever its working directory is, and whatever was done to sys.path here.
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, variables.get("PYTHONPATH"))))
    command = [sys.executable, "-m", module, *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, env=variables)  # noqa: S603 (our own)


def end_forks_with_this() -> None:
    """Have Linux kill every process that the main thread forks from now on when this one ends, however it ends.

    The RunPod SDK forks a process that tells the platform that the worker lives; without this it would go on doing so
    after the worker was killed. See PR_SET_PDEATHSIG in prctl(2).
    """
    if sys.platform != "linux":
        return
    prctl, parent = ctypes.CDLL(None).prctl, 0

    def before_fork() -> None:
        nonlocal parent
        # Linux sends the signal when the forking *thread* ends, and only the main thread lasts as long as its process.
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0

    def in_child() -> None:
        if parent:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # the parent ended before the prctl
                os._exit(1)

    os.register_at_fork(before=before_fork, after_in_child=in_child)


class Parent:
    """The process that started this one, at the other end of standard input; when it ends, this process exits."""

    def __init__(self, on_end: Callable[[], None] = lambda: None) -> None:
        """Start the thread that listens.

        Args:
            on_end: called in that thread when the parent ends, before this process exits.
        """
        self._on_end = on_end
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._detached = threading.Event()
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def detach(self) -> None:
        """Let this process outlive its parent from now on: it will soon end by itself."""
        self._detached.set()

    def line(self, within: float) -> bytes:
        """Return the parent's next line; empty when none comes any more.

        Args:
            within: seconds to wait for it; the line is empty after that, too.
        """
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
            if not self._detached.is_set():
                self._on_end()
                os._exit(1)
