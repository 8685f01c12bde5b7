"""Sets of chunks by shard: the same in memory, in a file, and where there is no place for one."""

from __future__ import annotations

import datetime
import os
import tempfile
from pathlib import Path

import pytest

from cas.bucket import Entry
from cas.formats.digest import hex_of
from cas.ops.gc import shards
from cas.ops.gc.shards import SHARDS, ChunkListing, DigestSet
from tests.support.collecting import Models

DIGESTS = [bytes.fromhex(hex_of(b"%d" % number)) for number in range(2000)]


@pytest.fixture(params=["memory", "file", "no folder", "full disk"], autouse=True)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Where the records lie."""
    if request.param != "memory":
        monkeypatch.setattr(shards, "_MEMORY", 1024)
    if request.param == "no folder":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    if request.param == "full disk":
        full = 4

        def write_all(fd: int, data: bytes, offset: int) -> None:
            nonlocal full
            full -= 1
            if full < 0:
                raise OSError(28, "No space left on device")
            os.pwrite(fd, data, offset)

        monkeypatch.setattr(shards, "write_all", write_all)
    return str(request.param)


def filled() -> DigestSet:
    made = DigestSet()
    for begin in range(0, len(DIGESTS), 250):
        made.add(DIGESTS[max(0, begin - 100) : begin + 250])
    made.add(DIGESTS[:300])
    return made


def test_a_set_holds_each_digest_once_in_its_shard(place: str) -> None:
    made = filled()
    assert (len(made), list(made)) == (len(DIGESTS), sorted(DIGESTS))
    for number in SHARDS:
        assert made.shard(number) == {digest for digest in DIGESTS if digest[0] == number}
    made.add_all(iter(DIGESTS[:1] * 30_000))
    assert len(made) == len(DIGESTS)
    assert (made._in_file > 0) == (place == "file")


def test_duplicates_leave_the_file(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_SMALLEST_COMPACTION", 100_000)
    made = DigestSet()
    for _ in range(20):
        for half in (DIGESTS[:1000], DIGESTS[1000:]):
            made.add(half)
    assert list(made) == sorted(DIGESTS)
    if place == "file":
        assert made._in_file <= 4 * 32 * len(DIGESTS)


def test_a_listing_keeps_sizes_and_times() -> None:
    base = datetime.datetime(2026, 11, 28, 1, 2, 3, 456_789, tzinfo=datetime.UTC)
    times = [base + datetime.timedelta(microseconds=number) for number in range(len(DIGESTS))]
    times[7] = datetime.datetime(1969, 12, 31, tzinfo=datetime.UTC)
    listing = ChunkListing()
    for number, (digest, time) in enumerate(zip(DIGESTS, times, strict=True)):
        listing.add(digest.hex(), Entry(f"chunks/{digest.hex()[:2]}/{digest.hex()}", number, time))
    retained = set(DIGESTS[::3])
    found = [chunk for number in SHARDS for chunk in listing.shard_without(number, retained)]
    assert sorted(found) == sorted(
        (digest, number, time)
        for number, (digest, time) in enumerate(zip(DIGESTS, times, strict=True))
        if digest not in retained
    )


def test_a_collection_is_the_same_wherever_its_sets_lie(local: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_MEMORY", 1)
    old, new = local.publish("old"), local.publish("new")
    garbage = local.needed(old) - local.needed(new)
    first = local.collect(keep=1)
    assert (first.kept_chunks, first.condemned_chunks, first.swept_chunks) == (2, len(garbage), 0)
    preview = local.collect(keep=1, dry_run=True)
    second = local.collect(keep=1)
    assert (second.swept_versions, second.swept_chunks) == (1, len(garbage))
    assert (preview.swept_versions, preview.swept_chunks) == (1, len(garbage))
    assert 0 < preview.freed <= second.freed, "a run clears small objects, too"
    assert local.chunks() == local.needed(new)
    assert local.versions() == {new}
