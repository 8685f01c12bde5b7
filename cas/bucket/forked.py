"""A bucket to read from in a forked process, whose parent has used a bucket before.

A fork keeps neither the thread of the network loop nor those of obstore, and they cannot be started anew in it. But
torch's DataLoader and datasets fork their workers. So another program makes the requests for such a process: it is
started at the first request and ends with the process, and both talk through a socket of their own.

    forked process                                        the program (`python -c "... serve()"`)
    (number, method, arguments)  ------------------->     calls the method of a bucket, several at once
    (number, result or error)    <-------------------
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import socket
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cas.bucket.base import Bucket, Entry, Kind, ObjectRange
from cas.errors import CasError, StoreError, Unsupported
from cas.formats.digest import Buffer
from cas.parallel import result_of

_AT_ONCE = 16  # requests
# Python looks for modules in the current folder first (the empty entry), where anybody may have put some.
_PROGRAM = (
    "import sys; sys.path[:] = [*filter(None, sys.path), sys.argv[1]]; "
    "from cas.bucket.forked import serve; serve(*sys.argv[2:])"
)


class ForkedBucket(Bucket):
    """Reads a bucket through a program of its own. Several threads may use it at once."""

    def __init__(self, url: str) -> None:
        """Start nothing yet. url: of the bucket."""
        self.url = url
        self._guard = threading.Lock()
        self._connection: Connection | None = None
        self._waiting: dict[int, Future[Any]] = {}
        self._numbers = itertools.count()

    def get(self, key: str, limit: int) -> Buffer:
        found: Buffer = self._call("get", key, limit)
        return found

    def get_range(self, key: str, start: int, size: int) -> ObjectRange:
        return ObjectRange(*self._call("get_range", key, start, size))

    def head(self, key: str) -> Entry:
        return Entry(*self._call("head", key))

    def list(self, prefix: str) -> list[Entry]:
        return [Entry(*entry) for entry in self._call("list", prefix)]

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        raise self._refused("put", key)

    def delete(self, key: str) -> None:
        raise self._refused("delete", key)

    def _refused(self, operation: str, key: str) -> Unsupported:
        return Unsupported(
            f"{operation} {key}: this process was forked from one that had used a store before, and can only read "
            f"{self.url}: start it by spawn or exec instead"
        )

    def _call(self, method: str, *arguments: object) -> Any:
        result: Future[Any] = Future()
        with self._guard:
            if self._connection is None:
                self._connection = self._start()
            number = next(self._numbers)
            self._waiting[number] = result
            try:
                self._connection.send((number, method, arguments))
            except OSError:
                del self._waiting[number]
                raise self._lost() from None
        return result_of(result)

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        words = [sys.executable, "-c", _PROGRAM, str(Path(__file__).parents[2]), str(theirs.fileno()), self.url]
        with theirs:
            theirs.set_inheritable(True)
            # It is not waited for: it ends when this process does, as the socket is closed then.
            os.posix_spawn(sys.executable, words, os.environ)
        connection = Connection(ours.detach())
        threading.Thread(target=self._receive, args=(connection,), daemon=True).start()
        return connection

    def _receive(self, connection: Connection) -> None:
        try:
            while True:
                number, result, error = connection.recv()
                with self._guard:
                    waiting = self._waiting.pop(number)
                if error is None:
                    waiting.set_result(result)
                else:
                    waiting.set_exception(_error(*error))
        except (EOFError, OSError):
            with self._guard:
                self._connection = None
                waiting_ones, self._waiting = list(self._waiting.values()), {}
            for waiting in waiting_ones:
                waiting.set_exception(self._lost())

    def _lost(self) -> StoreError:
        return StoreError(f"{self.url}: the program that reads it for this forked process has ended: try again")


def serve(descriptor: str, url: str) -> None:
    """Make requests for a forked process until it ends: what the program does.

    Args:
        descriptor: the number of the socket to that process.
        url: of the bucket.
    """
    from cas.bucket.factory import open_bucket

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    connection, sending = Connection(int(descriptor)), threading.Lock()
    bucket: list[Bucket] = []
    opening = threading.Lock()

    def answer(number: int, method: str, arguments: tuple[object, ...]) -> None:
        result, error = None, None
        try:
            with opening:
                if not bucket:
                    bucket.append(open_bucket(url))
            found = getattr(bucket[0], method)(*arguments)
            result = bytes(found) if method == "get" else _plain(found)
        except Exception as raised:
            fields = {name: value for name, value in vars(raised).items() if isinstance(value, str | int)}
            error = (type(raised).__module__, type(raised).__qualname__, str(raised), fields)
        with sending:
            connection.send((number, result, error))

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        try:
            while True:
                threads.submit(answer, *connection.recv())
        except (EOFError, OSError):
            os._exit(0)


def _plain(value: Any) -> Any:
    """A result in types of Python's own, and bytes that can be sent."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return bytes(value) if isinstance(value, memoryview) or hasattr(value, "__buffer__") else value


def _error(module: str, name: str, text: str, fields: dict[str, object]) -> Exception:
    """The error that a request met in the program."""
    kind = getattr(importlib.import_module(module), name, None)
    if not isinstance(kind, type) or not issubclass(kind, CasError):
        return StoreError(f"{name}: {text}")
    error = kind.__new__(kind)
    error.args = (text,)
    vars(error).update(fields)
    return error
