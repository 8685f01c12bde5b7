"""Reads objects straight into the caller's memory: the fast path of a restore, for ordinary answers only.

obstore hands a body over in fresh memory, copied twice on its way. The standard library reads from the socket
into a buffer that is used again and again, for half the CPU (docs/decisions/0011-bodies-into-buffers.md).
Any other answer (an error status, a cut connection, a slow body) is left to obstore, which has the deadlines, the
retries and the error messages.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
import urllib.request
import weakref
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from cas.bucket.redirects import REDIRECTED
from cas.bucket.retry import RetryPolicy
from cas.errors import Redirected

# Seconds. Servers close idle connections, and a request sent into a connection that is closing is lost.
_LONGEST_IDLE = 15.0

# When a connection is silent for _UNUSUAL times as long as a whole body usually takes, and for _SHORTEST_SILENCE
# seconds at least, the reader closes it, and obstore reads the object. A connection that is slow but not silent is
# kept: where many connections share a link, some get little of it for a while.
_UNUSUAL = 8.0
_SHORTEST_SILENCE = 3.0

# Seconds in which everything is left to obstore after something out of the ordinary, doubled each time in a row.
_REST = 0.5
_LONGEST_REST = 60.0

_Connection = http.client.HTTPConnection


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
        self._ca_bundle = ca_bundle
        self._may_redirect = may_redirect
        self._read_url = read_url
        self._policy = policy
        self._idle: list[tuple[_Connection, float]] = []
        self._guard = threading.Lock()
        self._watch = _Watch()
        self._context: ssl.SSLContext | None = None
        self._proxied: bool | None = None
        self._rest, self._rests_until = _REST, 0.0  # seconds; by the monotonic clock
        self._usual = 0.0  # seconds that a body usually takes; 0 until the first has come
        weakref.finalize(self, _close, self._idle)

    def read(self, key: str, into: memoryview) -> int | None:
        """Write an object to `into` and return its size in bytes; None when the caller must read it through obstore.

        Raises:
            Redirected: the server redirects, and may not.
        """
        if time.monotonic() < self._rests_until:
            return None
        try:
            url = urlsplit(self._read_url(key))
            if self._proxied is None:
                self._proxied = is_proxied(url)
            size = None if self._proxied else self._read(url, into)
        except _Redirected as redirected:
            if redirected.region:
                from cas.bucket.errors.refusals import other_region

                raise other_region(f"get {key}", redirected.region) from None
            raise Redirected(f"get {key}: {REDIRECTED}") from None
        except Exception:
            # Signing needs credentials, connecting needs a network, reading needs a peer that keeps its word. What
            # failed here will fail for obstore, too, which tells the cases apart and reports them.
            size = None
        with self._guard:
            if size is None:
                self._rests_until = time.monotonic() + self._rest
                self._rest = min(self._rest * 2, _LONGEST_REST)
            else:
                self._rest = _REST
        return size

    def _read(self, url: SplitResult, into: memoryview) -> int | None:
        for fresh in (False, True):
            connection = self._acquire(url, fresh=fresh)
            begun = time.monotonic()
            try:
                connection.sock.settimeout(self._silence())
                with self._watch.until(connection, begun + self._policy.body(len(into), 1)):
                    path = f"{url.path}?{url.query}" if url.query else url.path
                    connection.request("GET", path, headers=self.headers)
                    answer = connection.getresponse()
                    if not self._may_redirect and 300 <= answer.status < 400 and answer.getheader("Location"):
                        raise _Redirected(answer.getheader("x-amz-bucket-region", ""))
                    size = _body(answer, into)
            except ConnectionError:
                connection.close()
                if fresh:
                    raise
                continue  # most likely the server had closed it while it was idle
            except BaseException:
                connection.close()
                raise
            if size is None:
                connection.close()
                return None
            self._release(connection, time.monotonic() - begun)
            return size
        return None

    def named_region(self, key: str) -> str:
        """Return the region that the server names as the bucket's when a key is read; empty for none."""
        with contextlib.suppress(Exception):  # the caller has an error to report already
            url = urlsplit(self._read_url(key or "format.json"))
            if not self._may_redirect and not is_proxied(url):
                connection = self._acquire(url, fresh=True)
                try:
                    connection.request("GET", f"{url.path}?{url.query}")
                    return connection.getresponse().getheader("x-amz-bucket-region", "")
                finally:
                    connection.close()
        return ""

    def _silence(self) -> float:
        longest = self._policy.silence
        return min(longest, max(_SHORTEST_SILENCE, _UNUSUAL * self._usual)) if self._usual else longest

    def _acquire(self, url: SplitResult, *, fresh: bool) -> _Connection:
        with self._guard:
            while self._idle:
                connection, since = self._idle.pop()
                if not fresh and time.monotonic() - since < _LONGEST_IDLE:
                    return connection
                connection.close()
        host, wait = url.hostname or "", self._policy.connect
        if url.scheme == "https":
            connection = http.client.HTTPSConnection(host, url.port, timeout=wait, context=self._tls())
        else:
            connection = _Connection(host, url.port, timeout=wait)
        connection.connect()
        return connection

    def _tls(self) -> ssl.SSLContext:
        with self._guard:
            if self._context is None:
                self._context = ssl.create_default_context()
                if bundle := self._ca_bundle:
                    self._context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
            return self._context

    def _release(self, connection: _Connection, seconds: float) -> None:
        with self._guard:
            self._usual = seconds if not self._usual else self._usual + (seconds - self._usual) / 8
            if connection.sock is not None:
                self._idle.append((connection, time.monotonic()))


class _Redirected(Exception):
    """The server named another address, and may not. region: that it named, too; empty for none."""

    def __init__(self, region: str) -> None:
        super().__init__()
        self.region = region


class _Watch:
    """Cuts connections at their deadlines, in a thread of its own: a trickle never runs into a socket's timeout."""

    def __init__(self) -> None:
        self._deadlines: dict[_Connection, float] = {}
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def until(self, connection: _Connection, deadline: float) -> Iterator[None]:
        """Cut the connection at `deadline` (seconds of the monotonic clock) unless the `with` block has ended."""
        with self._guard:
            self._deadlines[connection] = deadline
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="cas-watch", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._guard:
                del self._deadlines[connection]

    def _run(self) -> None:
        while True:
            time.sleep(0.5)
            with self._guard:
                if not self._deadlines:
                    self._thread = None
                    return
                for connection, deadline in self._deadlines.items():
                    if time.monotonic() > deadline and connection.sock is not None:
                        with contextlib.suppress(OSError):
                            # Not the TLS socket's own shutdown, which unwraps the socket: the thread that reads from
                            # it must find an end.
                            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def is_proxied(url: SplitResult) -> bool:
    """Whether the user's variables send such requests through a proxy; only obstore talks to proxies."""
    proxies = {url.scheme, "all"} & urllib.request.getproxies().keys()
    return bool(proxies) and not urllib.request.proxy_bypass(url.netloc)


def _body(answer: http.client.HTTPResponse, into: memoryview) -> int | None:
    """Read an ordinary answer's body to its end and return its size in bytes; None for any other answer."""
    size = answer.length
    if answer.status != http.client.OK or (size is not None and size > len(into)):
        return None
    done = 0
    if size is None:  # in chunks, or until the connection ends: only the digest tells whether that came too early
        while done < len(into) and (got := answer.readinto(into[done:])):
            done += got
        return None if answer.read(1) else done
    while done < size:
        got = answer.readinto(into[done:size])
        if not got:
            return None
        done += got
    answer.read()  # reads nothing more, and releases the connection
    return size


def _close(connections: list[tuple[_Connection, float]]) -> None:
    for connection, _ in connections:
        connection.close()
