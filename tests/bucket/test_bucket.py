"""One contract, every bucket; then what only S3 or a directory can do."""

from __future__ import annotations

import datetime
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from cas.bucket import Bucket, Kind, open_bucket
from cas.errors import (
    AccessDenied,
    BucketMissing,
    CacheError,
    CasError,
    InputError,
    ObjectMissing,
    ObjectTooLarge,
    StoreError,
)
from tests.support.buckets import HURRIED
from tools.servers.fault_proxy import Fault, FaultProxy
from tools.servers.fault_proxy import Kind as Faulty

MIB = 1024 * 1024


@pytest.fixture(params=["memory", "directory", "s3", "s3 without conditional writes", "azure"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    """An empty bucket of each kind."""
    if request.param == "memory":
        return open_bucket("memory:", HURRIED)
    if request.param == "directory":
        return open_bucket(str(tmp_path / "store"), HURRIED)
    if request.param == "s3":
        return open_bucket(request.getfixturevalue("s3_url"), HURRIED)
    if request.param == "azure":
        return open_bucket(request.getfixturevalue("az_url"), HURRIED)
    proxy: FaultProxy = request.getfixturevalue("proxy")
    bucket = open_bucket(request.getfixturevalue("s3_url"), HURRIED)
    # As on Backblaze B2: the first conditional write is refused, and none is tried again.
    proxy.inject(Fault(Faulty.STATUS, status=501, code="NotImplemented", method="PUT"))
    bucket.put("learnt", b"", Kind.DOCUMENT)
    bucket.delete("learnt")
    return bucket


class TestContract:
    """What a store may rely on in every kind of bucket."""

    def test_an_object_comes_back_as_it_was_put(self, bucket: Bucket) -> None:
        for key, data in (("a", b"data"), ("deep/er/key", bytes(range(256))), ("empty", b"")):
            assert bucket.put(key, data, Kind.DOCUMENT) is True
            assert bytes(bucket.get(key, limit=len(data))) == data
            assert bucket.exists(key)

    def test_any_buffer_can_be_put(self, bucket: Bucket) -> None:
        assert bucket.put("a", bytearray(b"one"), Kind.CHUNK)
        assert bucket.put("b", memoryview(b"xtwox")[1:4], Kind.CHUNK)
        assert (bytes(bucket.get("a", 3)), bytes(bucket.get("b", 3))) == (b"one", b"two")

    def test_a_large_object(self, bucket: Bucket) -> None:
        data = os.urandom(20 * MIB)
        bucket.put("large", data, Kind.CHUNK)
        assert bucket.get("large", limit=len(data)) == data

    def test_absent_is_said_of_what_is_absent(self, bucket: Bucket) -> None:
        bucket.put("folder/object", b"", Kind.DOCUMENT)
        for key in ("none", "folder", "folder/none", "folder/object/none"):
            assert not bucket.exists(key)
            with pytest.raises(ObjectMissing, match=key):
                bucket.get(key, limit=1)
            with pytest.raises(ObjectMissing, match=key):
                bucket.head(key)

    def test_create_never_replaces(self, bucket: Bucket) -> None:
        assert bucket.put("key", b"first", Kind.CHUNK) is True
        assert bucket.put("key", b"first", Kind.CHUNK) is True
        for other in (b"other", b"longer than first", b"", b"f"):
            assert bucket.put("key", other, Kind.CHUNK) is False
        assert bytes(bucket.get("key", 5)) == b"first"

    def test_overwrite_replaces(self, bucket: Bucket) -> None:
        bucket.put("key", b"damaged", Kind.CHUNK)
        assert bucket.put("key", b"sound", Kind.CHUNK, overwrite=True) is True
        assert bytes(bucket.get("key", 5)) == b"sound"

    def test_more_than_the_limit_is_refused(self, bucket: Bucket) -> None:
        bucket.put("key", b"12345", Kind.DOCUMENT)
        with pytest.raises(ObjectTooLarge, match="5 bytes where at most 4"):
            bucket.get("key", limit=4)

    def test_parts_come_with_what_tells_whether_they_belong_together(self, bucket: Bucket) -> None:
        bucket.put("folder/key", b"0123456789", Kind.DOCUMENT)
        (listed,) = bucket.list("folder")
        parts = [bucket.get_range("folder/key", start, 5) for start in (0, 5)]
        assert [bytes(part.data) for part in parts] == [b"01234", b"56789"]
        assert {(part.size, part.tag) for part in parts} == {(10, bucket.head("folder/key").tag)}
        assert listed.tag and parts[0].tag
        bucket.put("folder/key", b"9876543210", Kind.DOCUMENT, overwrite=True)
        assert bucket.get_range("folder/key", 5, 1).tag != parts[0].tag
        assert bucket.list("folder")[0].tag != listed.tag

    def test_a_part_that_is_not_there_is_an_error(self, bucket: Bucket) -> None:
        bucket.put("key", b"12345", Kind.DOCUMENT)
        for start in (3, 5, 9):
            with pytest.raises(StoreError, match="get key"):
                bucket.get_range("key", start, 3)
        with pytest.raises(ObjectMissing, match="none"):
            bucket.get_range("none", 0, 1)

    def test_head_tells_size_and_age(self, bucket: Bucket) -> None:
        bucket.put("key", b"12345", Kind.DOCUMENT)
        entry = bucket.head("key")
        assert (entry.key, entry.size) == ("key", 5)
        assert entry.modified.tzinfo is not None
        assert abs(datetime.datetime.now(datetime.UTC) - entry.modified) < datetime.timedelta(minutes=1)

    def test_a_listing_shows_a_whole_folder_in_order(self, bucket: Bucket) -> None:
        keys = ["a/10", "a/9", "a/b/c", "ab/x", "b", "a.json"]
        for key in keys:
            bucket.put(key, key.encode(), Kind.DOCUMENT)
        assert [entry.key for entry in bucket.list("a")] == ["a/10", "a/9", "a/b/c"]
        assert [entry.key for entry in bucket.list("a/")] == ["a/10", "a/9", "a/b/c"]
        assert [(entry.key, entry.size) for entry in bucket.list("")] == [(key, len(key)) for key in sorted(keys)]
        assert bucket.list("a/b")[0].modified == bucket.head("a/b/c").modified

    def test_a_listing_of_what_is_absent_is_empty(self, bucket: Bucket) -> None:
        assert bucket.list("none") == []
        bucket.put("key", b"", Kind.DOCUMENT)
        for prefix in ("none", "none/deeper", "key", "ke"):
            assert bucket.list(prefix) == []

    def test_delete_removes_and_does_not_mind_absence(self, bucket: Bucket) -> None:
        bucket.put("folder/key", b"data", Kind.DOCUMENT)
        bucket.delete("folder/key")
        bucket.delete("folder/key")
        assert not bucket.exists("folder/key")
        assert bucket.list("folder") == []
        assert bucket.put("folder/key", b"new", Kind.DOCUMENT) is True

    def test_many_threads_at_once(self, bucket: Bucket) -> None:
        def work(number: int) -> bytes:
            bucket.put(f"t/{number}", str(number).encode() * 1000, Kind.CHUNK)
            return bytes(bucket.get(f"t/{number}", limit=10_000))

        with ThreadPoolExecutor(32) as pool:
            assert list(pool.map(work, range(200))) == [str(number).encode() * 1000 for number in range(200)]
        assert len(bucket.list("t")) == 200

    def test_writers_of_one_key_agree_on_one_content(self, bucket: Bucket) -> None:
        with ThreadPoolExecutor(8) as pool:
            wrote = list(pool.map(lambda _: bucket.put("key", b"same", Kind.CHUNK), range(16)))
        assert all(wrote)
        assert bytes(bucket.get("key", 4)) == b"same"


def test_a_server_that_refuses_conditional_writes_replaces_nothing_from_the_first_write_on(
    proxy: FaultProxy, s3_url: str
) -> None:
    open_bucket(s3_url, HURRIED).put("key", b"first", Kind.CHUNK)
    for data, holds in ((b"other", False), (b"first", True)):
        proxy.inject(Fault(Faulty.STATUS, status=501, code="NotImplemented", method="PUT"))
        assert open_bucket(s3_url, HURRIED).put("key", data, Kind.CHUNK) is holds
        assert bytes(open_bucket(s3_url, HURRIED).get("key", 5)) == b"first"


@pytest.mark.parametrize("kind", ["directory", "s3"])
def test_listings_have_no_limit(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    bucket = open_bucket(str(tmp_path) if kind == "directory" else request.getfixturevalue("s3_url"))
    keys = [f"many/{number:04}" for number in range(1003)]
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(lambda key: bucket.put(key, b"", Kind.DOCUMENT), keys))
    assert [entry.key for entry in bucket.list("many")] == keys


class TestS3:
    """What S3 does beyond the contract."""

    def test_objects_carry_their_headers(self, s3_url: str) -> None:
        bucket = open_bucket(s3_url)
        for kind in Kind:
            bucket.put(kind.name, b"{}", kind)
        name = s3_url.split("/")[2]
        heads = {kind: boto3.client("s3").head_object(Bucket=name, Key=f"cas/{kind.name}") for kind in Kind}
        forever = "public, max-age=31536000, immutable, no-transform"
        assert {kind: (head["ContentType"], head.get("CacheControl")) for kind, head in heads.items()} == {
            Kind.CHUNK: ("application/zstd", forever),
            Kind.MANIFEST: ("application/json", forever),
            Kind.DOCUMENT: ("application/json", "no-store"),
            Kind.WAV: ("audio/wav", None),
            Kind.FLAC: ("audio/flac", None),
            Kind.MP3: ("audio/mpeg", None),
            Kind.OPUS: ("audio/ogg", None),
            Kind.PCM: ("audio/pcm", None),
            Kind.SIGNATURE: ("text/plain; charset=utf-8", "no-store"),
        }

    def test_a_missing_bucket_is_no_missing_object(self, s3_url: str) -> None:
        bucket = open_bucket("s3://no-such-bucket/cas", HURRIED)
        for ask in (
            lambda: bucket.exists("key"),
            lambda: bucket.head("key"),
            lambda: bucket.get("key", limit=1),
            lambda: bucket.list("folder"),
        ):
            with pytest.raises(BucketMissing, match=r"no-such-bucket.*check the name"):
                ask()

    def test_the_prefix_may_be_absent_or_carry_slashes(self, s3_url: str) -> None:
        root = s3_url.removesuffix("/cas")
        open_bucket(f"{root}/cas/").put("key", b"", Kind.DOCUMENT)
        open_bucket(f"{root}//cas/deeper//").put("key", b"", Kind.DOCUMENT)
        assert [entry.key for entry in open_bucket(root).list("")] == ["cas/deeper/key", "cas/key"]
        assert [entry.key for entry in open_bucket(f"{root}/").list("cas/deeper")] == ["cas/deeper/key"]


class TestDirectory:
    """Failures that only a directory has."""

    def test_reading_creates_nothing(self, tmp_path: Path) -> None:
        bucket = open_bucket(str(tmp_path / "store"), HURRIED)
        assert not bucket.exists("key")
        assert bucket.list("") == []
        assert list(tmp_path.iterdir()) == []

    def test_a_store_made_by_another_process_is_seen(self, tmp_path: Path) -> None:
        reader = open_bucket(str(tmp_path / "store"), HURRIED)
        assert not reader.exists("key")
        open_bucket(f"file://{tmp_path}/store").put("key", b"data", Kind.DOCUMENT)
        assert bytes(reader.get("key", 4)) == b"data"

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(CacheError, match="is a file: name a directory"):
            open_bucket(str(tmp_path / "file"))
        with pytest.raises(CasError, match=r"file/store.*cannot be created"):
            open_bucket(str(tmp_path / "file/store"), HURRIED).put("key", b"", Kind.DOCUMENT)

    def test_a_directory_that_may_not_be_written(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        folder = tmp_path if os.geteuid() else Path("/sys")  # where even root may not write
        with pytest.raises(AccessDenied, match="owner and mode"):
            open_bucket(str(folder), HURRIED).put("key", b"", Kind.DOCUMENT)


@pytest.mark.parametrize("url", ["hf://org/name", "ftp://host/path", "S3X://bucket"])
def test_unknown_schemes_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="this scheme is unknown: use s3://"):
        open_bucket(url)


def _ask(bucket: Bucket, said: multiprocessing.SimpleQueue[str]) -> None:
    try:
        bucket.exists("key")
    except CasError as error:
        said.put(f"{error.exit_code} {error}")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_at_once(tmp_path: Path) -> None:
    """The network client's threads do not survive a fork: every request of the child would hang."""
    context = multiprocessing.get_context("fork")
    bucket = open_bucket(str(tmp_path), HURRIED)
    assert not bucket.exists("key")
    said: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    child = context.Process(target=_ask, args=(bucket, said))
    child.start()
    child.join(timeout=30)
    assert child.exitcode == 0
    assert "6 this process was forked" in said.get()
    assert not bucket.exists("key")
