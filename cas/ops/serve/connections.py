"""One connection of a client, bounded in number, time and bytes, on top of uvicorn's.

uvicorn bounds neither how many connections are open, nor how long a client may take to send a request, nor (with
httptools) how long a request's head may be. Here each has a limit, so that a client who opens thousands of connections,
or sends one header for ever, takes nothing from the others. What a request means is for llhttp to say, which refuses
whatever two servers could read in two ways (two lengths, a length beside chunks, white space before a colon).
"""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

REQUEST_SECONDS = 20.0
"""How long a client may take from opening a connection, or from a request's first byte, to the request's end."""

REQUEST_BYTES = 1024 * 1024
"""Bytes of the largest request, head and body: the longest list of paths that a client asks about in one."""

SEND_SECONDS = 60.0
"""How long a client may leave what was sent unread, half a megabyte at most, before its connection is cut."""

MAX_CONNECTIONS = 4096
"""Connections at once; fewer where the process may open fewer files.

One more takes the place of the connection that has been silent for the longest; it is answered 503 if none is.
"""

# Files that the process needs beside its connections: cached chunks, connections to the bucket, its own.
_OTHER_FILES = 256

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(HttpToolsProtocol):
    """A connection with limits.

    Attributes:
        limit: how many connections there may be, this one included.
        request_seconds: as REQUEST_SECONDS.
        send_seconds: as SEND_SECONDS.
        silent: connections of this server that have sent no request, or none since their last answer, oldest first.
    """

    limit: ClassVar[int] = MAX_CONNECTIONS
    request_seconds: ClassVar[float] = REQUEST_SECONDS
    send_seconds: ClassVar[float] = SEND_SECONDS
    silent: ClassVar[dict[Connection, None]] = {}

    @staticmethod
    def count_cut(reason: str) -> None:
        """Count a connection that is cut or refused; a server puts its own counter here."""

    _received = 0
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Accept the connection, unless there are too many."""
        super().connection_made(transport)
        # asyncio does so only for sockets whose protocol number is set. Head and body of an answer are two writes, and
        # the second would wait 40 ms for the client to acknowledge the first.
        if (opened := transport.get_extra_info("socket")) is not None:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self.limit:
            self.count_cut("too many connections")
            if not self.silent:
                transport.write(_BUSY)
                transport.close()
                return
            oldest = next(iter(self.silent))
            del self.silent[oldest]
            oldest.transport.abort()
        self.silent[self] = None
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.silent.pop(self, None)
        self._end_deadline()
        self._end_unread()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what a client sends, up to the size of the largest request."""
        if self.transport.is_closing():
            return  # it was refused, and what it sends meanwhile is nobody's request
        self._received += len(data)
        if self._received > REQUEST_BYTES + len(data):
            self._refuse(413, b"Content Too Large")
            return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin to count a request's bytes and time."""
        super().on_message_begin()
        self._received = 0
        self._start_deadline()

    def on_message_complete(self) -> None:
        """The request is here: from now on the answer's own time limits count."""
        self.silent.pop(self, None)
        self._end_deadline()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is sent: if no further request is here, the connection is silent."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.silent[self] = None

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to."""
        super().pause_writing()
        self._end_unread()
        self._unread = self.loop.call_later(self.send_seconds, self._cut_off)

    def resume_writing(self) -> None:
        """The client has read nearly all of it."""
        self._end_unread()
        super().resume_writing()

    def _cut_off(self) -> None:
        self.count_cut("slow client")
        self.transport.abort()

    def _end_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _start_deadline(self) -> None:
        self._end_deadline()
        self._deadline = self.loop.call_later(self.request_seconds, self._refuse, 408, b"Request Timeout")

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, reason: bytes) -> None:
        """Answer a request that is not complete, and close; a connection in mid-answer is cut."""
        self.count_cut(reason.decode().lower())
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever uvicorn's types say
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.abort()
        elif not self.transport.is_closing():
            head = b"HTTP/1.1 %d %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head % (status, reason))
            self.transport.close()


def allowed_connections(wanted: int = MAX_CONNECTIONS) -> int:
    """How many connections the operating system lets this process have; raises its limit of open files for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            soft = allowed
        except (ValueError, OSError):  # macOS has a limit of its own below the hard one
            pass
    return wanted if soft == resource.RLIM_INFINITY else max(16, min(wanted, soft - _OTHER_FILES))
