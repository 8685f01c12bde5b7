"""Nothing is condemned, swept or cleared before its time, and everything is once its time has come."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import pytest

from cas import events
from cas.bucket import Entry, Kind, MultipartUpload
from cas.bucket.directory.bucket import DirectoryBucket
from cas.bucket.object_store import ObjectBucket
from cas.errors import InputError, StoreError
from cas.formats.digest import hex_of
from cas.ops.gc import collector
from cas.ops.gc.result import Collected
from cas.refs.reference import Reference, log_of
from cas.store import condemned, layout
from cas.store.condemned import condemned_sets
from cas.store.lease_entries import Lease
from cas.store.store import Store
from tests.support.collecting import AT_ONCE, Models

DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)
STRAY = hex_of(b"a chunk of nothing")


def age(store: Store, folder: str, by: datetime.timedelta) -> None:
    """Make every object of a directory store below a folder older."""
    for path in Path(store.url, folder).rglob("*"):
        if path.is_file():
            then = path.stat().st_mtime - by.total_seconds()
            os.utime(path, (then, then))


def stray(store: Store) -> Path:
    """Store a chunk that no manifest names."""
    store.bucket.put(layout.chunk_key(STRAY), b"frame", Kind.CHUNK, overwrite=True)
    return Path(store.url, layout.chunk_key(STRAY))


def collect(models: Models, grace: datetime.timedelta = DAY) -> Collected:
    return collector.gc(models.store, grace=grace, keep=1, wait=0)


def orphan(models: Models) -> str:
    """Publish two versions two days ago, so that only the second is retained; return the first."""
    old = models.publish("old")
    models.publish("new")
    age(models.store, "", 2 * DAY)
    return old


def test_what_is_condemned_is_swept_a_day_later_and_not_before(local: Models) -> None:
    old = orphan(local)
    assert collect(local).condemned_versions == 1
    for _ in range(2):
        done = collect(local)
        assert (done.swept_versions, done.swept_chunks, done.waiting) == (0, 0, 1)
        assert (done.condemned_versions, done.condemned_chunks) == (0, 0), "they are condemned already"
    age(local.store, "gc", 23 * HOUR)
    assert collect(local).swept_versions == 0
    assert local.restored(f"m@{old}") == b"old" * 1000
    age(local.store, "gc", 2 * HOUR)
    done = collect(local)
    assert (done.swept_versions, done.swept_chunks, done.condemned_versions) == (1, 1, 0)
    assert old not in local.versions()


@pytest.mark.parametrize("options", [{"keep": 0}, {"keep": -1}, {"grace": -datetime.timedelta(microseconds=1)}])
def test_a_grace_period_that_is_negative_and_a_ref_that_keeps_nothing_are_refused(
    local: Models, options: dict[str, Any]
) -> None:
    local.publish("a")
    before = local.objects()
    with pytest.raises(InputError, match="keep at least 1 version"):
        collector.gc(local.store, **options)
    assert local.objects() == before


def test_it_is_told_when_a_sweep_is_due(local: Models) -> None:
    orphan(local)
    collect(local)
    (condemned_set,) = condemned_sets(local.store.bucket.list("gc"))
    expected = (condemned_set.at + DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert collect(local).due == expected
    assert collector.gc(local.store, grace=DAY, keep=1, dry_run=True).due == expected
    stray(local.store)
    age(local.store, "chunks", 2 * DAY)
    os.utime(Path(local.store.url, *condemned_set.keys), (0, condemned_set.at.timestamp() - 3600))
    assert collect(local).condemned_chunks == 1
    first = (condemned_set.at - HOUR + DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert collect(local).due == first, "of two lists, the first that is due"


def test_a_manifest_is_retained_for_a_day_though_nothing_names_it(local: Models) -> None:
    orphan(local)
    young = local.publish("young", tag="other")
    log_of(local.store, Reference("m", tag="other")).append(None, "untag")
    age(local.store, "manifests/m", 2 * DAY)
    path = Path(local.store.url, layout.manifest_key("m", young))
    for hours, found in ((23, 1), (25, 2)):
        then = datetime.datetime.now(datetime.UTC).timestamp() - hours * 3600
        os.utime(path, (then, then))
        told = collector.gc(local.store, grace=DAY, keep=1, dry_run=True)
        assert told.condemned_versions == found, hours


@pytest.mark.parametrize(("days", "stays"), [(3.5, True), (29, True), (31, False)])
def test_a_receipt_retains_its_version_for_thirty_days(local: Models, days: float, stays: bool) -> None:
    old = orphan(local)
    key = f"receipts/eu/2026-11-23/120000-{old}-0123456789abcdef.json"
    for each in (key, key.replace(old, "0" * 64), key.replace(old, "f" * 64)):
        local.store.bucket.put(each, b"{}", Kind.DOCUMENT)
    age(local.store, "receipts", datetime.timedelta(days=days))
    assert collect(local).condemned_versions == (0 if stays else 1)


@pytest.mark.parametrize(("days", "stays"), [(89, True), (91, False)])
def test_a_receipt_is_cleared_after_ninety_days(local: Models, days: int, stays: bool) -> None:
    old = orphan(local)
    key = f"receipts/eu/2026-11-23/120000-{old}-0123456789abcdef.json"
    local.store.bucket.put(key, b"{}", Kind.DOCUMENT)
    age(local.store, "receipts", datetime.timedelta(days=days))
    collect(local)
    assert local.store.bucket.exists(key) is stays


@pytest.mark.parametrize(("hours", "left"), [(23, 3), (25, 1)])
def test_the_history_of_a_removed_ref_stays_for_a_day(local: Models, hours: int, left: int) -> None:
    orphan(local)
    log = log_of(local.store, Reference("m", tag="latest"))
    log.append(None, "untag")
    age(local.store, log.ref.prefix, hours * HOUR)
    collect(local)
    assert len(log.names()) == left
    assert log.current_digest() is None


@pytest.mark.parametrize(("hours", "stays"), [(0, True), (23, True), (25, False)])
def test_an_upload_in_parts_that_is_under_way_is_not_aborted(
    local: Models, monkeypatch: pytest.MonkeyPatch, hours: int, stays: bool
) -> None:
    local.publish("a")
    collect(local)  # clears the lease of the publish
    upload = MultipartUpload("chunks/00/part", "id", datetime.datetime.now(datetime.UTC) - hours * HOUR)
    aborted: list[MultipartUpload] = []
    monkeypatch.setattr(ObjectBucket, "multipart_uploads", lambda self: [upload])
    monkeypatch.setattr(ObjectBucket, "abort", lambda self, one: aborted.append(one))
    assert collect(local).cleared == len(aborted) == (0 if stays else 1)


def test_a_list_in_several_documents_is_as_old_as_the_last(local: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    local.publish("a")
    monkeypatch.setattr(condemned, "_PAGE", 1)
    for number in (b"1", b"2", b"3"):
        local.store.bucket.put(layout.chunk_key(hex_of(number)), b"frame", Kind.CHUNK)
    age(local.store, "chunks", 3 * DAY)
    assert collect(local).condemned_chunks == 3
    documents = sorted(path for path in Path(local.store.url, "gc").iterdir() if "sweep" not in path.name)
    assert len(documents) == 3
    for path in documents[1:]:
        os.utime(path, (0, path.stat().st_mtime - 2 * 86_400))
    assert collect(local).swept_chunks == 0, "the first document is young"
    os.utime(documents[0], (0, documents[0].stat().st_mtime - 2 * 86_400))
    assert collect(local).swept_chunks == 3


@pytest.mark.parametrize(
    ("grace", "younger", "swept"),
    [
        (DAY, 50, False),
        (DAY, 60, False),
        (DAY, 70, True),
        (DAY / 144, 20, False),
        (DAY / 144, 40, True),
        (AT_ONCE, 0, False),
        (AT_ONCE, 1, True),
    ],
)
def test_clocks_of_a_stores_servers_may_differ_a_little(
    local: Models, grace: datetime.timedelta, younger: int, swept: bool
) -> None:
    local.publish("a")
    path = stray(local.store)
    age(local.store, "", 5 * DAY)
    assert collect(local, grace).condemned_chunks == 1
    age(local.store, "gc", 2 * DAY)
    (condemned_set,) = condemned_sets(local.store.bucket.list("gc"))
    then = round(condemned_set.at.timestamp() * 1_000_000) - younger * 1_000_000
    os.utime(path, ns=(then * 1000, then * 1000))
    for dry_run in (True, False):
        done = collector.gc(local.store, grace=grace, keep=1, wait=0, dry_run=dry_run)
        assert done.swept_chunks == swept, dry_run
    assert path.exists() is not swept


def test_a_probe_that_a_killed_run_left_behind_is_cleared(local: Models) -> None:
    local.publish("a")
    key = layout.probe_key("20261123T120000Z-01234567")
    local.store.bucket.put(key, b"{}", Kind.DOCUMENT)
    collect(local)
    assert not local.store.bucket.exists(key)


def test_a_condemned_chunk_that_was_sent_again_is_not_swept(local: Models) -> None:
    local.publish("a")
    path = stray(local.store)
    age(local.store, "", 5 * DAY)
    collect(local)
    age(local.store, "gc", 2 * DAY)
    os.utime(path)  # as a publisher of whose lease the collector knows nothing would leave it
    done = collect(local)
    assert (done.swept_chunks, path.exists()) == (0, True)
    assert done.condemned_chunks == 1, "condemned anew, with a new grace period"
    assert collect(local).swept_chunks == 0


def test_a_condemned_manifest_that_was_written_again_is_not_swept(local: Models) -> None:
    old = orphan(local)
    collect(local, AT_ONCE)
    path = Path(local.store.url, layout.manifest_key("m", old))
    os.utime(path)
    assert collector.gc(local.store, grace=AT_ONCE, keep=1, dry_run=True).swept_versions == 0
    done = collect(local, AT_ONCE)
    assert (done.swept_versions, path.exists(), done.condemned_versions) == (0, True, 1)


def test_what_comes_while_the_collector_works_is_not_condemned(local: Models) -> None:
    local.publish("a")
    local.settle()

    def listen(event: events.Event) -> None:
        if event == events.Phase("resolve"):
            stray(local.store)

    done = collector.gc(local.store, grace=AT_ONCE, keep=1, on_event=listen)
    assert done.condemned_chunks == 0
    assert collect(local, AT_ONCE).condemned_chunks == 1


@pytest.mark.parametrize("minutes", [-10, 10])
@pytest.mark.parametrize(("age_of_lease", "counts"), [(0, True), (590, True), (610, False)])
def test_leases_are_judged_by_the_servers_clock(
    local: Models, monkeypatch: pytest.MonkeyPatch, minutes: int, age_of_lease: int, counts: bool
) -> None:
    orphan(local)
    collect(local, AT_ONCE)
    Lease(local.store, "leases/0123456789abcdef", "publish m", 600).write()
    age(local.store, "leases", datetime.timedelta(seconds=age_of_lease))
    off = datetime.timedelta(minutes=minutes)
    head, listing = DirectoryBucket.head, ObjectBucket.list

    def shifted_head(self: DirectoryBucket, key: str) -> Entry:
        entry = head(self, key)
        return entry._replace(modified=entry.modified + off)

    def shifted_list(self: ObjectBucket, prefix: str) -> list[Entry]:
        return [entry._replace(modified=entry.modified + off) for entry in listing(self, prefix)]

    monkeypatch.setattr(DirectoryBucket, "head", shifted_head)
    monkeypatch.setattr(ObjectBucket, "list", shifted_list)
    done = collect(local, AT_ONCE)
    assert (bool(done.put_off), done.swept_versions) == (counts, 0 if counts else 1)


@pytest.mark.parametrize(("minutes", "refused"), [(14, False), (16, True)])
@pytest.mark.parametrize("sign", [1, -1])
def test_clocks_may_differ_by_a_quarter_of_an_hour(
    local: Models, monkeypatch: pytest.MonkeyPatch, minutes: int, refused: bool, sign: int
) -> None:
    local.publish("a")
    head = DirectoryBucket.head

    def off(self: DirectoryBucket, key: str) -> Entry:
        entry = head(self, key)
        return entry._replace(modified=entry.modified + sign * datetime.timedelta(minutes=minutes))

    monkeypatch.setattr(DirectoryBucket, "head", off)
    if refused:
        with pytest.raises(StoreError, match="set the one that is wrong"):
            collect(local)
    else:
        collect(local)
