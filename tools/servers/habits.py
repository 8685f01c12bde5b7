"""An S3 look-alike in memory whose odd habits are chosen: for what no real server on this machine does.

Run `python -m tools.servers.habits conditional=ignored bulk_delete=501` and point a client to the URL that it prints;
or use `HabitServer` in a test. Each habit is one that a real service has; signatures are not checked.
"""

from __future__ import annotations

import argparse
import dataclasses
import email.utils
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, Self, cast
from urllib.parse import parse_qsl, unquote

from tools.servers import s3_answers
from tools.servers.process import run_until_interrupted
from tools.servers.s3_answers import Said, StoredObject
from tools.servers.serving import ClosableServer


@dataclass
class Habits:
    """What a server does otherwise than AWS S3; a test may change a habit while the server runs.

    Attributes:
        conditional: how `If-None-Match: *` is met: `honoured`; `ignored` (200 and overwritten, as rclone, s3rver and
            Ceph RGW with versions); or the status of every such write: `400`, `412`, `501` (Backblaze B2).
        bulk_delete: the status of DeleteObjects: 200; 501 (Google Cloud Storage), 405 or 400 where it is missing.
        archived: the beginning or another part of keys whose GET is refused, as they were moved to Glacier.
        region: the region that requests must be signed for; empty for any.
        region_status: how another region is refused: 400 AuthorizationHeaderMalformed, or 301 PermanentRedirect.
        virtual: a domain: requests must name the bucket in the host, as `bucket.<domain>` (Aliyun OSS).
        domain: a domain below which the host names the bucket; path-style requests are met, too.
        anonymous: signed requests are refused, as the key is unknown.
        checksums: a PUT without Content-MD5 or x-amz-checksum-* is refused (Object Lock).
        payer: requests without x-amz-request-payer are refused.
        expires_after: after so many requests the session's token has expired; -1 for never.
        clock: seconds by which the server's clock is ahead; requests that are 15 minutes off are refused.
        redirect: the URL that every request is sent on to, with status 307; empty for none.
        body: how objects are sent: with their `length`, `chunked`, until the connection is `closed`, or in place of
            each an HTML `page` with status 200.
        page_size: keys on a page of a listing.
        refusal: status, code and message of the refusal of every request below `refused`; empty for none.
        refused: the method of refused requests, or a part of their path; empty for all.
    """

    conditional: str = "honoured"
    bulk_delete: int = 200
    archived: str = ""
    region: str = ""
    region_status: int = 400
    virtual: str = ""
    domain: str = ""
    anonymous: bool = False
    checksums: bool = False
    payer: bool = False
    expires_after: int = -1
    clock: float = 0.0
    redirect: str = ""
    body: str = "length"
    page_size: int = 1000
    refusal: str = ""
    refused: str = ""


@dataclass(frozen=True)
class Seen:
    """One request as the server received it.

    Attributes:
        method: the HTTP method.
        key: the object's key, or an empty text for a request to the bucket.
        query: the query's values by name.
        headers: the headers by lower-case name.
    """

    method: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]


class HabitServer:
    """Answer S3 requests to any bucket while the context lasts; all buckets are one.

    Attributes:
        habits: what it does otherwise than AWS.
        objects: what it stores, by key.
        requests: every request so far, oldest first.
        before: is called with each request before it is answered; a test may wait, or change something, in it.
    """

    def __init__(self, habits: Habits | None = None, *, port: int = 0) -> None:
        """Prepare a server. port: TCP port on 127.0.0.1, 0 for a free one; raises OSError when it is taken."""
        self.habits = habits or Habits()
        self.objects: dict[str, StoredObject] = {}
        self.requests: list[Seen] = []
        self.before: Callable[[Seen], None] = lambda seen: None
        self.guard = threading.Lock()
        self._server = _Server(("127.0.0.1", port), self)

    @property
    def port(self) -> int:
        """The TCP port that the server listens on."""
        return self._server.port

    @property
    def url(self) -> str:
        """The server's URL, for AWS_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self.port}"

    def count(self, method: str, key_contains: str = "") -> int:
        """Return how many requests had this method, and this text in their key."""
        return sum(seen.method == method and key_contains in seen.key for seen in list(self.requests))

    def __enter__(self) -> Self:
        """Start to answer."""
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Cut all connections and stop."""
        self._server.stop()

    def answer(self, seen: Seen, body: bytes) -> Said:
        """Return what the server says to one request, and do what it asks for."""
        self.before(seen)
        with self.guard:
            self.requests.append(seen)
            if refused := self._refused(seen):
                return refused
            return self._done(seen, body)

    def _refused(self, seen: Seen) -> Said | None:  # noqa: PLR0911 (one for each habit)
        habits, header = self.habits, seen.headers.get
        signed = header("authorization", "") or seen.query.get("X-Amz-Credential", "")
        if habits.redirect:
            return Said(307, b"", {"Location": habits.redirect + "/" + seen.key})
        if habits.refusal and (habits.refused in ("", seen.method) or habits.refused in seen.key):
            status, code, message = (*habits.refusal.split(" ", 2), "")[:3]
            return s3_answers.error(int(status), code, message or "said by the server")
        if 0 <= habits.expires_after < len(self.requests):
            return s3_answers.error(400, "ExpiredToken", "The provided token has expired.")
        if habits.anonymous and signed:
            return s3_answers.error(403, "InvalidAccessKeyId", "The key does not exist in our records.")
        region = re.search(r"/\d{8}/([^/]+)/", signed)
        if habits.region and region and region[1] != habits.region:
            return s3_answers.wrong_region(habits.region_status, region[1], habits.region)
        asked = header("x-amz-date", "") or seen.query.get("X-Amz-Date", "")
        if asked and abs(s3_answers.seconds_of(asked) - time.time() - habits.clock) > 900:
            return s3_answers.error(403, "RequestTimeTooSkewed", "The difference between the clocks is too large.")
        if habits.payer and header("x-amz-request-payer") is None:
            return s3_answers.error(403, "AccessDenied", "Access Denied")
        host = header("host", "").partition(":")[0]
        if habits.virtual and not host.endswith(f".{habits.virtual}"):
            return s3_answers.error(403, "SecondLevelDomainForbidden", "The bucket must be addressed by its domain.")
        return None

    def _done(self, seen: Seen, body: bytes) -> Said:
        stored = self.objects.get(seen.key)
        if not seen.key:
            return self._of_the_bucket(seen, body)
        if seen.method == "PUT":
            return self._put(seen, body, stored)
        if seen.method == "DELETE":
            self.objects.pop(seen.key, None)
            return Said(204)
        return self._get(seen, stored)

    def _get(self, seen: Seen, stored: StoredObject | None) -> Said:
        if stored is None:
            return s3_answers.error(404, "NoSuchKey", "The key does not exist.")
        if self.habits.archived and self.habits.archived in seen.key and seen.method == "GET":
            return s3_answers.archived()
        if self.habits.body == "page":
            return Said(200, b"<!DOCTYPE html><html><body>Log in</body></html>", {"Content-Type": "text/html"})
        return s3_answers.whole_or_part(stored, seen.headers.get("range", ""))

    def _put(self, seen: Seen, body: bytes, stored: StoredObject | None) -> Said:
        habits = self.habits
        names = [name for name in seen.headers if name == "content-md5" or name.startswith("x-amz-checksum-")]
        if habits.checksums and not names:
            return s3_answers.error(400, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required")
        # Google Cloud Storage's XML API has a header of its own for it.
        if seen.headers.get("if-none-match") == "*" or seen.headers.get("x-goog-if-generation-match") == "0":
            if habits.conditional.isdigit():
                code = {"400": "InvalidArgument", "412": "PreconditionFailed"}.get(habits.conditional, "NotImplemented")
                return s3_answers.error(int(habits.conditional), code, "A header is not implemented.")
            if stored is not None and habits.conditional == "honoured":
                return s3_answers.error(412, "PreconditionFailed", "A precondition did not hold.")
        self.objects[seen.key] = new = StoredObject(body, time.time() + habits.clock)
        return Said(200, b"", {"ETag": new.tag})

    def _of_the_bucket(self, seen: Seen, body: bytes) -> Said:
        if seen.method == "POST" and "delete" in seen.query:
            if self.habits.bulk_delete != 200:
                return s3_answers.error(self.habits.bulk_delete, "NotImplemented", "DeleteObjects is not implemented.")
            keys = s3_answers.keys_to_delete(body)
            for key in keys:
                self.objects.pop(key, None)
            return s3_answers.deleted(keys)
        if seen.method in ("GET", "HEAD"):
            return s3_answers.listing(self.objects, seen.query, self.habits.page_size, self.habits.archived)
        return Said(200) if seen.method == "PUT" else s3_answers.error(405, "MethodNotAllowed", "It is not allowed.")


class _Server(ClosableServer):
    def __init__(self, address: tuple[str, int], owner: HabitServer) -> None:
        super().__init__(address, _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        owner = cast(_Server, self.server).owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        path, _, query = self.path.partition("?")
        path = unquote(path).lstrip("/")
        host = headers.get("host", "").partition(":")[0]
        if not any(domain and host.endswith(f".{domain}") for domain in (owner.habits.virtual, owner.habits.domain)):
            path = path.partition("/")[2]  # the first component is the bucket
        said = owner.answer(Seen(self.command, path, dict(parse_qsl(query, keep_blank_values=True)), headers), body)
        self._say(said, owner.habits)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 (as http.server has it)

    def _say(self, said: Said, habits: Habits) -> None:
        manner = habits.body if self.command == "GET" and said.status < 300 and said.is_object else "length"
        self.send_response_only(said.status)
        self.send_header("Date", email.utils.formatdate(time.time() + habits.clock, usegmt=True))
        for name, value in said.headers.items():
            self.send_header(name, value)
        if manner == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif manner == "closed":
            self.send_header("Connection", "close")
            self.close_connection = True
        elif said.status != 204:
            self.send_header("Content-Length", str(len(said.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(_chunked(said.body) if manner == "chunked" else said.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _chunked(body: bytes) -> bytes:
    pieces = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def parse_habits(words: list[str]) -> Habits:
    """Return the habits that `name=value` words choose; a flag needs no value. Raises ValueError for unknown ones."""
    types = {name: type(value) for name, value in dataclasses.asdict(Habits()).items()}
    chosen: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in types:
            raise ValueError(f"habit {name} is unknown: choose from {', '.join(types)}")
        chosen[name] = value not in ("false", "0") if types[name] is bool else types[name](value)
    return Habits(**chosen)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser("python -m tools.servers.habits", description="An S3 server with odd habits.")
    parser.add_argument("habits", nargs="*", metavar="HABIT=VALUE")
    parser.add_argument("--port", type=int, default=0, help="TCP port (default: a free one)")
    args = parser.parse_args()
    with HabitServer(parse_habits(args.habits), port=args.port) as server:
        print(server.url, flush=True)
        run_until_interrupted()


if __name__ == "__main__":
    main()
