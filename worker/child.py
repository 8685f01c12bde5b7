"""Processes of the worker's own: they find this package wherever they are started, and end with the worker.

The first part is for who starts one, the second for the process itself.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

Child = subprocess.Popen[bytes]

_ROOT = str(Path(__file__).resolve().parent.parent)


def start(module: str, *words: str, stdout: int | None = None, env: Mapping[str, str] | None = None) -> Child:
    """Runs `python -m module words`, with a pipe as its standard input that closes when this process ends."""
    variables = {**os.environ, **(env or {})}
    # The working directory, and what was done to sys.path here, must not decide what it finds.
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, variables.get("PYTHONPATH"))))
    command = [sys.executable, "-m", module, *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, env=variables)  # noqa: S603 (our own)


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
