"""Debian's nginx-light: a cache in front of a server, as a content delivery network is; or a server of plain files."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple, Self

from tools.servers.process import free_ports, spawn

START_TIMEOUT = 30.0

# It keeps what the origin calls cacheable for as long as it says so, and nothing else.
_CONFIG = """
{user}daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format plain '$request_method $uri $status $upstream_cache_status';
    access_log {folder}/access.log plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache levels=1:2 keys_zone=objects:4m max_size=4g inactive=1h use_temp_path=off;
    proxy_buffers 32 64k;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            {location}
        }}
    }}
}}
"""

_CACHE = """proxy_pass {origin}/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache objects;
            proxy_cache_lock on;
            proxy_ignore_headers Vary;"""

# As its documentation advises for large files: from the page cache to the socket without a copy.
_FILES = """root {files};
            sendfile on;
            tcp_nopush on;"""


class NginxError(RuntimeError):
    """The server cannot be started."""


class CachedRequest(NamedTuple):
    """One request as the cache answered it.

    Attributes:
        method: the HTTP method.
        path: the path of its URL.
        status: of the answer.
        cached: `HIT` from the cache, `MISS` from the origin.
    """

    method: str
    path: str
    status: int
    cached: str


class Nginx:
    """Run nginx as a cache while the context lasts.

    Args:
        directory: where to keep the cache, the configuration and the log.
        origin: URL of the server behind it, with the path that requests are put below.

    Raises:
        NginxError: (on entering) it is not installed, or does not answer within 30 s.
    """

    def __init__(self, directory: Path, origin: str) -> None:
        self.directory, self.port = directory, free_ports(1)[0]
        self._location = _CACHE.format(origin=origin.rstrip("/"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL behind which the cache is."""
        return f"http://127.0.0.1:{self.port}"

    def requests(self) -> list[CachedRequest]:
        """Return the requests so far, oldest first, but for those that waited for the start."""
        found = []
        for line in (self.directory / "access.log").read_text().splitlines():
            method, path, status, cached = line.split(" ")
            if path != "/started":
                found.append(CachedRequest(method, path, int(status), cached))
        return found

    def __enter__(self) -> Self:
        """Start the server and wait until it answers."""
        program = installed()
        if program is None:
            raise NginxError("nginx is not installed: `apt-get install nginx-light`")
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "nginx.conf"
        # Started by root, its worker would be somebody who may not enter the folder of a test.
        user = "user root;\n" if os.geteuid() == 0 else ""
        text = _CONFIG.format(user=user, folder=self.directory, port=self.port, location=self._location)
        config.write_text(text)
        command = [program, "-p", str(self.directory), "-c", str(config), "-e", str(self.directory / "error.log")]
        self._process = spawn(command, self.directory / "output.log")
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                said = (self.directory / "error.log").read_text(errors="replace")
                raise NginxError(f"nginx does not answer: {said[-2000:]}")
            time.sleep(0.01)
        return self

    def __exit__(self, *exc: object) -> None:
        """End the server."""
        if self._process is not None:
            self._process.terminate()  # the master ends its worker
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/started")
            connection.getresponse().read()
            return True
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class NginxFiles(Nginx):
    """Run nginx as a server of plain files while the context lasts.

    Args:
        directory: where to keep the configuration and the log.
        files: the folder that it serves.
    """

    def __init__(self, directory: Path, files: Path) -> None:
        super().__init__(directory, "")
        self._location = _FILES.format(files=files)


def installed() -> str | None:
    """Return the path of nginx; None where there is none. (Debian keeps it where only root's PATH looks.)"""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
