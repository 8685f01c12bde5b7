"""The S3 look-alike does what a real client expects, and its habits are those that were chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tools.servers.habits import Habits, HabitServer, parse_habits

_SESSION = boto3.Session("k", "s")


@pytest.fixture
def server() -> Iterator[HabitServer]:
    with HabitServer() as server:
        yield server


@pytest.fixture
def client(server: HabitServer) -> Any:
    """Boto3's client of the server, which tries everything once."""
    return _SESSION.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def keys_of(pages: Any) -> list[str]:
    return [one["Key"] for page in pages for one in page.get("Contents", ())]


def test_objects_are_written_read_listed_and_deleted(server: HabitServer, client: Any) -> None:
    server.habits.page_size = 2
    names = ["a/1", "a/2", "a/3", "b & c", "d"]
    for name in names:
        client.put_object(Bucket="b", Key=name, Body=name.encode())
    assert client.get_object(Bucket="b", Key="b & c")["Body"].read() == b"b & c"
    assert client.get_object(Bucket="b", Key="a/1", Range="bytes=1-1")["Body"].read() == b"/"
    pages = client.get_paginator("list_objects_v2")
    assert keys_of(pages.paginate(Bucket="b")) == names
    top = list(pages.paginate(Bucket="b", Delimiter="/"))
    assert [one["Prefix"] for page in top for one in page.get("CommonPrefixes", ())] == ["a/"]
    assert keys_of(top) == ["b & c", "d"]
    client.delete_objects(Bucket="b", Delete={"Objects": [{"Key": "a/1"}, {"Key": "b & c"}]})
    client.delete_object(Bucket="b", Key="d")
    assert sorted(server.objects) == ["a/2", "a/3"]


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("conditional=honoured", "PreconditionFailed"),
        ("conditional=501", "NotImplemented"),
        ("checksums", "InvalidRequest"),
        ("anonymous", "InvalidAccessKeyId"),
        ("payer", "AccessDenied"),
        ("expires_after=1", "ExpiredToken"),
        ("clock=3600", "RequestTimeTooSkewed"),
        ("virtual=oss.test", "SecondLevelDomainForbidden"),
        ("refusal=403 QuotaExceeded it is full", "QuotaExceeded"),
    ],
)
def test_a_habit_refuses_a_write(server: HabitServer, client: Any, word: str, code: str) -> None:
    client.meta.config.request_checksum_calculation = "when_required"
    client.put_object(Bucket="b", Key="key", Body=b"old")
    server.habits = parse_habits([word])
    with pytest.raises(ClientError) as error:
        client.put_object(Bucket="b", Key="key", Body=b"new", IfNoneMatch="*")
    assert error.value.response["Error"]["Code"] == code
    assert server.objects["key"].data == b"old"


def test_other_habits(server: HabitServer, client: Any) -> None:
    client.put_object(Bucket="b", Key="key", Body=b"old")
    server.habits = Habits(conditional="ignored", bulk_delete=501, archived="archive/", body="chunked")
    client.put_object(Bucket="b", Key="key", Body=b"new", IfNoneMatch="*")
    assert client.get_object(Bucket="b", Key="key")["Body"].read() == b"new"
    client.put_object(Bucket="b", Key="archive/key", Body=b"x")
    for code, ask in (
        ("InvalidObjectState", lambda: client.get_object(Bucket="b", Key="archive/key")),
        ("NotImplemented", lambda: client.delete_objects(Bucket="b", Delete={"Objects": [{"Key": "key"}]})),
    ):
        with pytest.raises(ClientError) as error:
            ask()
        assert error.value.response["Error"]["Code"] == code


@pytest.mark.parametrize("status", [400, 301])
def test_a_client_that_signs_for_another_region_is_told_the_right_one(
    server: HabitServer, client: Any, status: int
) -> None:
    server.habits = Habits(region="fr-par", region_status=status)
    client.head_bucket(Bucket="b")
    assert "/fr-par/" in server.requests[-1].headers["authorization"]


def test_an_unknown_habit_is_an_error() -> None:
    with pytest.raises(ValueError, match="habit swears is unknown"):
        parse_habits(["swears"])
