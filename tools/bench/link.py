"""Links between a server and its clients: network namespaces, a pair of virtual cards, and the kernel's shaper.

A namespace here has no name: it lasts as long as a process or an open file refers to it, so none is left behind,
however this process ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET, sched.h
_HERE = "/proc/thread-self/ns/net"
_SERVER, _CLIENT = "10.213.71.1", "10.213.71.2"
_CARD = "bench"


@dataclass(frozen=True)
class Link:
    """How clients reach the server. rate: bits per second, None for the loopback device as it is."""

    name: str
    title: str
    rate: int | None = None
    tls: bool = False


LINKS = {
    link.name: link
    for link in (
        Link("1gbit", "1 Gbit/s", 1_000_000_000),
        Link("2.5gbit", "2.5 Gbit/s", 2_500_000_000),
        Link("none", "loopback, http"),
        Link("tls", "loopback, TLS", tls=True),
    )
}


class NotPermitted(RuntimeError):
    """This process may not make networks or shape them."""


class Traffic(NamedTuple):
    """Bytes that a client's card has received and sent; what the kernel segments later is counted as one packet."""

    received: int
    sent: int

    def __sub__(self, before: object) -> Traffic:
        """What came on top of an earlier count."""
        if not isinstance(before, Traffic):
            return NotImplemented
        return Traffic(self.received - before.received, self.sent - before.sent)


class _Namespace:
    """A network of its own, for threads that step inside and for all that they start there."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        before = os.open(_HERE, os.O_RDONLY)
        try:
            self._call("unshare", _NEW_NETWORK)
            try:
                self.fd = os.open(_HERE, os.O_RDONLY)
            finally:
                self._call("setns", before, _NEW_NETWORK)
        finally:
            os.close(before)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        before = os.open(_HERE, os.O_RDONLY)
        try:
            self._call("setns", self.fd, _NEW_NETWORK)
            yield
        finally:
            self._call("setns", before, _NEW_NETWORK)
            os.close(before)

    def sh(self, *commands: str, keep: tuple[int, ...] = ()) -> None:
        with self.inside():
            for command in commands:
                done = subprocess.run(command.split(), capture_output=True, text=True, pass_fds=keep, check=False)
                if done.returncode:
                    raise NotPermitted(f"`{command}` says: {done.stderr.strip()}")

    def close(self) -> None:
        os.close(self.fd)

    def _call(self, name: str, *arguments: int) -> None:
        if getattr(self._libc, name)(*arguments):
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")


class Network:
    """One server and its clients, each side in a namespace of its own, while the context lasts.

    Raises NotPermitted (on entering) where namespaces, `ip` or `tc` are not to be had; nothing is left behind then.
    """

    def __enter__(self) -> Self:
        """Makes both namespaces and the link between them."""
        with contextlib.ExitStack() as stack:
            try:
                self._server, self._client = _Namespace(), _Namespace()
                for side in (self._server, self._client):
                    stack.callback(side.close)
                peer = self._client.fd
                self._server.sh(
                    f"ip link add {_CARD} type veth peer name {_CARD} netns /proc/self/fd/{peer}", keep=(peer,)
                )
                for side, address in ((self._server, _SERVER), (self._client, _CLIENT)):
                    side.sh("ip link set lo up", f"ip addr add {address}/30 dev {_CARD}", f"ip link set {_CARD} up")
                self.shape(1_000_000_000)
            except (OSError, AttributeError) as error:
                raise NotPermitted(f"no network namespaces: {error}") from error
            self._undo = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        """Lets go of both; they end with the last process inside."""
        self._undo.close()

    def server(self) -> contextlib.AbstractContextManager[None]:
        """For this thread and all that it starts, to be where the server is."""
        return self._server.inside()

    def client(self, link: Link) -> contextlib.AbstractContextManager[None]:
        """For this thread and all that it starts, to reach the server over `link` at `host(link)`.

        Without a limit that is beside the server itself, whose loopback device takes what the processors can.
        """
        return self._client.inside() if link.rate else self._server.inside()

    def host(self, link: Link) -> str:
        """The server's address for who is at the other end of `link`."""
        return _SERVER if link.rate else "127.0.0.1"

    def shape(self, rate: int) -> None:
        """Lets both directions pass `rate` bits per second, headers included, from now on."""
        for side in (self._server, self._client):
            side.sh(f"tc qdisc replace dev {_CARD} root tbf rate {rate}bit burst 2mb latency 20ms")

    def traffic(self) -> Traffic:
        """What the client's card has moved so far."""
        with self._client.inside():
            return _count(Path("/proc/thread-self/net/dev").read_text())


class SameHost:
    """Stands in for `Network` where that is not permitted: everything is on this machine's own loopback device."""

    def server(self) -> contextlib.AbstractContextManager[None]:
        """Here."""
        return contextlib.nullcontext()

    def client(self, link: Link) -> contextlib.AbstractContextManager[None]:
        """Here; raises NotPermitted for a link with a limit."""
        if link.rate:
            raise NotPermitted(f"{link.title} needs a network of its own")
        return contextlib.nullcontext()

    def host(self, link: Link) -> str:
        """The server's address."""
        return "127.0.0.1"

    def shape(self, rate: int) -> None:
        """Raises NotPermitted."""
        raise NotPermitted(f"{rate} bit/s needs a network of its own")

    def traffic(self) -> Traffic:
        """Nothing: other programs' traffic passes here, too."""
        return Traffic(0, 0)


def _count(table: str) -> Traffic:
    """Received and sent bytes of our card in /proc/net/dev (proc_pid_net(5))."""
    for line in table.splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == _CARD:
            fields = numbers.split()
            return Traffic(int(fields[0]), int(fields[8]))
    raise LookupError(f"no card {_CARD} in {table}")
