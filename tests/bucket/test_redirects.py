"""A store's redirects lead to no other host, with no request and no token; https leads to https alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cas.bucket import Bucket, Kind, open_bucket
from cas.errors import StoreError
from tests.bucket.recording import Environment, point_at
from tests.bucket.redirecting import Redirecting, redirecting
from tests.support.buckets import HURRIED


@pytest.fixture
def store() -> Iterator[Redirecting]:
    with redirecting() as server:
        yield server


@pytest.fixture
def target() -> Iterator[Redirecting]:
    with redirecting() as server:
        yield server


@pytest.fixture
def s3_bucket(store: Redirecting, monkeypatch: Environment) -> Bucket:
    """A bucket at `store`, which is taken for an S3 server."""
    point_at(store.at("127.0.0.1"), monkeypatch)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-token")
    return open_bucket("s3://bucket", HURRIED)


@pytest.fixture(params=["s3", "http"])
def bucket(request: pytest.FixtureRequest, store: Redirecting, s3_bucket: Bucket) -> Bucket:
    """A bucket at `store`, which is taken for an S3 server, or for a web server."""
    return s3_bucket if request.param == "s3" else open_bucket(store.at("127.0.0.1"), HURRIED)


READS: dict[str, Callable[[Bucket], Any]] = {
    "get": lambda bucket: bucket.get("key", limit=100),
    "get-into": lambda bucket: bucket.get_into("key", memoryview(bytearray(100))),
    "range": lambda bucket: bucket.get_range("key", 0, 2),
    "head": lambda bucket: bucket.head("key"),
    "exists": lambda bucket: bucket.exists("key"),
}


class TestAnotherHost:
    @pytest.mark.parametrize("read", READS)
    def test_no_read_follows(self, bucket: Bucket, store: Redirecting, target: Redirecting, read: str) -> None:
        store.location = target.at("localhost")
        for store.status in (301, 302, 303, 307, 308):
            store.requests.clear()
            with pytest.raises(StoreError, match="redirects elsewhere: check AWS_ENDPOINT_URL"):
                READS[read](bucket)
            assert len(store.requests) <= 2, "a redirect is not tried again"
        assert target.requests == []

    @pytest.mark.parametrize(
        "location", ["https://localhost:{}/", "//localhost:{}/x", "http://127.0.0.2:{}/", "http://[::1]:{}/"]
    )
    def test_however_it_is_written(
        self, bucket: Bucket, store: Redirecting, target: Redirecting, location: str
    ) -> None:
        store.location = location.format(target.server_port)
        with pytest.raises(StoreError, match="redirects elsewhere"):
            bucket.get("key", limit=100)
        assert target.requests == []

    @pytest.mark.parametrize("status", [302, 303, 307])
    def test_no_write_follows(self, store: Redirecting, target: Redirecting, s3_bucket: Bucket, status: int) -> None:
        store.location, store.status = target.at("localhost"), status
        for ask in (
            lambda: s3_bucket.put("key", b"data", Kind.DOCUMENT),
            lambda: s3_bucket.put("key", b"data", Kind.DOCUMENT, overwrite=True),
            lambda: s3_bucket.list("refs"),
            lambda: s3_bucket.delete("key"),
        ):
            with pytest.raises(StoreError):
                ask()
        assert target.requests == []

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
    def test_no_look_at_stored_versions_follows(
        self, store: Redirecting, target: Redirecting, s3_bucket: Bucket, host: str
    ) -> None:
        for store.status in (301, 302, 307):
            store.location = target.at(host)
            with pytest.raises(StoreError, match="the store answered 30"):
                s3_bucket.stored("refs")
        assert target.requests == []


class TestTheSameHost:
    def test_a_web_store_may_send_its_readers_on(
        self, store: Redirecting, target: Redirecting, monkeypatch: Environment
    ) -> None:
        bucket = open_bucket(store.at("127.0.0.1"), HURRIED)
        store.location = target.at("127.0.0.1")
        assert bytes(bucket.get("key", limit=100)) == b"data"
        into = bytearray(4)
        assert (bucket.get_into("key", memoryview(into)), into) == (4, b"data")

    @pytest.mark.parametrize("host", ["127.1", "0x7f.0.0.1", "LOCALHOST"])
    def test_other_spellings_of_a_host_can_be_read(self, store: Redirecting, host: str) -> None:
        assert bytes(open_bucket(store.at(host), HURRIED).get("key", limit=100)) == b"data"


def test_s3_sends_no_chunk_to_another_port(store: Redirecting, target: Redirecting, s3_bucket: Bucket) -> None:
    store.location = target.at("127.0.0.1")
    with pytest.raises(StoreError, match="get key: the store redirects elsewhere"):
        s3_bucket.get_into("key", memoryview(bytearray(100)))
    assert target.requests == []


def test_a_proxy_of_the_users_is_still_used(store: Redirecting, target: Redirecting, monkeypatch: Environment) -> None:
    monkeypatch.setenv("http_proxy", target.at("127.0.0.1"))
    assert bytes(open_bucket(store.at("localhost"), HURRIED).get("key", limit=100)) == b"data"
    assert len(target.requests) == 1
    assert store.requests == []
    monkeypatch.setenv("no_proxy", "localhost")
    store.location = target.at("127.0.0.1")
    with pytest.raises(StoreError, match="redirects elsewhere"):
        open_bucket(store.at("localhost"), HURRIED).get("key", limit=100)
    assert len(target.requests) == 1
