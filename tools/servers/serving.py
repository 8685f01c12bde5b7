"""A threaded TCP server that stops completely: it leaves no thread and no open socket behind."""

import contextlib
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from typing import Any


class ClosableServer(socketserver.ThreadingTCPServer):
    """Serve every connection in a thread of its own, and end all of them in `stop`.

    Args:
        address: (host, port) to listen on; port 0 takes a free one.
        handler: the request handler class, as for `socketserver.TCPServer`.

    Raises:
        OSError: the address cannot be bound.
    """

    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(address, handler)
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name=type(self).__name__)

    @property
    def host(self) -> str:
        """The address that the server listens on."""
        return str(self.server_address[0])

    @property
    def port(self) -> int:
        """The TCP port that the server listens on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Accept connections in a background thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, cut every open connection and wait for all threads."""
        self.stopping.set()
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        with self._lock:
            for connection in self._open:
                _cut(connection)
        self.server_close()

    @contextlib.contextmanager
    def cutting(self, connection: socket.socket) -> Iterator[None]:
        """Let `stop` cut this connection, too, while the context lasts.

        Raises:
            ConnectionAbortedError: the server is stopping.
        """
        with self._lock:
            if self.stopping.is_set():
                raise ConnectionAbortedError("the server is stopping")
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that `stop` can cut it."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget and close the connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print a traceback, except for errors that a peer causes when it hangs up."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
