"""Hostile requests: each gets a clear answer or a closed connection, and takes nothing from others."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.ops.serve import connections
from cas.ops.serve.server import HubServer, Serving
from tests.ops.serve.conftest import FILES, Served, no_publish
from tests.support.processes import until

PLAIN = b"GET /org/model/resolve/main/config.json HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        yield connection


def all_of(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            received += piece
    return received


def raw(served: Served, request: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server closes the connection."""
    with connected(served.server.port) as connection:
        connection.sendall(request)
        return all_of(connection)


@pytest.mark.parametrize(
    "path",
    [
        "/org/model/resolve/main/../../../../etc/passwd",
        "/org/model/resolve/main/%2e%2e/%2e%2e/etc/passwd",
        "/org/model/resolve/main/..%2f..%2f..%2fetc%2fpasswd",
        "/org/model/resolve/main//etc/passwd",
        "/org/model/resolve/main/config.json%00.txt",
        "/org/model/resolve/%2e%2e/config.json",
        "/org/model/resolve/..%2Fmain/config.json",
        "/../../etc/passwd",
        "/%2e%2e/model/resolve/main/config.json",
        "/org/..%2fmodel/resolve/main/config.json",
        "/org/model/resolve/main/%ff%fe",
        "/org/model/resolve/main/config.json/",
        "/api/models/..%2f..%2fhealth",
        "/api/secrets/org/model",
    ],
)
def test_no_path_leads_out_of_the_repo(served: Served, path: str) -> None:
    answer = served.ask(path)
    assert answer.status in (400, 404)
    assert answer.document.keys() == {"error"}
    assert b"root:" not in answer.body and str(served.store.url).encode() not in answer.body


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Content-Length: +5\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"X: a\r\n b\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Bad Name: 1\r\n",
        b"X: a\x00b\r\n",
    ],
)
def test_a_request_that_two_servers_could_read_in_two_ways_is_refused(served: Served, head: bytes) -> None:
    smuggled = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    request = b"POST /api/models/org/model/paths-info/main HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n0\r\n\r\n" + smuggled
    answer = raw(served, request)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1 and b"cas_serve_" not in answer


def test_a_body_is_no_second_request(served: Served) -> None:
    body_ = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    head = PLAIN.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body_))
    answer = raw(served, head + body_)
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(FILES["config.json"])
    assert b"cas_serve_" not in answer


def test_two_requests_on_one_connection_get_two_answers_in_order(served: Served) -> None:
    last = PLAIN.replace(b"config.json", b"empty.txt").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answer = raw(served, PLAIN + last)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.index(FILES["config.json"]) < answer.index(b"content-length: 0")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),  # TLS
        (b"GET / SSH-2.0\r\n\r\n", b"400"),
        (b"DELETE /org/model/resolve/main/config.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"405"),
        (b"GET http://169.254.169.254/latest/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
        (b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET /org/model/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", b"404"),
    ],
)
def test_what_is_no_request_of_ours_is_answered_and_closed(served: Served, request_: bytes, status: bytes) -> None:
    answer = raw(served, request_)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"location" not in answer.lower() and b"evil.example" not in answer


def test_a_head_without_end_is_cut_off(served: Served) -> None:
    with connected(served.server.port) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 8 * connections.REQUEST_BYTES:
                sent += connection.send(b"X-A: " + b"a" * 8000 + b"\r\n")
        assert sent < 8 * connections.REQUEST_BYTES


def test_a_body_that_is_too_large_is_refused(served: Served) -> None:
    head = b"POST /api/models/org/model/paths-info/main HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
    with connected(served.server.port) as connection:
        received = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(head)
            for _ in range(8 * connections.REQUEST_BYTES // 8000):
                connection.sendall(b"paths=a&" * 1000)
        with contextlib.suppress(ConnectionError):
            received = connection.recv(1 << 16)
        assert received == b"" or received.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("body_", [b"paths=a&" * 20_000, b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_names_no_paths_is_refused(served: Served, body_: bytes) -> None:
    for kind in ("application/x-www-form-urlencoded", "application/json"):
        path = "/api/models/org/model/paths-info/main"
        answer = served.ask(path, "POST", {"Content-Type": kind}, body_)
        assert answer.status == (200 if body_[:1] == b"[" and kind != "application/json" else 400)


@pytest.fixture
def narrow(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A server that lets in four connections, and waits long for slow clients."""
    monkeypatch.setattr("cas.ops.serve.server.allowed_connections", lambda: 4)
    monkeypatch.setattr(connections.Connection, "request_seconds", 600.0)
    monkeypatch.setattr(connections.Connection, "send_seconds", 600.0)
    serving = Serving(cache=tmp_path / "cache", cache_size=10 << 20, port=0)
    with HubServer(served.store, serving, no_publish) as server:
        yield server


def test_silent_connections_make_way_for_others(narrow: HubServer) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connected(narrow.port)) for _ in range(30)]
        for _ in range(8):
            with connected(narrow.port) as connection:
                connection.sendall(PLAIN)
                assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        assert [all_of(connection) for connection in silent[:26]] == [b""] * 26


def test_the_second_write_of_an_answer_waits_for_no_acknowledgement(narrow: HubServer) -> None:
    with connected(narrow.port):
        until(lambda: narrow._server.server_state.connections)
        (connection,) = narrow._server.server_state.connections
        at_server = connection.transport.get_extra_info("socket")
        assert at_server.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("beginning", [b"", b"GET /health HTTP/1.1\r\nX: "])
def test_a_request_that_never_ends_is_told(
    narrow: HubServer, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections.Connection, "request_seconds", 0.2)
    with connected(narrow.port) as connection:
        connection.sendall(beginning)
        assert all_of(connection).startswith(b"HTTP/1.1 408 ")


def test_a_connection_beyond_the_limit_is_told_when_all_others_are_busy(narrow: HubServer) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            busy = stack.enter_context(connected(narrow.port))
            busy.sendall(PLAIN.replace(b"config.json", b"weights.bin") * 60)
            assert busy.recv(1).startswith(b"H")
        until(lambda: not narrow._server.config.http_protocol_class.silent)  # type: ignore[attr-defined]
        with connected(narrow.port) as connection:
            assert all_of(connection).startswith(b"HTTP/1.1 503 ")


def test_a_client_that_reads_nothing_is_cut_off(narrow: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections.Connection, "send_seconds", 0.2)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(60)
        slow.connect(("127.0.0.1", narrow.port))
        slow.sendall(PLAIN.replace(b"config.json", b"weights.bin") * 40)
        first = slow.recv(1)  # the server has the connection
        until(lambda: narrow._server.server_state.connections == set())
        received = first + all_of(slow)
    assert received.count(b"HTTP/1.1 200 ") < 40


def test_the_limit_of_connections_leaves_files_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1024, 2048)]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda kind, new: limits.append(new))
    assert connections.allowed_connections() == 2048 - 256
    assert limits[-1] == (2048, 2048)
    limits.append((1 << 20, 1 << 20))
    assert connections.allowed_connections() == connections.MAX_CONNECTIONS
