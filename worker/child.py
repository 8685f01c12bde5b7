"""Processes of the worker's own: they find this package wherever they are started, and end with the worker."""

from __future__ import annotations

import os
import subprocess
import sys
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
