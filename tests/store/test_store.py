"""The store alone: its format, and that it returns nothing which its name does not promise."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from cas.bucket import Bucket, Entry, Kind, open_bucket
from cas.errors import ChunkCorrupt, ChunkMissing, FormatError, IntegrityError, ManifestCorrupt, NotFoundError
from cas.formats import manifest
from cas.formats.digest import Buffer, hex_of
from cas.formats.frame import Codec, Decoder, Encoder, decode, largest_frame
from cas.formats.manifest import ChunkRef
from cas.store.layout import FORMAT_KEY, chunk_key, manifest_key
from cas.store.store import Store
from tests.formats.hostile_frames import CASES, SIZE
from tests.formats.manifests import ENCODED, EXAMPLE, A
from tests.support.buckets import RecordingBucket
from tests.support.by_hand import put

# Its format


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b'{"format":"cas","version":2,"shape":["to","come"]}', "version 2; this program knows cas version 1: upgrade"),
        (b'{"format":"cas","version":0}', "version 0"),
        (b'{"format":"restic","version":1}', "restic"),
        (b'{"version":1}', "is not a store's"),
        (b'{"format":"cas","version":"1"}', "is not a store's"),
        (b"<html>", "is not a store's"),
        (b'{"\xff":1,"format":"\xff"}', "is not a store's"),
        (b'{"x":' + b"[" * 60_000, "is not a store's"),
        (bytes(70_000), "at most"),
    ],
    ids=["newer", "older", "foreign", "no format", "text", "page", "not UTF-8", "nested", "large"],
)
def test_another_format_is_refused_and_left_alone(directory_store: Store, data: bytes, match: str) -> None:
    directory_store.bucket.put(FORMAT_KEY, data, Kind.DOCUMENT)
    for call in (directory_store.check_format, directory_store.create):
        with pytest.raises(FormatError, match=match):
            call()
    assert bytes(directory_store.bucket.get(FORMAT_KEY, limit=100_000)) == data


def test_no_store_is_told_from_a_broken_one(directory_store: Store) -> None:
    with pytest.raises(NotFoundError, match="there is no store at"):
        directory_store.check_format()
    directory_store.create()
    Store(open_bucket(directory_store.url)).check_format()
    assert Path(directory_store.url, FORMAT_KEY).read_bytes() == b'{"format":"cas","version":1}'


# Documents


class DamagingBucket(RecordingBucket):
    """A bucket whose first `damaged` answers have one bit flipped on the way."""

    def __init__(self, inner: Bucket, damaged: int) -> None:
        super().__init__(inner)
        self._damaged = damaged

    def get(self, key: str, limit: int) -> Buffer:
        data = bytearray(super().get(key, limit))
        if len(self.read) <= self._damaged:
            data[len(data) // 2] ^= 1
        return data


def test_a_document_that_arrives_damaged_is_fetched_once_more(directory_store: Store) -> None:
    digest = directory_store.put_manifest(EXAMPLE)
    once, twice = (DamagingBucket(directory_store.bucket, damaged) for damaged in (1, 2))
    assert Store(once).get_manifest("f5-tts", digest) == EXAMPLE
    with pytest.raises(ManifestCorrupt):
        Store(twice).get_manifest("f5-tts", digest)
    assert once.read == twice.read == [manifest_key("f5-tts", digest)] * 2


def test_the_format_is_checked_once_and_fetched_once_more_when_it_arrives_damaged(directory_store: Store) -> None:
    directory_store.create()
    bucket = DamagingBucket(directory_store.bucket, 1)
    store = Store(bucket)
    for _ in range(3):
        store.check_format()
    assert bucket.read == [FORMAT_KEY] * 2


def test_a_chunk_is_fetched_three_times_before_it_counts_as_damaged(directory_store: Store) -> None:
    (chunk,) = put(directory_store, b"plain" * 99)
    twice, thrice = (DamagingBucket(directory_store.bucket, damaged) for damaged in (2, 3))
    assert bytes(Store(twice).get_chunk(chunk, Decoder())[0]) == b"plain" * 99
    with pytest.raises(ChunkCorrupt, match=chunk.digest):
        Store(thrice).get_chunk(chunk, Decoder())
    assert twice.read == thrice.read == [chunk_key(chunk.digest)] * 3


# Chunks


@pytest.mark.parametrize("name", ["bomb that nobody tells", "second frame", "raw bytes", "an error page"])
def test_a_hostile_frame_in_a_store_is_a_corrupt_chunk(directory_store: Store, name: str) -> None:
    ref = ChunkRef(hex_of(bytes(SIZE)), SIZE)
    directory_store.put_frame(ref.digest, CASES[name])
    with pytest.raises(ChunkCorrupt, match=ref.digest):
        directory_store.get_chunk(ref, Decoder())
    assert directory_store.bucket.exists(chunk_key(ref.digest))


def test_a_chunk_that_is_absent_is_named(directory_store: Store) -> None:
    directory_store.create()
    with pytest.raises(ChunkMissing, match=f"blake3:{A}"):
        directory_store.get_chunk(ChunkRef(A, 5), Decoder())


def test_a_frame_of_a_newer_version_is_no_corrupt_chunk(directory_store: Store) -> None:
    ref = ChunkRef(hex_of(bytes(SIZE)), SIZE)
    directory_store.put_frame(ref.digest, CASES["newer version"])
    with pytest.raises(FormatError, match="written by a newer version"):
        directory_store.get_chunk(ref, Decoder())


def test_a_frame_larger_than_its_chunk_can_be_is_not_even_fetched(directory_store: Store) -> None:
    ref = ChunkRef(hex_of(b"x"), 1)
    directory_store.put_frame(ref.digest, bytes(largest_frame(1) + 1))
    with pytest.raises(FormatError, match="at most"):
        directory_store.get_chunk(ref, Decoder())


def test_no_frame_is_made_of_other_bytes_than_its_digest_names() -> None:
    codec = Codec()
    frame = Store.make_frame(hex_of(b"plain"), b"plain", None, codec)
    assert decode(frame, 5) == b"plain"
    with pytest.raises(IntegrityError, match=f"bytes of digest blake3:{hex_of(b'other')} were given"):
        Store.make_frame(hex_of(b"plain"), b"other", None, codec)


def test_a_frame_that_does_not_decode_to_its_chunk_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the memory of this machine, or a library, had changed a byte while the frame was made."""
    codec = Codec()
    wrong = Encoder().encode(b"plaim")
    monkeypatch.setattr(codec.encoder, "encode", lambda plain, width: wrong)
    with pytest.raises(IntegrityError, match="were given for chunk"):
        Store.make_frame(hex_of(b"plain"), b"plain", None, codec)


# Manifests


def test_a_manifest_over_the_limit_is_not_even_fetched(directory_store: Store) -> None:
    data = bytes(manifest.MAX_MANIFEST + 1)
    directory_store.bucket.put(manifest_key("m", hex_of(data)), data, Kind.MANIFEST)
    with pytest.raises(FormatError, match="at most"):
        directory_store.get_manifest("m", hex_of(data))


def test_a_manifest_is_read_only_under_its_own_name_and_model(directory_store: Store) -> None:
    directory_store.put_manifest(EXAMPLE)
    assert directory_store.get_manifest("f5-tts", hex_of(ENCODED)) == EXAMPLE
    directory_store.bucket.put(manifest_key("other", hex_of(ENCODED)), ENCODED, Kind.MANIFEST)
    with pytest.raises(FormatError, match="is of model f5-tts, not other"):
        directory_store.get_manifest("other", hex_of(ENCODED))
    directory_store.bucket.put(manifest_key("f5-tts", A), ENCODED, Kind.MANIFEST)
    with pytest.raises(ManifestCorrupt, match="was altered"):
        directory_store.get_manifest("f5-tts", A)


def test_versions_are_told_in_the_order_in_which_the_server_got_them(
    directory_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    digests = ["c" * 64, "a" * 64, "b" * 64]
    entries = [
        Entry(manifest_key("m", digest), 1, began + datetime.timedelta(seconds=at)) for at, digest in enumerate(digests)
    ]
    monkeypatch.setattr(directory_store.bucket, "list", lambda prefix: sorted(entries))
    assert directory_store.digests("m") == digests
