"""A proxy that makes requests fail, between this process and the real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.bucket import Bucket
from cas.bucket import Kind
from cas.bucket import open_bucket
from cas.store.store import Store
from cas.store.store import open_store
from tests.conftest import HURRIED, proxied, publish_tree, write_tree
from tests.network.scene import FILES, Mute
from tools.servers.fault_proxy import FaultProxy
from tools.servers.seaweed import SeaweedFS


@pytest.fixture
def proxy(seaweed: SeaweedFS, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Stands in front of the bucket of `s3_url`: clients opened from now on go through it."""
    with proxied(seaweed, monkeypatch) as proxy:
        yield proxy


@pytest.fixture
def bucket(proxy: FaultProxy, s3_url: str) -> Bucket:
    """Holds one object, `key`."""
    bucket = open_bucket(s3_url, HURRIED)
    bucket.put("key", FILES["model.bin"], Kind.CHUNK)
    proxy.requests.clear()
    return bucket


@pytest.fixture
def published(proxy: FaultProxy, s3_url: str, tmp_path: Path) -> Store:
    """Holds FILES as `m:latest`."""
    store = open_store(s3_url, patience=HURRIED)
    publish_tree(store, write_tree(tmp_path / "source", FILES))
    proxy.requests.clear()
    return store


@pytest.fixture
def mute() -> Iterator[Mute]:
    server = Mute()
    yield server
    server.close()
