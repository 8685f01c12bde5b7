"""The relay passes everything on, and treats connections as it was told."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tools.servers.relay import PLAIN, Hold, Manner, Relay, every
from tools.servers.serving import ClosableServer


class _Echo(ClosableServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _EchoHandler)


class _EchoHandler(__import__("socketserver").BaseRequestHandler):  # type: ignore[misc]
    def handle(self) -> None:
        while piece := self.request.recv(1 << 16):
            self.request.sendall(piece)


@pytest.fixture
def port() -> Iterator[int]:
    server = _Echo()
    server.start()
    yield server.port
    server.stop()


def said(relay: Relay, data: bytes) -> bytes:
    """What comes back for data that is sent on a connection of its own."""
    with socket.create_connection(("127.0.0.1", relay.port)) as connection:
        threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR))).start()
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@pytest.mark.parametrize("manner", [PLAIN, Manner(rate=1e8), Manner(delay=0.01), Manner(hold=Hold(1 << 30))])
def test_every_byte_goes_through(port: int, manner: Manner) -> None:
    data = bytes(range(256)) * 4000
    with Relay("127.0.0.1", port, lambda number: manner) as relay:
        assert said(relay, data) == data
        assert relay.connections == 1


def test_chosen_connections_are_slow() -> None:
    manner = every(3, 1000)
    assert [manner(number).rate for number in range(1, 8)] == [None, None, 1000, None, None, 1000, None]


def test_a_connection_is_held_until_it_is_released(port: int) -> None:
    hold = Hold(10)
    with (
        Relay("127.0.0.1", port, lambda number: Manner(hold=hold)) as relay,
        socket.create_connection(("127.0.0.1", relay.port)) as connection,
    ):
        connection.sendall(b"0123456789abcdef")
        assert connection.recv(100) == b"0123456789"
        assert said(relay, b"another connection") == b"another connection"
        hold.released.set()
        assert connection.recv(100) == b"abcdef"
    assert hold.held == 1


def test_it_stops_while_a_connection_is_held(port: int) -> None:
    hold = Hold(0)
    with contextlib.ExitStack() as stack:
        with Relay("127.0.0.1", port, lambda number: Manner(hold=hold)) as relay:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", relay.port)))
            connection.sendall(b"x")
        # Linux resets a connection that is closed before what came has been read (RFC 2525, section 2.17).
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
