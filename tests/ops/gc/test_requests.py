"""How many requests the collector and `cas du` make: as many as the store is large, and no more."""

from __future__ import annotations

import pytest

from cas.bucket import open_bucket
from cas.ops.gc import collector
from cas.ops.inspect.usage import usage
from cas.store.store import Store
from tests.support.buckets import HURRIED
from tests.support.by_hand import put, repo, version
from tools.servers.fault_proxy import FaultProxy


@pytest.fixture
def small(proxy: FaultProxy, s3_url: str) -> Store:
    """A store of sixty chunks on a real S3 server, behind a proxy that counts."""
    store = Store(open_bucket(s3_url, HURRIED))
    version(store, [repo("org/m", {str(number): put(store, b"%d" % number) for number in range(59)})])
    put(store, b"unneeded")
    proxy.requests.clear()
    return store


def listings(proxy: FaultProxy) -> int:
    """How many pages of listings of objects and of their stored versions were asked for."""
    return sum(proxy.count("GET", text) for text in ("list-type=2", "versions"))


def test_a_small_store_is_looked_through_by_few_listings(proxy: FaultProxy, small: Store) -> None:
    assert usage(small).chunks == 59
    assert listings(proxy) <= 12
    proxy.requests.clear()
    found = collector.gc(small, dry_run=True)
    assert (found.kept_chunks, found.condemned_chunks) == (59, 1)
    assert listings(proxy) <= 12
