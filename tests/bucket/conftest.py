"""Buckets and stores behind a proxy that makes requests fail, and a server that records requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.bucket import Bucket, Kind, open_bucket
from cas.store.store import Store, open_store
from tests.bucket.recording import Environment, Recorder, point_at, serving
from tests.support.buckets import HURRIED
from tests.support.faults import FILES, Mute
from tests.support.models import publish_tree, write_tree
from tools.servers.fault_proxy import FaultProxy
from tools.servers.habits import HabitServer


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: Environment) -> None:
    """Hide proxies and certificates of the person who runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def recorder(monkeypatch: Environment) -> Iterator[Recorder]:
    """A running Recorder, to which the variables of endpoint and key point."""
    with Recorder() as server, serving(server, server.url, monkeypatch):
        yield server


@pytest.fixture
def bucket(proxy: FaultProxy, s3_url: str) -> Bucket:
    """A bucket with one object, `key`, behind the proxy."""
    bucket = open_bucket(s3_url, HURRIED)
    bucket.put("key", FILES["model.bin"], Kind.CHUNK)
    proxy.requests.clear()
    return bucket


@pytest.fixture
def published(proxy: FaultProxy, s3_url: str, tmp_path: Path) -> Store:
    """A store with FILES published as `m:latest`, behind the proxy."""
    store = open_store(s3_url, policy=HURRIED)
    publish_tree(store, write_tree(tmp_path / "source", FILES))
    proxy.requests.clear()
    return store


@pytest.fixture
def habits(monkeypatch: Environment) -> Iterator[HabitServer]:
    """A running S3 look-alike without odd habits yet, to which the variables of endpoint and key point."""
    with HabitServer() as server:
        point_at(server.url, monkeypatch)
        yield server


@pytest.fixture
def mute() -> Iterator[Mute]:
    server = Mute()
    yield server
    server.close()
