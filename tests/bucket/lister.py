"""An S3 server whose listings a test writes by hand: pages, tokens, keys and failures as it likes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

Answer: TypeAlias = "tuple[int, bytes]"


class Lister(ThreadingHTTPServer):
    """The server.

    Attributes:
        answer: given the query of a listing, by name, and its number from 1, returns status and body.
        queries: of all listings so far.
        objects: bodies of objects, by path.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.answer: Callable[[dict[str, str], int], Answer] = lambda query, number: (200, page([]))
        self.queries: list[dict[str, str]] = []
        self.objects: dict[str, bytes] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Lister)
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if "list-type" in query or "versions" in query or "uploads" in query:
            server.queries.append(query)
            status, body = server.answer(query, len(server.queries))
        else:
            missing = b"<Error><Code>NoSuchKey</Code></Error>"
            status, body = (200, found) if (found := server.objects.get(parts.path)) is not None else (404, missing)
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Wed, 21 Oct 2026 07:28:00 GMT")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def page(keys: Iterable[str], token: str = "", *, raw: bool = False) -> bytes:
    """Return the body of a page of a listing.

    Args:
        keys: of the objects, with the bucket's prefix.
        token: of the next page; empty for the last page.
        raw: write the keys as they are, be they XML or not.
    """
    listed = "".join(
        f"<Contents><Key>{key if raw else escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        "<ETag>&quot;x&quot;</ETag><Size>10</Size></Contents>"
        for key in keys
    )
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>b</Name><IsTruncated>{str(bool(token)).lower()}</IsTruncated>{more}{listed}</ListBucketResult>"
    ).encode("utf-8", "surrogatepass")
