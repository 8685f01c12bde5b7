"""`cas serve` in a process of its own, and a proxy that catches what its clients ask of anybody else."""

from __future__ import annotations

import contextlib
import os
import socketserver
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import cas_command, until
from tools.servers.process import free_ports
from tools.servers.serving import ClosableServer


class Served(NamedTuple):
    """A running `cas serve`.

    Attributes:
        url: what clients take as HF_ENDPOINT.
        process: the server.
        log: the file that holds what it prints.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def port(self) -> int:
        """The TCP port that it listens on."""
        return int(self.url.rpartition(":")[2])


@contextlib.contextmanager
def serving(
    store: str, folder: Path, *words: str, env: Mapping[str, str] | None = None, before: str = "", port: int = 0
) -> Iterator[Served]:
    """Run `cas serve` on a free port until the `with` block ends; the block begins when it answers.

    Args:
        store: the store's URL.
        folder: where its cache and its log lie.
        words: more options.
        env: variables to add.
        before: Python code that the process runs first, to replace what the command uses.
        port: the TCP port; 0 for a free one.
    """
    port = port or free_ports(1)[0]
    folder.mkdir(parents=True, exist_ok=True)
    command = cas_command("--store", store, "serve", "--port", str(port), *words, before=before)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="log-", delete=False) as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "XDG_CACHE_HOME": str(folder / "caches"), **(env or {})},
        )
    served = Served(f"http://127.0.0.1:{port}", process, Path(log.name))
    try:
        until(lambda: _answers(served))
        yield served
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _answers(served: Served) -> bool:
    import http.client

    assert served.process.poll() is None, served.log.read_text("utf-8")
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Outside(ClosableServer):
    """A proxy that lets nothing through, and records who was asked for.

    Attributes:
        asked: the first line of every request.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Refusing)
        self.asked: list[str] = []

    def env(self) -> dict[str, str]:
        """Return the variables under which a client sends all that is not for this machine to the proxy."""
        proxy = f"http://127.0.0.1:{self.port}"
        names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        return {**dict.fromkeys(names, proxy), "no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}


class _Refusing(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Outside)
        if line := self.rfile.readline():
            self.server.asked.append(line.decode("latin-1").strip())
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@contextlib.contextmanager
def nothing_outside() -> Iterator[dict[str, str]]:
    """Give the variables of such a proxy, and check at the end that no client asked it for anything."""
    outside = Outside()
    outside.start()
    try:
        yield outside.env()
    finally:
        outside.stop()
    assert outside.asked == []
