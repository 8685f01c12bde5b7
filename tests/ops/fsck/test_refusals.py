"""What a server refuses or fails to do is never taken for damage, and what flips on the way is not, either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.bucket import Entry
from cas.errors import AccessDenied, Transient
from cas.formats.digest import Buffer, named
from cas.formats.manifest import digest_of
from cas.host import Limits
from cas.ops.fsck.checker import fsck
from cas.store.layout import chunk_key, manifest_key
from cas.store.store import Store, open_store
from tests.support.buckets import HURRIED, RecordingBucket, proxied
from tests.support.damage import NEW, OLD, edit, fill, flip, piece, state_of
from tests.support.in_process import call_cas
from tests.support.models import put_model, write_tree
from tools.servers.fault_proxy import Fault, FaultProxy, Kind
from tools.servers.seaweed import SeaweedFS

CHUNKS = "/chunks/"


@pytest.fixture
def proxy(seaweed: SeaweedFS, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Stands in front of a bucket with the models of the scene."""
    fill(open_store(s3_url))
    with proxied(seaweed, monkeypatch) as proxy:
        yield proxy


@pytest.fixture
def hurried(proxy: FaultProxy, s3_url: str) -> Store:
    """The store behind the proxy."""
    return open_store(s3_url, policy=HURRIED)


@pytest.mark.parametrize("where", [CHUNKS, "/manifests/", "/refs/", "?"])
def test_a_refusal_anywhere_ends_the_run(hurried: Store, proxy: FaultProxy, where: str) -> None:
    proxy.inject(Fault(Kind.STATUS, status=403, code="AccessDenied", path_contains=where, times=None, after=1))
    with pytest.raises(AccessDenied):
        fsck(None, hurried)


@pytest.mark.parametrize("where", [CHUNKS, "/manifests/", "/refs/"])
def test_a_server_that_fails_ends_the_run(hurried: Store, proxy: FaultProxy, where: str) -> None:
    proxy.inject(Fault(Kind.STATUS, status=503, path_contains=where, times=None, after=1))
    with pytest.raises(Transient):
        fsck(None, hurried)


@pytest.mark.parametrize("kind", [Kind.BIT_FLIP, Kind.TRUNCATE, Kind.SHORT_LENGTH, Kind.ERROR_PAGE, Kind.DROP_RESPONSE])
def test_what_is_damaged_on_the_way_once_or_twice_is_sound(hurried: Store, proxy: FaultProxy, kind: Kind) -> None:
    proxy.inject(Fault(kind, path_contains=CHUNKS + piece(NEW, 1)[:2] + "/" + piece(NEW, 1), times=2))
    proxy.inject(Fault(kind, path_contains="/manifests/other/", times=1, method="GET"))
    checked = fsck(None, hurried)
    assert checked.sound
    assert checked.checked == 23
    assert sum(seen.fault is kind for seen in proxy.requests) >= 2


def test_damage_that_stays_is_fetched_three_times(hurried: Store, proxy: FaultProxy) -> None:
    damaged = piece(NEW, 8)
    edit(hurried, damaged, flip)
    proxy.requests.clear()
    assert [item.name for item in fsck("m:latest", hurried).corrupt.items] == [named(damaged)]
    assert proxy.count("GET", damaged) == 3
    assert proxy.count("GET", CHUNKS) == 13 + 2


def test_a_reader_checks_and_cannot_repair(proxy: FaultProxy, seaweed: SeaweedFS, s3_url: str, tmp_path: Path) -> None:
    store = open_store(s3_url)
    access, secret = seaweed.credentials("reader")
    reader = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}
    assert call_cas("--store", s3_url, "fsck", env=reader).returncode == 0
    edit(store, piece(NEW, 8), flip)
    before = state_of(store)
    assert call_cas("--store", s3_url, "fsck", env=reader).returncode == 4
    source = str(write_tree(tmp_path / "source", NEW))
    done = call_cas("--store", s3_url, "fsck", "--repair-from", source, env=reader)
    assert (done.returncode, done.stdout) == (6, "")
    assert "the key needs the permission PutObject" in done.stderr.splitlines()[-1]
    assert state_of(store) == before
    writer_key, writer_secret = seaweed.credentials("writer")
    writer = {"AWS_ACCESS_KEY_ID": writer_key, "AWS_SECRET_ACCESS_KEY": writer_secret}
    assert call_cas("--store", s3_url, "fsck", "--repair-from", source, env=writer).returncode == 0


def test_a_source_that_refuses_ends_the_run(proxy: FaultProxy, s3_url: str, tmp_path: Path) -> None:
    broken = open_store(str(tmp_path / "store"))
    fill(broken)
    edit(broken, piece(NEW, 8), flip)
    proxy.inject(Fault(Kind.STATUS, status=403, code="AccessDenied", path_contains=CHUNKS, times=None))
    with pytest.raises(AccessDenied):
        fsck(None, broken, repair_from=[s3_url])
    proxy.clear()
    assert fsck(None, broken, repair_from=[s3_url]).repaired.count == 1


class Hiding(RecordingBucket):
    """A bucket whose listing leaves one object out."""

    hidden = ""

    def list(self, prefix: str) -> list[Entry]:
        return [entry for entry in super().list(prefix) if entry.key != self.hidden]


def test_what_a_listing_leaves_out_is_asked_for_before_it_is_called_missing(directory_store: Store) -> None:
    fill(directory_store)
    hiding = Hiding(directory_store.bucket)
    hiding.hidden = chunk_key(piece(NEW, 8))
    for _ in range(3):
        assert fsck(None, Store(hiding), sample=0.01).sound
    assert hiding.read.count(hiding.hidden) == 3


class Collecting(RecordingBucket):
    """A bucket from which a collector deletes, when the first chunk is read."""

    doomed: tuple[str, ...] = ()

    def get(self, key: str, limit: int) -> Buffer:
        if key.startswith("chunks/"):
            for doomed in self.doomed:
                self.delete(doomed)
        return super().get(key, limit)


@pytest.mark.parametrize("needed", [False, True])
def test_what_is_collected_meanwhile_is_missing_only_where_others_need_it(directory_store: Store, needed: bool) -> None:
    old, _ = fill(directory_store)
    chunk = piece(NEW, 2) if needed else piece(OLD, 8)
    collecting = Collecting(directory_store.bucket)
    collecting.doomed = (manifest_key("m", digest_of(old)), chunk_key(chunk))
    checked = fsck(None, Store(collecting), limits=Limits(requests=1, workers=1))
    assert [item.name for item in checked.missing.items] == ([named(chunk)] if needed else [])
    assert checked.left == needed


@pytest.mark.parametrize("which", [0, 1])
def test_a_chunk_that_two_versions_lack_stays_missing_when_one_of_them_is_collected(
    directory_store: Store, which: int
) -> None:
    versions = sorted(map(digest_of, fill(directory_store)))
    put_model(directory_store, {"org/model": {"config.json": b"{2}"}})  # so that no ref names those two any more
    shared = piece(NEW, 2)
    assert shared == piece(OLD, 2)
    collecting = Collecting(directory_store.bucket)
    collecting.doomed = (manifest_key("m", versions[which]), chunk_key(shared))
    # One request at a time: the inventory holds the version whose digest is the lower one for who needs the chunk.
    checked = fsck(None, Store(collecting), limits=Limits(requests=1, workers=1))
    assert [item.name for item in checked.missing.items] == [named(shared)]
    assert checked.missing.items[0].needed_by.startswith(f"m@{named(versions[1 - which])}")
