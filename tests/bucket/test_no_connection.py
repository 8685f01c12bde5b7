"""Why there is no connection stands in the one line, for both clients: a port, a name, TLS, a proxy."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from cas.bucket import Bucket, open_bucket
from cas.bucket.errors.clients import boto3_error, obstore_error
from cas.bucket.retry import RetryPolicy
from cas.errors import StoreError, Transient, Unreachable
from tests.bucket.recording import Environment, point_at
from tests.support.in_process import call_cas
from tools.servers.habits import HabitServer
from tools.servers.process import free_ports

ONCE = RetryPolicy(connect=2, answer=3, silence=1, attempts=1, unreachable_attempts=1)


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A port where every connection gets this answer, and then ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.recv(65_536)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def bucket_at(url: str, monkeypatch: Environment) -> Bucket:
    point_at(url, monkeypatch)
    return open_bucket("s3://bucket", ONCE)


def by_both_clients(bucket: Bucket) -> Iterator[StoreError]:
    """The errors of a read and a listing by obstore, and of a listing of stored versions by boto3."""
    for ask in (lambda: bucket.get("key", 9), lambda: bucket.list("folder"), lambda: bucket.stored("folder")):
        with pytest.raises(StoreError) as error:
            ask()
        assert "?" not in str(error.value)
        yield error.value


@pytest.fixture(autouse=True)
def boto3_tries_once(monkeypatch: Environment) -> None:
    monkeypatch.setattr("cas.bucket.s3.boto3_client._ATTEMPTS", 1)


def test_a_port_where_nothing_listens(monkeypatch: Environment) -> None:
    (port,) = free_ports(1)
    for error in by_both_clients(bucket_at(f"http://127.0.0.1:{port}", monkeypatch)):
        assert f": 127.0.0.1:{port} refuses connections, so no connection could be made: check the" in str(error)
        assert isinstance(error, Unreachable)


def test_a_host_that_nobody_knows(monkeypatch: Environment) -> None:
    for error in by_both_clients(bucket_at("http://nosuch.invalid", monkeypatch)):
        assert "the name of nosuch.invalid " in str(error)  # unknown; or not to be looked up, without a network
        assert isinstance(error, Unreachable)


def test_tls_to_a_plain_port(habits: HabitServer, monkeypatch: Environment) -> None:
    for error in by_both_clients(bucket_at(f"https://127.0.0.1:{habits.port}", monkeypatch)):
        assert "the server does not speak TLS on this port: write http:// into the endpoint" in str(error)
        assert not isinstance(error, Transient), "another try cannot help"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 52\r\n\r\nThe plain HTTP request was sent to HTTPS port (nginx)",
        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
    ],
)
def test_plain_http_to_a_port_of_tls(monkeypatch: Environment, answer: bytes) -> None:
    with answering(answer) as port, pytest.raises(StoreError, match="speaks TLS on this port: write https://"):
        bucket_at(f"http://127.0.0.1:{port}", monkeypatch).get("key", 9)


def test_a_port_that_hangs_up_on_plain_http_may_speak_tls(monkeypatch: Environment) -> None:
    with answering(b"") as port, pytest.raises(Transient, match=r"the connection broke .* speaks TLS where http:// is"):
        bucket_at(f"http://127.0.0.1:{port}", monkeypatch).get("key", 9)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_dead(monkeypatch: Environment, scheme: str) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv(f"{scheme}_proxy", f"http://user:secret@127.0.0.1:{port}")
    for error in by_both_clients(bucket_at(f"{scheme}://s3.example.com", monkeypatch)):
        assert f"the proxy 127.0.0.1:{port} refuses connections" in str(error)
        assert f"check {'http_proxy, https_proxy and no_proxy'}" in str(error)
        assert "secret" not in str(error)


def test_a_proxy_that_leads_nowhere(monkeypatch: Environment) -> None:
    with answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        for error in by_both_clients(bucket_at("https://s3.example.com", monkeypatch)):
            assert f"the proxy 127.0.0.1:{port} does not lead to " in str(error)


def test_the_command_says_it_in_one_line(monkeypatch: Environment) -> None:
    (port,) = free_ports(1)
    point_at(f"https://127.0.0.1:{port}", monkeypatch)
    done = call_cas("--store", "s3://bucket/cas", "ls")
    assert (done.returncode, done.stderr.count("\n")) == (6, 1)
    assert f"127.0.0.1:{port} refuses connections" in done.stderr


@pytest.mark.parametrize(
    ("inner", "says"),
    [
        ("AlertReceived(\n  HandshakeFailure,\n)", r"agreed on \(AlertReceived\(HandshakeFailure\)"),
        ('"tcp connect error", 10.0.0.1:80, Os { kind: HostUnreachable }', "no way leads to s3.example.com from here"),
        ('"tcp connect error", 10.0.0.1:80, Custom { kind: TimedOut }', "s3.example.com does not answer"),
        ("ConnectError(something new)", "key in s3://b: no connection could be made"),
    ],
)
def test_causes_that_no_test_can_make(inner: str, says: str) -> None:
    text = f"Error performing GET https://s3.example.com/b/key?X-Amz-Signature=1 - kind: Connect {inner}"
    error = obstore_error(Exception(text), "key", "s3://b", "get")
    with pytest.raises(StoreError, match=says):
        raise error


def test_an_answer_of_boto3s_is_no_lost_connection() -> None:
    error = boto3_error(ClientError({}, "PutObject"), "put key", "s3://b", "PutObject")
    assert "the store answered" in str(error)
    lost = EndpointConnectionError(endpoint_url="https://s3.example.com/?secret", error=OSError("Connection refused"))
    assert "s3.example.com refuses connections" in str(boto3_error(lost, "put key", "s3://b", "PutObject"))
