"""Connections to a server, used again and again: the quick ones are kept, and the late ones are cut."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Iterator
from typing import TypeAlias
from urllib.parse import SplitResult

from cas.bucket.body import Pace

Connection: TypeAlias = http.client.HTTPConnection

# Seconds. Servers close idle connections, and a request sent into a connection that is closing is lost.
_LONGEST_IDLE = 15.0

# A connection is given up after a body that took _SLOW times as long as usual, and _NOTABLE seconds at least: its
# server, or its way there, is busy, and a new one costs a few round trips. Where all are equally slow, none is.
_SLOW = 4.0
_NOTABLE = 0.5


class Connections:
    """The idle connections to one server, and new ones."""

    def __init__(self, wait: float, ca_bundle: str) -> None:
        """Open no connection yet.

        Args:
            wait: seconds that opening one may take.
            ca_bundle: the file or folder of a private certificate authority; empty for none.
        """
        self._wait, self._ca_bundle = wait, ca_bundle
        self._idle: list[tuple[Connection, float]] = []
        self._pace = Pace()
        self._guard = threading.Lock()
        self._context: ssl.SSLContext | None = None
        weakref.finalize(self, _close, self._idle)

    def acquire(self, url: SplitResult, *, fresh: bool) -> Connection:
        """Return the connection that was released last, or a new one. fresh: close the idle ones and open a new one.

        Raises:
            OSError: no connection can be opened.
        """
        with self._guard:
            while self._idle:
                connection, since = self._idle.pop()
                if not fresh and time.monotonic() - since < _LONGEST_IDLE:
                    return connection
                connection.close()
        host = url.hostname or ""
        if url.scheme == "https":
            connection = http.client.HTTPSConnection(host, url.port, timeout=self._wait, context=self._tls())
        else:
            connection = Connection(host, url.port, timeout=self._wait)
        connection.connect()
        return connection

    def release(self, connection: Connection, size: int, seconds: float) -> None:
        """Keep a connection for the next request, unless it is much slower than the others.

        Args:
            connection: has nothing left to read.
            size: bytes of the body that it brought.
            seconds: how long it took for the body, from the request on.
        """
        with self._guard:
            usual = self._pace.rate
            self._pace.note(size, seconds)
            is_slow = usual > 0 and seconds > max(_NOTABLE, _SLOW * size / usual)
            if connection.sock is not None and not is_slow:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()

    def _tls(self) -> ssl.SSLContext:
        with self._guard:
            if self._context is None:
                self._context = ssl.create_default_context()
                if bundle := self._ca_bundle:
                    self._context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
            return self._context


class Watch:
    """Cuts sockets at their deadlines, in a thread of its own: a trickle never runs into a socket's timeout."""

    def __init__(self) -> None:
        self._deadlines: dict[socket.socket, float] = {}
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def until(self, sock: socket.socket, deadline: float) -> Iterator[None]:
        """Cut the socket at `deadline` (seconds of the monotonic clock) unless the `with` block has ended."""
        with self._guard:
            self._deadlines[sock] = deadline
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="cas-watch", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._guard:
                del self._deadlines[sock]

    def _run(self) -> None:
        while True:
            time.sleep(0.5)
            with self._guard:
                if not self._deadlines:
                    self._thread = None
                    return
                for sock, deadline in self._deadlines.items():
                    if time.monotonic() > deadline:
                        cut(sock)


def cut(sock: socket.socket) -> None:
    """Make the thread that reads from a socket find its end.

    The socket and not its connection: of an answer with `Connection: close`, http.client takes the socket away from
    the connection before the body is read.
    """
    with contextlib.suppress(OSError):
        # Not the TLS socket's own shutdown, which unwraps the socket under the thread that reads from it.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _close(connections: list[tuple[Connection, float]]) -> None:
    for connection, _ in connections:
        connection.close()
