"""Errors that can only repeat: they are told at once, with their cause, and no request is sent again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from cas.bucket import RetryPolicy, open_bucket
from cas.errors import AccessDenied, CasError, StoreError, Transient
from tests.bucket.recording import Environment, point_at

DATE = "Last-Modified: Wed, 21 Oct 2026 07:28:00 GMT"


class Fixed:
    """A server that gives the same bytes as answer to every request."""

    def __init__(self, answer: str) -> None:
        self._answer = answer.encode("latin1")
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.requests = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                while b"\r\n\r\n" not in connection.recv(65536):
                    pass
                self.requests += 1
                connection.sendall(self._answer)

    def close(self) -> None:
        """Accept no more connections."""
        self._listening.close()


@pytest.fixture
def fixed(request: pytest.FixtureRequest, monkeypatch: Environment) -> Iterator[Fixed]:
    server = Fixed(request.param)
    point_at(server.url, monkeypatch)
    yield server
    server.close()


@pytest.mark.parametrize(
    "fixed",
    [
        f"HTTP/1.1 200 OK\r\n{DATE}\r\nConnection: close\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nLast-Modified: never\r\nConnection: close\r\n\r\nabc",
    ],
    indirect=True,
)
def test_an_answer_that_lacks_what_it_needs(fixed: Fixed) -> None:
    bucket = open_bucket("s3://b", RetryPolicy())
    with pytest.raises(StoreError, match="the answer cannot be used") as error:
        bucket.get("key", 100)
    assert not isinstance(error.value, Transient)
    assert fixed.url in str(error.value)
    assert fixed.requests == 1


class PanicException(BaseException):
    """Named and based as the panics of libraries made with pyo3."""


class RustPanic(Exception):
    """Named as the panics in the background of libraries made with pyo3."""


@pytest.mark.parametrize("panic", [PanicException, RustPanic])
@pytest.mark.parametrize("operation", ["get", "list", "head", "delete"])
def test_a_panic_of_the_library(monkeypatch: Environment, panic: type[BaseException], operation: str) -> None:
    calls = []

    def fail(*_: object, **__: object) -> None:
        calls.append(1)
        raise panic("index out of bounds")

    for name in ("get_async", "list", "delete_async"):
        monkeypatch.setattr(obstore, name, fail)
    bucket = open_bucket("memory:", RetryPolicy())
    with pytest.raises(StoreError, match="the storage library failed"):
        {
            "get": lambda: bucket.get("key", 10),
            "head": lambda: bucket.head("key"),
            "list": lambda: bucket.list("folder"),
            "delete": lambda: bucket.delete("key"),
        }[operation]()
    assert calls == [1]


@pytest.mark.parametrize("key", ["a//b", "../x", "a/\x1b/b", "a\x00b", "x" * 300, "a/../b"])
def test_a_path_that_cannot_be(tmp_path: Path, key: str) -> None:
    bucket = open_bucket(str(tmp_path), RetryPolicy())
    with pytest.raises(CasError) as error:
        bucket.get(key, 10)
    assert not isinstance(error.value, Transient)


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID"])
def test_half_a_key(monkeypatch: Environment, name: str) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    monkeypatch.setenv(name, "x")
    with pytest.raises(AccessDenied):
        open_bucket("s3://b", RetryPolicy())
