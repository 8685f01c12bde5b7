"""A server that redirects."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Redirecting(ThreadingHTTPServer):
    """A server that answers with a redirect, or with `data` where it has none to give.

    Attributes:
        location: the URL that it redirects to; empty where it redirects nowhere.
        status: of its redirects.
        requests: the method of each request, and its headers by lower-case names.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.location, self.status = "", 302
        self.requests: list[tuple[str, dict[str, str]]] = []

    def at(self, host: str, scheme: str = "http") -> str:
        """The server's URL under another name of this machine."""
        return f"{scheme}://{host}:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Redirecting)
        server.requests.append((self.command, {name.lower(): value for name, value in self.headers.items()}))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b"" if server.location else b"data"
        self.send_response(server.status if server.location else 200)
        if server.location:
            self.send_header("Location", server.location)
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_CONNECT = do_GET  # noqa: N815 (as http.server has it)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def redirecting(secured_by: ssl.SSLContext | None = None) -> Iterator[Redirecting]:
    """A running server. secured_by: makes it speak TLS."""
    with Redirecting() as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up
        if secured_by:
            server.socket = secured_by.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
