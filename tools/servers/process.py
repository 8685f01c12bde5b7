"""Start programs that die with their parent, and find free ports for them to listen on."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

# Below Linux's range for outgoing connections (32768 and up): such a connection could take the port first.
_PORTS = range(10240, 32768)
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, see prctl(2)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone already")
os.execv(sys.argv[2], sys.argv[2:])
"""


def spawn(command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a program that is killed when this process ends, even by SIGKILL (on Linux; elsewhere it stays).

    Args:
        command: absolute path of the program, then its arguments.
        log: file that its output is appended to.
        environment: variables to add to those of this process.

    Raises:
        OSError: the log cannot be written, or there is no memory for a process.
    """
    started: Future[subprocess.Popen[bytes]] = Future()

    def keep() -> None:
        wrapper = [sys.executable, "-IS", "-c", _DIE_WITH_PARENT, str(os.getpid())]
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    wrapper + command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **(environment or {})},
                )
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(process)
        process.wait()

    # Linux sends the signal when the *thread* that started the program ends, so that thread waits for the program.
    threading.Thread(target=keep, name=f"keep {Path(command[0]).name}", daemon=True).start()
    return started.result()


def free_ports(count: int) -> list[int]:
    """Return `count` different TCP ports of 127.0.0.1 on which no program listens now."""
    with contextlib.ExitStack() as taken:
        ports: list[int] = []
        while len(ports) < count:
            port = random.choice(_PORTS)
            probe = taken.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                ports.append(port)
        return ports


def run_until_interrupted() -> None:
    """Sleep until SIGINT or SIGTERM."""
    interrupted = threading.Event()
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, lambda *_: interrupted.set())
    interrupted.wait()
