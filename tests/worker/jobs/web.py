"""A web server over TLS whose every answer is written byte by byte, and a certificate for it."""

from __future__ import annotations

import shutil
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import pytest

AUDIO = b"RIFF" + bytes(range(256)) * 40
"""What is at /audio."""

Answer = Callable[[BinaryIO, threading.Event], None]
"""Writes an answer; the event says that the server is being stopped."""


def make_certificate(folder: Path) -> Path:
    """A self-signed one for localhost: certificate and key in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no `openssl` program to make certificates with")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "server.pem", "-out", "certificate.pem"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    whole = folder / "server.pem"
    whole.write_bytes(whole.read_bytes() + (folder / "certificate.pem").read_bytes())
    return whole


def answer(body: bytes, status: str = "200 OK", **headers: str) -> Answer:
    """An answer with its length; headers: names with _ for -, and they win."""
    fields = {"Content-Length": str(len(body)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return lambda wire, _: write(wire, f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)


def redirect(to: str) -> Answer:
    """To another URL."""
    return answer(b"", "302 Found", Location=to)


def trickle(beginning: bytes) -> Answer:
    """Bytes, and then one more now and then for as long as somebody listens."""

    def write_slowly(wire: BinaryIO, stopping: threading.Event) -> None:
        write(wire, beginning)
        while not stopping.wait(0.02):
            write(wire, b"x")

    return write_slowly


def write(wire: BinaryIO, data: bytes) -> None:
    """At once."""
    wire.write(data)
    wire.flush()


class Web(socketserver.ThreadingTCPServer):
    """Answers by path, and keeps what was asked."""

    daemon_threads = True

    def __init__(self, certificate: Path, answers: Mapping[str, Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.answers = dict(answers)
        self.asked: list[str] = []
        self.stopping = threading.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.url = f"https://localhost:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Ends every answer."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what is tested."""


class _Answering(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, Web)
        with server.context.wrap_socket(self.request, server_side=True) as connection:
            wire = connection.makefile("rwb")
            path = wire.readline().split()[1].decode()
            while wire.readline().strip():
                pass
            server.asked.append(path)
            server.answers[path.partition("?")[0]](wire, server.stopping)
