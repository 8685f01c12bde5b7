"""An HTTP proxy in front of one server that makes chosen requests fail in chosen ways.

Run `python -m tools.servers.fault_proxy HOST:PORT --fault bit-flip` and point a client to the URL that it prints.
"""

import argparse
import http.client
import io
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, Self, cast

from tools.servers.faults import Fault, FaultPlan, Kind
from tools.servers.process import run_until_interrupted
from tools.servers.serving import ClosableServer
from tools.servers.sigv4 import signed_headers

__all__ = ["Exchange", "Fault", "FaultProxy", "Kind"]

_PIECE = 1 << 18
_UPSTREAM_TIMEOUT = 120
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "expect", "transfer-encoding", "content-length"})
_PAGE = b"<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>\n"


@dataclass
class Exchange:
    """One request and how it ended; the entry is complete before the client has the last byte.

    Attributes:
        method: HTTP method.
        path: path with query, as the client sent it.
        status: status that was sent back, 0 as long as there is none.
        bytes: length of the body that was sent back.
        fault: the kind of fault that hit the request, None for a request that was forwarded as it is.
        received: length of the body that the client sent.
    """

    method: str
    path: str
    status: int = 0
    bytes: int = 0
    fault: Kind | None = None
    received: int = 0


class FaultProxy:
    """Forward HTTP requests to one server while the context lasts, except for faults that are injected.

    Args:
        host: host of the server.
        port: TCP port of the server.
        listen: TCP port of the proxy on 127.0.0.1, 0 for a free one.
        credentials: S3 access and secret key, to sign IGNORE_RANGE requests anew (clients sign Range, too).

    Attributes:
        requests: every exchange so far, oldest first.

    Raises:
        OSError: the port cannot be bound.
    """

    def __init__(self, host: str, port: int, *, listen: int = 0, credentials: tuple[str, str] | None = None) -> None:
        self.upstream = (host, port)
        self.credentials = credentials
        self.requests: list[Exchange] = []
        self.plan = FaultPlan()
        self._server = _ProxyServer(("127.0.0.1", listen), self)

    @property
    def url(self) -> str:
        """The URL that clients use in place of the server's."""
        return f"http://127.0.0.1:{self._server.port}"

    def inject(self, fault: Fault) -> None:
        """Let requests fail from now on; of several faults that match a request, the oldest with times left hits."""
        self.plan.add(fault)

    def clear(self) -> None:
        """Remove all faults: forward every request from now on."""
        self.plan.clear()

    def count(self, method: str | None = None, path_contains: str = "") -> int:
        """Return how many requests have this method, and this text in path or query, so far."""
        return sum(method in (None, seen.method) and path_contains in seen.path for seen in list(self.requests))

    def __enter__(self) -> Self:
        """Start to forward requests."""
        self._server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Cut all connections and stop."""
        self._server.stop()


class _ProxyServer(ClosableServer):
    def __init__(self, address: tuple[str, int], proxy: FaultProxy) -> None:
        super().__init__(address, _Handler)
        self.proxy = proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are separate writes: Nagle would add 40 ms to each

    def do_GET(self) -> None:
        server = cast(_ProxyServer, self.server)
        target = self.requestline.split()[1]  # self.path has lost leading slashes, and signatures with them
        self.exchange = Exchange(self.command, target)
        fault = server.proxy.plan.take(self.command, target)
        self.exchange.fault = fault.kind if fault else None
        server.proxy.requests.append(self.exchange)
        kind = self.exchange.fault
        if kind in (Kind.STATUS, Kind.ERROR_PAGE, Kind.DROP_BEFORE):
            for _ in self._request_body():
                pass
        if fault and kind is Kind.STATUS:
            document = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{fault.code}</Code></Error>'.encode()
            retry = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            self._answer(fault.status, {"Content-Type": "application/xml", **retry}, fault.body or document)
        elif fault and kind is Kind.ERROR_PAGE:
            self._answer(200, {"Content-Type": "text/html"}, fault.body or _PAGE)
        elif kind is Kind.DROP_BEFORE:
            self.close_connection = True
        else:
            self._forward(server, target, fault)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815 - as http.server has it

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: `FaultProxy.requests` is the log."""

    @property
    def _stopping(self) -> threading.Event:
        return cast(_ProxyServer, self.server).stopping

    def _forward(self, server: _ProxyServer, target: str, fault: Fault | None) -> None:
        upstream = http.client.HTTPConnection(*server.proxy.upstream, timeout=_UPSTREAM_TIMEOUT)
        keep, self.close_connection = not self.close_connection, True
        try:
            upstream.connect()
            with server.cutting(upstream.sock):
                self._send_request(upstream, server.proxy.credentials, target, fault)
                with upstream.getresponse() as response:
                    self.close_connection = not (self._relay(response, fault) and keep)
        except (OSError, http.client.HTTPException):
            pass  # on either side: the client then sees a closed connection
        finally:
            upstream.close()

    def _send_request(
        self,
        upstream: http.client.HTTPConnection,
        credentials: tuple[str, str] | None,
        target: str,
        fault: Fault | None,
    ) -> None:
        headers = [(name, value) for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP]
        if fault and fault.kind is Kind.IGNORE_RANGE:
            headers = [(name, value) for name, value in headers if name.lower() != "range"]
            if credentials:
                headers = list(signed_headers(self.command, self.headers["Host"], target, *credentials).items())
        length = self.headers.get("Content-Length")
        chunked = length is None and "Transfer-Encoding" in self.headers
        if length is not None:
            headers.append(("Content-Length", length))
        if chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        upstream.putrequest(self.command, target, skip_host=True, skip_accept_encoding=True)
        for name, value in [*headers, ("Connection", "close")]:
            upstream.putheader(name, value)
        upstream.endheaders()
        listening = True
        for piece in self._request_body():
            listening = listening and _sent(upstream, piece, chunked)
        if chunked and listening:
            _sent(upstream, b"", chunked)

    def _request_body(self) -> Iterator[memoryview]:
        """Yield the client's body in pieces; a piece is valid until the next one is taken."""
        if "Content-Length" in self.headers:
            yield from self._read(int(self.headers["Content-Length"]))
        elif "Transfer-Encoding" in self.headers:
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                yield from self._read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass

    def _read(self, length: int) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(length, _PIECE)))
        while length:
            got = self.rfile.readinto(buffer[: min(length, _PIECE)])
            if not got:
                raise ConnectionResetError("the client stopped in the middle of a body")
            self.exchange.received += got
            yield buffer[:got]
            length -= got

    def _relay(self, response: http.client.HTTPResponse, fault: Fault | None) -> bool:
        """Send the server's answer to the client, and return whether the client got all the bytes it was promised."""
        kind = fault.kind if fault else None
        if kind is Kind.DROP_RESPONSE:
            return False
        # Bodies without a length (chunked, or ended by the connection) are error pages and small listings.
        whole = response.read() if response.length is None else None
        length = len(whole) if whole is not None else response.length or 0
        end = length // 2 if kind in (Kind.TRUNCATE, Kind.SHORT_LENGTH, Kind.STALL) else length
        promised = end if kind is Kind.SHORT_LENGTH else length
        headers = [(name, value) for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP]
        if self.command == "HEAD":
            headers += [("Content-Length", value) for value in response.headers.get_all("Content-Length", [])]
        elif response.status not in (204, 304):
            headers.append(("Content-Length", str(promised)))
        self._head(response.status, headers)
        rate = fault.bytes_per_second if fault and kind is Kind.TRICKLE else None
        buffer = memoryview(bytearray(min(_PIECE, max(rate // 20, 1)) if rate else _PIECE))
        source = response if whole is None else io.BytesIO(whole)
        at = 0
        while at < end and (got := source.readinto(buffer[: end - at])):
            if kind is Kind.BIT_FLIP and at <= length // 2 < at + got:
                buffer[length // 2 - at] ^= 1
            self._body(buffer[:got])
            at += got
            if rate and self._stopping.wait(got / rate):
                return False
        if fault and kind is Kind.STALL:
            self._stopping.wait(fault.seconds)
        return at == promised

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._head(status, [*headers.items(), ("Content-Length", str(len(body)))])
        if self.command != "HEAD":
            self._body(body)

    def _head(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        self.exchange.status = status
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def _body(self, piece: memoryview | bytes) -> None:
        self.exchange.bytes += len(piece)
        self.wfile.write(piece)


def _sent(upstream: http.client.HTTPConnection, piece: memoryview | bytes, chunked: bool) -> bool:
    """Send a piece, and return whether the server still reads: it may answer before it has read the whole body."""
    try:
        for data in (b"%x\r\n" % len(piece), piece, b"\r\n") if chunked else (piece,):
            upstream.send(data)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def main() -> None:
    """Forward requests to a server until interrupted, and inject one fault into all that match."""
    parser = argparse.ArgumentParser("python -m tools.servers.fault_proxy", description="Make HTTP requests fail.")
    parser.add_argument("upstream", metavar="HOST:PORT", help="the server behind the proxy")
    parser.add_argument("--port", type=int, default=0, help="TCP port of the proxy (default: a free one)")
    parser.add_argument("--fault", choices=[kind.value for kind in Kind], help="what goes wrong")
    parser.add_argument("--method", help="hit only requests with this method")
    parser.add_argument("--path-contains", help="hit only requests with this text in path or query")
    args = parser.parse_args()
    host, _, port = args.upstream.rpartition(":")
    with FaultProxy(host, int(port), listen=args.port) as proxy:
        if args.fault:
            kind = Kind(args.fault)
            proxy.inject(Fault(kind, times=None, method=args.method, path_contains=args.path_contains))
        print(proxy.url, flush=True)
        run_until_interrupted()


if __name__ == "__main__":
    main()
