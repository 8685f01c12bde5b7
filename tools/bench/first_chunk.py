"""A relay in front of the server that records when the first request for a chunk arrives, and the last answer ends."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from typing import Self, cast

from tools.servers.serving import ClosableServer

_MARK = b"/chunks/"
_PIECE = 1 << 18


class FirstChunk:
    """Relay connections to a port of this host, byte for byte, while the context lasts.

    Args:
        port: TCP port of the server.

    Attributes:
        last_answer: when bytes were last passed on that answer a request for a chunk, on the clock of `time.monotonic`.

    Raises:
        OSError: no port can be bound.
    """

    def __init__(self, port: int) -> None:
        self.last_answer = 0.0
        self._server = _Relay(port, self)
        self._times: list[float] = []  # several when requests arrive at the same moment

    @property
    def url(self) -> str:
        """The URL at which clients reach the server through this relay."""
        return f"http://{self._server.host}:{self._server.port}"

    @property
    def first_request(self) -> float:
        """When the first request for a chunk arrived, in seconds on the clock of `time.monotonic`.

        Raises:
            ValueError: none has arrived yet.
        """
        return min(self._times)

    def inspect(self, piece: bytes) -> bool:
        """Return whether these bytes are the head of a request for a chunk; record the time of the first."""
        is_for_chunk = piece.startswith(b"GET ") and _MARK in piece.split(b"\r\n", 1)[0]
        if is_for_chunk and not self._times:
            self._times.append(time.monotonic())
        return is_for_chunk

    def __enter__(self) -> Self:
        """Start to accept and relay connections."""
        self._server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Cut all connections and stop."""
        self._server.stop()


class _Relay(ClosableServer):
    def __init__(self, port: int, first: FirstChunk) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.first = port, first


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        relay = cast(_Relay, self.server)
        down: socket.socket = self.request
        with socket.create_connection(("127.0.0.1", relay.upstream)) as up, relay.cutting(up):
            for side in (down, up):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asked = threading.Event()
            answers = threading.Thread(target=_pump, args=(up, down, relay.first, asked))
            answers.start()
            with contextlib.suppress(OSError):
                while piece := down.recv(_PIECE):
                    if relay.first.inspect(piece):
                        asked.set()
                    up.sendall(piece)
            _end(up)
            answers.join()


def _pump(source: socket.socket, sink: socket.socket, first: FirstChunk, asked: threading.Event) -> None:
    buffer = memoryview(bytearray(_PIECE))
    with contextlib.suppress(OSError):
        while got := source.recv_into(buffer):
            if asked.is_set():
                first.last_answer = time.monotonic()
            sink.sendall(buffer[:got])
    _end(sink)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
