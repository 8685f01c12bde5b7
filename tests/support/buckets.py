"""Buckets that record, stall or fail, and retry limits that a test can wait for."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from cas.bucket import Bucket, Entry, Kind, RetryPolicy
from cas.formats.digest import Buffer
from cas.store.layout import chunk_digest
from cas.store.store import Store
from tests.support.web import QuietFiles
from tools.servers.fault_proxy import FaultProxy
from tools.servers.seaweed import SeaweedFS
from tools.servers.serving import ClosableServer

HURRIED = RetryPolicy(connect=2, answer=3, silence=1, rate=256 * 1024, attempts=9, backoff=0.01, backoff_cap=0.05)
"""The production retry policy in fast motion: the same rules, with limits a test can wait for."""


@contextlib.contextmanager
def proxied(seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy in front of the real server: clients opened from now on go through it."""
    address = urlsplit(seaweed.endpoint)
    assert address.hostname and address.port
    with FaultProxy(address.hostname, address.port, credentials=seaweed.credentials()) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


class _Files(QuietFiles):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802 (http.server gives the name)
        server = self.server
        assert isinstance(server, SlowStore)
        if "/chunks/" in self.path:
            server.chunks += 1
            if server.chunks > server.limit:
                server.released.wait()
        super().do_GET()


class SlowStore(ClosableServer):
    """A server of a store's directory that sends `limit` chunks and then stalls until it is released."""

    def __init__(self, store: Store, limit: int) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(_Files, directory=store.url))  # type: ignore[arg-type]
        self.chunks, self.limit = 0, limit
        self.released = threading.Event()

    @property
    def url(self) -> str:
        """The server's URL, for --store."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stalling(self) -> bool:
        """Whether a client waits for a chunk now."""
        return self.chunks > self.limit


@contextlib.contextmanager
def slow_store(store: Store, limit: int) -> Iterator[SlowStore]:
    """Serve a directory store as SlowStore does, while the `with` block runs."""
    server = SlowStore(store, limit)
    server.start()
    try:
        yield server
    finally:
        server.released.set()
        server.stop()


class RecordingBucket(Bucket):
    """A bucket that records the keys of the objects that were read, and of those that were written.

    Attributes:
        read: a key for each `get`, in order.
        written: a key for each `put`, in order.
    """

    def __init__(self, inner: Bucket) -> None:
        self.url, self._inner = inner.url, inner
        self.read: list[str] = []
        self.written: list[str] = []

    @property
    def chunks(self) -> list[str]:
        """Digests (64 hex) of the chunks that were read, in order."""
        return [digest for key in self.read if (digest := chunk_digest(key))]

    def get(self, key: str, limit: int) -> Buffer:
        self.read.append(key)
        return self._inner.get(key, limit)

    def head(self, key: str) -> Entry:
        return self._inner.head(key)

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        self.written.append(key)
        return self._inner.put(key, data, kind, overwrite=overwrite)

    def list(self, prefix: str) -> list[Entry]:
        return self._inner.list(prefix)

    def delete(self, key: str) -> None:
        self._inner.delete(key)
