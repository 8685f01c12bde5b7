"""Reads objects straight into the caller's memory: the fast path of a restore, for ordinary answers only.

obstore hands a body over in fresh memory, copied twice on its way. The standard library reads from the socket
into a buffer that is used again and again, for half the CPU (docs/decisions/0011-bodies-into-buffers.md).
Any other answer (an error status, a cut connection, a slow body) is left to obstore, which has the deadlines, the
retries and the error messages.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import SplitResult, urlsplit

from cas.bucket.body import Body
from cas.bucket.http.connections import Connection, Connections, Watch, cut
from cas.bucket.redirects import REDIRECTED
from cas.bucket.retry import RetryPolicy
from cas.errors import Redirected

# When a connection is silent for _UNUSUAL times as long as a whole body usually takes, and for _SHORTEST_SILENCE
# seconds at least, the reader closes it, and obstore reads the object. A connection that is slow but not silent is
# kept: where many connections share a link, some get little of it for a while.
_UNUSUAL = 8.0
_SHORTEST_SILENCE = 3.0

# Seconds in which everything is left to obstore after something out of the ordinary, doubled each time in a row.
_REST = 0.5
_LONGEST_REST = 60.0

_PIECE = 1 << 18  # bytes that a second request reads before it writes them
_TOO_MUCH = (429, 503)  # how servers say that they are asked too much (AWS, Backblaze B2: 503; Google, Azure: both)
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class DirectReader:
    """Reads objects by their URLs. Several threads may use it at once.

    Attributes:
        headers: sent with each request; set them before the first.
    """

    def __init__(
        self, read_url: Callable[[str], str], policy: RetryPolicy, *, may_redirect: bool = True, ca_bundle: str = ""
    ) -> None:
        """Make no request yet.

        Args:
            read_url: makes the URL under which a key can be read now, signed where that is needed.
            policy: time limits of one request.
            may_redirect: True leaves redirects to obstore, whose client decides which to follow; False refuses them.
            ca_bundle: the file or folder of a private certificate authority; empty for none.
        """
        self.headers: Mapping[str, str] = {}
        self._may_redirect = may_redirect
        self._read_url = read_url
        self._policy = policy
        self._connections = Connections(policy.connect, ca_bundle)
        self._guard = threading.Lock()
        self._watch = Watch()
        self._proxied: bool | None = None
        self._rest, self._rests_until = _REST, 0.0  # seconds; by the monotonic clock
        self._usual = 0.0  # seconds that a body usually takes; 0 until the first has come

    def read(self, key: str, into: memoryview, body: Body | None = None) -> int | None:
        """Write an object to `into` and return its size in bytes; None when the caller must read it through obstore.

        Args:
            key: of the object.
            into: where its bytes go.
            body: is told of each byte, and offers to read the rest on another connection while this method reads.

        Raises:
            Redirected: the server redirects, and may not.
        """
        if time.monotonic() < self._rests_until:
            return None
        body = body or Body()
        try:
            url = urlsplit(self._read_url(key))
            if self._proxied is None:
                self._proxied = is_proxied(url)
            if self._proxied:
                size = None
            else:
                body.offer(into, partial(self._read_rest, key, body))
                size = self._attempt(url, body, lambda connection: self._bring(connection, url, into, body))
        except _Redirected as redirected:
            if redirected.region:
                from cas.bucket.errors.refusals import other_region

                raise other_region(f"get {key}", redirected.region) from None
            raise Redirected(f"get {key}: {REDIRECTED}") from None
        except Exception:
            # Signing needs credentials, connecting needs a network, reading needs a peer that keeps its word. What
            # failed here will fail for obstore, too, which tells the cases apart and reports them.
            size = None
        body.withdraw()
        if size is None and body.is_whole:
            return body.size  # another request brought it, and cut this one
        with self._guard:
            if size is None:
                self._rests_until = time.monotonic() + self._rest
                self._rest = min(self._rest * 2, _LONGEST_REST)
            else:
                self._rest = _REST
        return size

    def _read_rest(self, key: str, body: Body) -> None:
        """Read what a body lacks on another connection, and cut the first one if that is faster."""
        # Also while this reader rests: the first request goes on meanwhile, and the restore waits for it.
        with contextlib.suppress(Exception):  # whatever is wrong shows in the first request
            url = urlsplit(self._read_url(key))
            self._attempt(url, body, lambda connection: self._bring_rest(connection, url, body), is_later=True)

    def _attempt(
        self, url: SplitResult, body: Body, bring: Callable[[Connection], int | None], *, is_later: bool = False
    ) -> int | None:
        """Return what `bring` returns, given a connection, if that ends the body; None otherwise.

        Raises:
            ConnectionError: the body came by another request, or not at all.
        """
        for fresh in (False, True):
            connection, size, is_intact = self._connections.acquire(url, fresh=fresh), None, False
            begun, sock = time.monotonic(), connection.sock
            deadline = begun + self._policy.body(body.room, 1)
            try:
                if not body.begin(connection, partial(cut, sock), is_later=is_later):
                    return None
                sock.settimeout(self._silence())
                with self._watch.until(sock, deadline):
                    size = bring(connection)
                if size is not None and not body.end(connection):
                    size = None
                is_intact = body.leave(connection) and size is not None
                return size
            except ConnectionError:
                if fresh or body.has_ended or time.monotonic() > deadline:
                    raise  # past its deadline, it was cut: a cut socket may be found at its end, or reset by its peer
                # most likely the server had closed it while it was idle
            finally:
                body.leave(connection)
                if is_intact and size is not None:
                    self._release(connection, size, time.monotonic() - begun)
                else:
                    connection.close()
        return None

    def _bring(self, connection: Connection, url: SplitResult, into: memoryview, body: Body) -> int | None:
        """Write an ordinary answer's body to `into` and return its size in bytes; None for any other answer."""
        answer = _request(connection, url, self.headers)
        if not self._may_redirect and 300 <= answer.status < 400 and answer.getheader("Location"):
            raise _Redirected(answer.getheader("x-amz-bucket-region", ""))
        body.refused = body.refused or answer.status in _TOO_MUCH
        size = answer.length
        if answer.status != http.client.OK or (size is not None and not body.is_of(size)):
            return None
        done = 0
        if size is None:  # in chunks, or until the connection ends: only the digest tells whether that came too early
            body.withdraw()
            while done < len(into) and (got := answer.readinto(into[done:])):
                done += got
            return None if answer.read(1) else done
        while done < size:
            got = _receive(answer, into[done:size])
            if not got:
                return None
            done += got
            body.arrived(done, got)
        answer.read()  # reads nothing more, and releases the connection
        return size

    def _bring_rest(self, connection: Connection, url: SplitResult, body: Body) -> int | None:
        """Write what a body lacks, and return how many bytes that was; None for an answer that is of no use."""
        done = body.done if body.size is not None else 0
        body.asked += 1
        answer = _request(connection, url, {**self.headers, "Range": f"bytes={done}-"} if done else self.headers)
        body.refused = body.refused or answer.status in _TOO_MUCH
        begun, size = _span(answer)
        if begun > done or not body.is_of(size):
            return None
        piece, at = memoryview(bytearray(min(_PIECE, size - begun))), begun
        while at < size:
            got = _receive(answer, piece[: size - at])
            if not got or not body.fill(connection, at, piece[:got]):
                return None
            at += got
        answer.read()
        return size - begun

    def named_region(self, key: str) -> str:
        """Return the region that the server names as the bucket's when a key is read; empty for none."""
        with contextlib.suppress(Exception):  # the caller has an error to report already
            url = urlsplit(self._read_url(key or "format.json"))
            if not self._may_redirect and not is_proxied(url):
                connection = self._connections.acquire(url, fresh=True)
                try:
                    return _request(connection, url, {}).getheader("x-amz-bucket-region", "")
                finally:
                    connection.close()
        return ""

    def _silence(self) -> float:
        longest = self._policy.silence
        return min(longest, max(_SHORTEST_SILENCE, _UNUSUAL * self._usual)) if self._usual else longest

    def _release(self, connection: Connection, size: int, seconds: float) -> None:
        with self._guard:
            self._usual = seconds if not self._usual else self._usual + (seconds - self._usual) / 8
        self._connections.release(connection, size, seconds)


class _Redirected(Exception):
    """The server named another address, and may not. region: that it named, too; empty for none."""

    def __init__(self, region: str) -> None:
        super().__init__()
        self.region = region


def is_proxied(url: SplitResult) -> bool:
    """Whether the user's variables send such requests through a proxy; only obstore talks to proxies."""
    proxies = {url.scheme, "all"} & urllib.request.getproxies().keys()
    return bool(proxies) and not urllib.request.proxy_bypass(url.netloc)


def _request(connection: Connection, url: SplitResult, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    connection.request("GET", f"{url.path}?{url.query}" if url.query else url.path, headers=headers)
    return connection.getresponse()


def _receive(answer: http.client.HTTPResponse, into: memoryview) -> int:
    """Read as much of a body of known length as has come, one byte at least, and return how much; 0 at its end.

    `HTTPResponse.readinto` returns when all has come, so that nobody could see how far a body is.
    """
    got = answer.fp.readinto1(into)
    answer.length = (answer.length or 0) - got
    return got


def _span(answer: http.client.HTTPResponse) -> tuple[int, int]:
    """Return the first byte that an answer brings, and the bytes of the object; (0, -1) for an answer of no use."""
    if answer.status == http.client.OK and answer.length is not None:
        return 0, answer.length  # the server does not know Range
    if answer.status == http.client.PARTIAL_CONTENT and (
        match := _RANGE.fullmatch(answer.getheader("Content-Range", ""))
    ):
        begun, last, size = map(int, match.groups())
        if last + 1 == size and answer.length == size - begun:
            return begun, size
    return 0, -1
