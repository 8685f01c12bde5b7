"""A hub whose repos each lie in one way: about an etag, a commit, or the path of a file."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "c" * 40
ETAG = "b6d81b360a5672d80c27430f39153e2c4b9a8d66"
BODY = b"content"
UP = "../../../../../pwned"


@dataclass(frozen=True)
class Lie:
    """What a repo says.

    Attributes:
        sha: the commit in its listing.
        path: the path of its only file.
        oid: the etag in its listing.
        etag: the header ETag.
        linked: the header X-Linked-Etag; empty for none.
        commit: the header X-Repo-Commit.
        redirected: answer a HEAD request with a redirect first, whose own headers are true.
        absent: answer a HEAD request with 404.
    """

    sha: str = COMMIT
    path: str = "config.json"
    oid: str = "d" * 40
    etag: str = ETAG
    linked: str = ""
    commit: str = COMMIT
    redirected: bool = False
    absent: bool = False


LIES = {
    "etag-up": Lie(etag=UP),
    "etag-absolute": Lie(etag="/tmp/pwned"),
    "etag-inside": Lie(etag=f"{'e' * 40}/../../../pwned"),
    "etag-short": Lie(etag="e" * 39),
    "etag-dots": Lie(etag=".."),
    "etag-weak": Lie(etag=f'W/"{UP}'),
    "etag-drive": Lie(etag="C:pwned"),
    "linked-up": Lie(linked=UP),
    "commit-up": Lie(commit=UP),
    "commit-upper": Lie(commit="C" * 40),
    "commit-other": Lie(commit="a" * 40),
    "commit-absent": Lie(commit=UP, absent=True),
    "redirected": Lie(etag=UP, redirected=True),
    "sha-up": Lie(sha=UP),
    "sha-dots": Lie(sha=".."),
    "path-up": Lie(path=UP),
    "path-inside": Lie(path="a/../../pwned"),
    "path-absolute": Lie(path="/tmp/pwned"),
    "path-backslash": Lie(path="..\\..\\pwned"),
    "path-drive": Lie(path="C:pwned"),
    "path-control": Lie(path="a\x1b[2Jb"),
    "path-nul": Lie(path="a\0b"),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(self.path)
        match = re.match(r"/(?:api/models/)?(?:moved/)?[^/]+/([\w-]+)", path)
        lie = self.server.lie or (LIES.get(match[1], Lie()) if match else Lie())  # type: ignore[attr-defined]
        if "/tree/" in path:
            self._json([{"type": "file", "path": lie.path, "size": len(BODY), "oid": lie.oid}])
        elif path.startswith("/api/models/"):
            file = {"rfilename": lie.path, "size": len(BODY), "blobId": lie.oid}
            self._json({"id": "o/m", "sha": lie.sha, "siblings": [file]})
        elif lie.redirected and not path.startswith("/moved/"):
            true = {"ETag": f'"{ETAG}"', "X-Repo-Commit": COMMIT, "Location": f"/moved{self.path}"}
            self._reply(307, b"", true)
        else:
            headers = {"ETag": f'"{lie.etag}"', "X-Repo-Commit": lie.commit, "X-Error-Code": ""}
            if lie.linked:
                headers["X-Linked-Etag"] = f'"{lie.linked}"'
            if lie.absent:
                headers["X-Error-Code"] = "EntryNotFound"
            self._reply(404 if lie.absent else 200, BODY, headers)

    do_HEAD = do_GET  # noqa: N815 (http.server gives the name)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def _json(self, value: object) -> None:
        self._reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def hostile_hub(lie: Lie | None = None) -> Iterator[str]:
    """Serve the repos `o/<key of LIES>`, and `o/true`, which lies about nothing; yield the URL.

    Args:
        lie: what all repos say, whatever their names.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.lie = lie  # type: ignore[attr-defined]
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
