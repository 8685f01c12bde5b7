"""Links between a server and its clients: network namespaces, a pair of virtual cards, and the kernel's shaper.

A namespace here has no name: it exists as long as a process or an open file refers to it, so none outlives this
process, however it ends.
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
    """How clients reach the server.

    Attributes:
        name: the link's name in options and JSON.
        title: its name in tables.
        rate: bits per second in each direction, None for the loopback device without a limit.
        tls: whether clients use https.
    """

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
    """This process may not make networks, or may not limit their rate."""


class Traffic(NamedTuple):
    """Bytes that a client's card has received and sent; a packet that the kernel segments later counts as one.

    Attributes:
        received: bytes received.
        sent: bytes sent.
    """

    received: int
    sent: int

    def __sub__(self, before: object) -> Traffic:
        """Return the bytes that were moved since an earlier count."""
        if not isinstance(before, Traffic):
            return NotImplemented
        return Traffic(self.received - before.received, self.sent - before.sent)


class _Namespace:
    """A network namespace, used by threads while they are inside and by the processes that they start there."""

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

    Raises:
        NotPermitted: (on entering) namespaces, `ip` or `tc` are not available; nothing is left behind then.
    """

    def __enter__(self) -> Self:
        """Make both namespaces and the link between them."""
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
        """Close both namespaces; each ends with the last process inside."""
        self._undo.close()

    def server(self) -> contextlib.AbstractContextManager[None]:
        """A context in which this thread, and the processes it starts, are in the server's namespace."""
        return self._server.inside()

    def client(self, link: Link) -> contextlib.AbstractContextManager[None]:
        """A context in which this thread, and the processes it starts, reach the server over `link` at `host(link)`.

        Without a limit that is the server's own namespace: its loopback device is as fast as the processors.
        """
        return self._client.inside() if link.rate else self._server.inside()

    def host(self, link: Link) -> str:
        """The server's address for clients at the other end of `link`."""
        return _SERVER if link.rate else "127.0.0.1"

    def shape(self, rate: int) -> None:
        """Limit both directions to `rate` bits per second, headers included, from now on."""
        for side in (self._server, self._client):
            side.sh(f"tc qdisc replace dev {_CARD} root tbf rate {rate}bit burst 2mb latency 20ms")

    def traffic(self) -> Traffic:
        """The bytes that the client's card has moved so far."""
        with self._client.inside():
            return _count(Path("/proc/thread-self/net/dev").read_text())


class SameHost:
    """Replaces `Network` where that is not permitted: server and clients use this machine's own loopback device."""

    def server(self) -> contextlib.AbstractContextManager[None]:
        """A context that changes nothing: the server runs in this namespace."""
        return contextlib.nullcontext()

    def client(self, link: Link) -> contextlib.AbstractContextManager[None]:
        """A context that changes nothing: clients run beside the server.

        Raises:
            NotPermitted: the link has a limit.
        """
        if link.rate:
            raise NotPermitted(f"{link.title} needs a network of its own")
        return contextlib.nullcontext()

    def host(self, link: Link) -> str:
        """The server's address, the same for all links."""
        return "127.0.0.1"

    def shape(self, rate: int) -> None:
        """Refuse to limit the rate.

        Raises:
            NotPermitted: always.
        """
        raise NotPermitted(f"{rate} bit/s needs a network of its own")

    def traffic(self) -> Traffic:
        """Zero bytes: other programs use the loopback device, too, so a count would mean nothing."""
        return Traffic(0, 0)


def _count(table: str) -> Traffic:
    """Return received and sent bytes of the card from the text of /proc/net/dev (proc_pid_net(5))."""
    for line in table.splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == _CARD:
            fields = numbers.split()
            return Traffic(int(fields[0]), int(fields[8]))
    raise LookupError(f"no card {_CARD} in {table}")
