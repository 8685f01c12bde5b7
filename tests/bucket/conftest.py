"""Buckets and stores behind a proxy that makes requests to the real S3 server fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.bucket import Bucket, Kind, open_bucket
from cas.store.store import Store, open_store
from tests.support.buckets import HURRIED
from tests.support.faults import FILES, Mute
from tests.support.models import publish_tree, write_tree
from tools.servers.fault_proxy import FaultProxy


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
def mute() -> Iterator[Mute]:
    server = Mute()
    yield server
    server.close()
