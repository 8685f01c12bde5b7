"""An S3 server that records the requests it receives, and a read of an object from it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from cas.bucket import open_bucket
from cas.errors import ObjectMissing
from tests.support.buckets import HURRIED

Environment = pytest.MonkeyPatch


def point_at(url: str, monkeypatch: Environment) -> None:
    """Let the variables of endpoint and key name an S3 server at `url`."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer, url: str, monkeypatch: Environment) -> Iterator[None]:
    """Run a server, to which the variables of endpoint and key point."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    point_at(url, monkeypatch)
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class Request(NamedTuple):
    """A request as the server received it.

    Attributes:
        method: the HTTP method.
        target: path and query, or the URL of a request to a proxy.
        headers: the headers, by lower-case name.
    """

    method: str
    target: str
    headers: dict[str, str]

    @property
    def region(self) -> str:
        """The region that the request was signed for."""
        found = re.search(r"Credential=[^/]+/\d{8}/([^/]+)/s3/aws4_request", self.headers["authorization"])
        assert found
        return found[1]


class Recorder(ThreadingHTTPServer):
    """An S3 server, or a proxy before one, that records the requests and stores nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Recording)
        self.requests: list[Request] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Recording(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Recorder)
        headers = {name.lower(): value for name, value in self.headers.items()}
        server.requests.append(Request(self.command, self.path, headers))
        self.rfile.read(int(headers.get("content-length", 0)))
        body = b"" if self.command in ("PUT", "HEAD") else b"<Error><Code>NoSuchKey</Code></Error>"
        self.send_response_only({"PUT": 200, "CONNECT": 502}.get(self.command, 404))
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_PUT = do_CONNECT = do_GET  # noqa: N815 (as http.server has it)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def asked(recorder: Recorder, url: str = "s3://bucket/prefix") -> Request:
    """Read `key`, and return the request that the server received."""
    with pytest.raises(ObjectMissing):
        open_bucket(url, HURRIED).get("key", limit=1)
    return recorder.requests[-1]
