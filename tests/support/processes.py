"""Run the real command in processes of their own, which may wait for each other or die at a chosen step."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

import cas
from cas.store.store import Store


def run_cas(
    *words: str, env: Mapping[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own to its end.

    Args:
        words: the command's arguments.
        env: variables to add or replace.
        timeout: seconds after which the command is killed.
    """
    return subprocess.run(
        [sys.executable, "-m", "cas", *words],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def until(condition: Callable[[], object], timeout: float = 30) -> None:
    """Wait until a condition that another process brings about is true; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def cas_command(*words: str, before: str = "") -> list[str]:
    """Return the command line of the real command.

    Args:
        words: the command's arguments.
        before: Python code that the process runs first, to replace what the command uses.
    """
    return [sys.executable, "-c", f"{before}\nfrom cas.cli import main\nmain()", *words]


def start_cas(*words: str, before: str = "", env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start the command that `cas_command` returns, and kill it at the test's end if it still runs."""
    return start_process(cas_command(*words, before=before), env or {})


# Every call by which a restore changes the disk counts as one step; the process kills itself before the chosen step.
DIE_AT = """
import os, signal, sys, threading
left = [int(sys.argv.pop(1))]
counting = threading.Lock()
def counted(function):
    def call(*args, **kwargs):
        with counting:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call
for name in ("open", "write", "pwrite", "ftruncate", "fsync", "rename", "symlink", "link", "mkdir", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
def tell_and_end(code, end=os._exit):
    print("steps", -left[0], file=sys.stderr, flush=True)
    end(code)
os._exit = tell_and_end
"""


def die_at(step: int, store: Store, cache: Path, reference: str = "m") -> subprocess.CompletedProcess[str]:
    """Restore in a process that kills itself before it changes the disk for the `step`-th time; 0 means never."""
    words = (str(step), "--store", store.url, "-q", "restore", reference, "--cache-dir", str(cache))
    return subprocess.run(cas_command(*words, before=DIE_AT), capture_output=True, text=True, timeout=60, check=False)


_started: list[subprocess.Popen[str]] = []


def bound_by_modes(command: Sequence[str]) -> list[str]:
    """Return a command that the modes of files bind: root runs it without the right to read everything."""
    if os.geteuid() != 0:
        return list(command)
    if shutil.which("setpriv") is None:
        pytest.skip("modes do not bind root, and there is no setpriv here to make them")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]


def start_process(command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _started.append(process)
    return process


def end_started() -> None:
    """Kill the started processes that still run."""
    while _started:
        with _started.pop() as process:
            process.kill()


def outcomes(processes: list[subprocess.Popen[str]]) -> list[cas.Restored]:
    """Wait for restores that were started with --json, check that all succeed, and return their results."""
    found = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        found.append(cas.Restored(**json.loads(out)))
    return found


def on_terminal(columns: int, store: Store, *words: str) -> list[str]:
    """Run a command on a terminal of so many columns, check that it succeeds, and return the lines it prints."""
    terminal, commands_end = pty.openpty()
    fcntl.ioctl(commands_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-m", "cas", "--store", store.url, *words]
    with subprocess.Popen(command, stdout=commands_end, stderr=subprocess.PIPE, env=environment) as process:
        os.close(commands_end)
        shown = b""
        while piece := _read(terminal):
            shown += piece
        assert process.stderr is not None
        errors = process.stderr.read().decode()
    os.close(terminal)
    assert process.returncode == 0, errors
    return shown.decode().splitlines()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end was closed
        return b""


Mount = Callable[..., Path]
"""A function that takes a folder and words for mount(8), mounts there, and returns the folder."""
