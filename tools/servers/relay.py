"""A relay in front of a server that makes chosen connections slow, or all of them distant.

Run `python -m tools.servers.relay HOST:PORT --every 7 --rate 300000` and point a client to the URL that it prints.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

from tools.servers.process import run_until_interrupted
from tools.servers.serving import ClosableServer

_PIECE = 1 << 18


class Hold:
    """Holds the first connections back on which the server has said so much.

    Attributes:
        held: how many connections are held back, or were.
        released: lets them go on when it is set.
    """

    def __init__(self, after: int, times: int = 1) -> None:
        """Hold none back yet. after: bytes that the server says before; times: how many connections."""
        self.held, self.released = 0, threading.Event()
        self._after, self._times, self._guard = after, times, threading.Lock()

    def spares(self, said: int, more: int) -> int:
        """Return how many of `more` bytes go on at once on a connection on which the server has said `said` before."""
        with self._guard:
            if said + more <= self._after or self.held >= self._times or self.released.is_set():
                return more
            self.held += 1
            return max(0, self._after - said)


@dataclass(frozen=True)
class Manner:
    """How a relay treats one connection.

    Attributes:
        rate: bytes per second of what the server says, at most; None for no limit.
        delay: seconds by which what either side says is late. Bytes follow each other as fast as they came: this is
            the latency of a long way, and not its slow start, as both halves of the connection are short.
        hold: holds what the server says back; None for never.
    """

    rate: float | None = None
    delay: float = 0.0
    hold: Hold | None = None


PLAIN = Manner()


class Relay:
    """Relay connections to a server, byte for byte, while the context lasts.

    Args:
        host: of the server.
        port: TCP port of the server.
        manner: says how to treat a connection, given its number; the first is number 1.
        listen: the address to listen on.

    Attributes:
        connections: how many there were so far.

    Raises:
        OSError: no port can be bound.
    """

    def __init__(
        self, host: str, port: int, manner: Callable[[int], Manner] = lambda number: PLAIN, *, listen: str = "127.0.0.1"
    ) -> None:
        self.upstream, self.manner, self.connections = (host, port), manner, 0
        self._server = _Server((listen, 0), self)
        self._guard = threading.Lock()

    @property
    def port(self) -> int:
        """The TCP port that clients connect to."""
        return self._server.port

    @property
    def url(self) -> str:
        """The URL at which clients on this host reach the server through the relay."""
        return f"http://127.0.0.1:{self.port}"

    def next_manner(self) -> Manner:
        """Count a connection, and return how to treat it."""
        with self._guard:
            self.connections += 1
            return self.manner(self.connections)

    def __enter__(self) -> Self:
        """Start to accept and relay connections."""
        self._server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Cut all connections and stop."""
        self._server.stop()


def every(number: int, rate: float) -> Callable[[int], Manner]:
    """Return what makes each connection whose number divides by `number` slow. rate: bytes per second."""
    return lambda connection: PLAIN if connection % number else Manner(rate=rate)


class _Server(ClosableServer):
    def __init__(self, address: tuple[str, int], relay: Relay) -> None:
        super().__init__(address, _Handler)
        self.relay = relay


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server = cast(_Server, self.server)
        manner, down = server.relay.next_manner(), cast(socket.socket, self.request)
        with socket.create_connection(server.relay.upstream) as up, server.cutting(up):
            for side in (down, up):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            say = lambda: _pump(up, down, manner, server.stopping)  # noqa: E731
            answers = threading.Thread(target=say)
            answers.start()
            _pump(down, up, Manner(delay=manner.delay), server.stopping)
            answers.join()


def _pump(source: socket.socket, sink: socket.socket, manner: Manner, stopping: threading.Event) -> None:
    with contextlib.suppress(OSError):
        if manner.delay:
            _late(source, sink, manner.delay, stopping)
        else:
            _at_once(source, sink, manner, stopping)
    for side, what in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with contextlib.suppress(OSError):
            side.shutdown(what)


def _at_once(source: socket.socket, sink: socket.socket, manner: Manner, stopping: threading.Event) -> None:
    piece = _PIECE if manner.rate is None else max(1, int(manner.rate / 50))
    buffer, said = memoryview(bytearray(piece)), 0
    while got := source.recv_into(buffer):
        at = manner.hold.spares(said, got) if manner.hold else got
        sink.sendall(buffer[:at])
        if manner.hold and at < got:
            while not manner.hold.released.wait(0.05):
                if stopping.is_set():
                    return
            sink.sendall(buffer[at:got])
        said += got
        if manner.rate is not None and stopping.wait(got / manner.rate):
            return


def _late(source: socket.socket, sink: socket.socket, delay: float, stopping: threading.Event) -> None:
    """Pass bytes on `delay` seconds after they came; a thread of its own sends them."""
    # Bounded by the bytes that a link of 10 Gbit/s has on its way for a tenth of a second.
    late: queue.Queue[tuple[float, bytes] | None] = queue.Queue(512)

    def send() -> None:
        try:
            while (entry := late.get()) is not None:
                due, piece = entry
                if stopping.wait(max(0.0, due - time.monotonic())):
                    return
                sink.sendall(piece)
        except OSError:
            return  # the client has hung up
        finally:
            with contextlib.suppress(OSError):
                source.shutdown(socket.SHUT_RD)  # so that nobody fills the queue any more
            while not late.empty():
                late.get()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        while piece := source.recv(_PIECE):
            late.put((time.monotonic() + delay, piece))
    finally:
        late.put(None)
        sender.join()


def main() -> None:
    """Relay connections to a server until interrupted."""
    parser = argparse.ArgumentParser("python -m tools.servers.relay", description="Make connections slow or distant.")
    parser.add_argument("upstream", metavar="HOST:PORT", help="the server behind the relay")
    parser.add_argument("--every", type=int, default=7, help="each so many connections is slow (default 7)")
    parser.add_argument("--rate", type=float, help="bytes per second of slow connections (default: none is slow)")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds of delay in each direction")
    options = parser.parse_args()
    host, _, port = options.upstream.rpartition(":")
    slow = every(options.every, options.rate) if options.rate else lambda number: Manner(delay=options.delay)
    with Relay(host, int(port), slow) as relay:
        print(relay.url, flush=True)
        run_until_interrupted()


if __name__ == "__main__":
    main()
