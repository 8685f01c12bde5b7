"""A worker with CAS_READ_URL: chunks and manifests through the cache, all else from the bucket, which stands in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worker.station import TOTAL, Station
from tools.servers.habits import HabitServer

_NEVER_CHANGES = ("cas/chunks/", "cas/manifests/")


@pytest.fixture
def bucket(station: Station) -> Iterator[HabitServer]:
    """The bucket of a station's store."""
    with HabitServer() as server:
        station.store = "s3://bucket/cas"
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        station.env.update(keys, AWS_ENDPOINT_URL=server.url)
        yield server


@pytest.fixture
def cache(station: Station, bucket: HabitServer) -> Iterator[HabitServer]:
    """A cache of the objects in that bucket, which the worker is told to read through; a publisher is not."""
    station.publish()
    bucket.requests.clear()
    with HabitServer() as server:
        server.objects = bucket.objects
        station.env["CAS_READ_URL"] = f"{server.url}/bucket/cas"
        yield server


def test_what_never_changes_is_read_through_the_cache(
    station: Station, bucket: HabitServer, cache: HabitServer
) -> None:
    ran = station.boot()
    station.check(ran)
    assert (ran.receipt["source"], ran.receipt["bytes_fetched"], ran.warnings) == ("store", TOTAL, [])
    assert {seen.method for seen in cache.requests} == {"GET"}
    assert all(seen.key.startswith(_NEVER_CHANGES) for seen in cache.requests)
    assert not any(bucket.count("GET", folder) for folder in _NEVER_CHANGES)
    assert bucket.count("PUT", "cas/receipts/") == 1


def test_the_bucket_stands_in_for_a_cache_that_refuses(
    station: Station, bucket: HabitServer, cache: HabitServer
) -> None:
    cache.habits.refusal = "403 AccessDenied"
    ran = station.boot()
    station.check(ran)
    assert (ran.receipt["source"], ran.receipt["bytes_fetched"]) == ("store", TOTAL)
    (warning,) = ran.warnings
    assert "CAS_READ_URL" in warning and f"what it does not give is read from {station.store}" in warning
    assert all(bucket.count("GET", folder) for folder in _NEVER_CHANGES)


def test_a_value_that_is_no_url_ends_the_boot_with_its_name(station: Station, cache: HabitServer) -> None:
    ran = station.boot(CAS_READ_URL="cdn.example.com/cas")
    assert ran.code == 2
    assert "CAS_READ_URL: write https://" in ran.errors[0]
    assert cache.requests == []
