"""What the tests of faults share: the files of a store, operations to try, and a server that never answers."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cas.bucket import Bucket, Kind
from cas.formats.manifest import ChunkRef
from cas.refs.reference import resolve
from cas.store.store import Store
from tests.support.buckets import HURRIED
from tests.support.models import read_tree
from tools.servers.fault_proxy import Kind as Faulty

FILES = {"model.bin": os.urandom(1 << 20), "config.json": b"{}"}
ONCE_DAMAGED = [Faulty.TRUNCATE, Faulty.SHORT_LENGTH, Faulty.BIT_FLIP, Faulty.ERROR_PAGE]
SILENT = replace(HURRIED, answer=0.3, silence=0.3, rate=10**9, attempts=2)

Operation = Callable[[Bucket], object]
OPERATIONS: dict[str, Operation] = {
    "get": lambda bucket: bucket.get("key", limit=1 << 21),
    "head": lambda bucket: bucket.head("key"),
    "put": lambda bucket: bucket.put("new", b"data", Kind.DOCUMENT),
    "list": lambda bucket: bucket.list("folder"),
    "delete": lambda bucket: bucket.delete("key"),
}


def a_chunk(store: Store) -> ChunkRef:
    """Return the first chunk of model.bin in the published version of `m`."""
    files = {file.path: file for file in resolve(store, "m").manifest.repos[0].files}
    return files["model.bin"].chunks[0]


def visible(hub: Path) -> list[str]:
    """Files of a hub cache that a client would take for real, but for blobs that are what their names say."""
    files = {path: data for path, data in read_tree(hub).items() if "/.cas/" not in path}
    return [path for path, data in files.items() if not path.startswith(".locks/") and not _is_sound_blob(path, data)]


def _is_sound_blob(path: str, data: bytes) -> bool:
    folder, _, name = path.rpartition("/")
    return folder.endswith("/blobs") and hashlib.sha256(data).hexdigest() == name


class Mute:
    """A server that accepts connections and reads what comes, but never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._closed = threading.Semaphore(0)
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_until_closed(self, connections: int) -> None:
        """Wait until clients have closed so many connections; fail after 10 seconds for any of them."""
        assert all(self._closed.acquire(timeout=10) for _ in range(connections)), "a cut request keeps its connection"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(1 << 16):
                    pass
            except ConnectionError:
                pass
        self._closed.release()


class Reset(Mute):
    """A server that begins to answer and resets the connection `seconds` later.

    Attributes:
        accepted: how many connections it had.
    """

    def __init__(self, seconds: float) -> None:
        self.accepted, self._seconds = 0, seconds
        super().__init__()

    def _read(self, connection: socket.socket) -> None:
        self.accepted += 1
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            time.sleep(self._seconds)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._closed.release()
