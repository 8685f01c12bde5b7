"""A collector that cannot see everything, or is not alone, deletes nothing and says why."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cas.bucket import Entry, Kind, open_bucket
from cas.bucket.directory.bucket import DirectoryBucket
from cas.errors import AccessDenied, CasError, FormatError, IntegrityError, StoreError
from cas.ops.gc import collector
from cas.refs.reference import Reference, log_of
from cas.store import condemned
from cas.store.layout import manifest_key
from cas.store.lease_entries import Lease
from cas.store.store import Store
from tests.support.buckets import HURRIED, proxied
from tests.support.collecting import AT_ONCE, Models
from tests.support.in_process import call_cas
from tools.servers.fault_proxy import Fault
from tools.servers.fault_proxy import Kind as Faulty
from tools.servers.seaweed import SeaweedFS

Damage = Callable[[Models, str, str], None]


def _manifest_altered(models: Models, old: str, new: str) -> None:
    models.store.bucket.put(manifest_key("m", new), b"{}", Kind.MANIFEST, overwrite=True)


def _manifest_gone(models: Models, old: str, new: str) -> None:
    models.store.bucket.delete(manifest_key("m", new))


def _history_altered(models: Models, old: str, new: str) -> None:
    models.store.bucket.put(manifest_key("m", old), b"{}", Kind.MANIFEST, overwrite=True)


def _entry_malformed(models: Models, old: str, new: str) -> None:
    log = log_of(models.store, Reference("m", tag="latest"))
    for name in log.names()[-1:]:
        models.store.bucket.put(f"{log.ref.prefix}/{name}", b"{}", Kind.DOCUMENT, overwrite=True)


def _list_malformed(models: Models, old: str, new: str) -> None:
    (one,) = condemned.condemned_sets(models.store.bucket.list("gc"))
    models.store.bucket.put(one.keys[0], b'{"version":2}', Kind.DOCUMENT, overwrite=True)


@pytest.mark.parametrize(
    ("damage", "error", "says"),
    [
        (_manifest_altered, IntegrityError, "cannot be read, so what it needs is not known: nothing was deleted"),
        (_manifest_gone, IntegrityError, "m:latest names .* which is not in .*: nothing was deleted"),
        (_history_altered, IntegrityError, "history of m:latest"),
        (_entry_malformed, FormatError, "refs/tags/m/latest/.* is malformed .*: set m:latest again; then delete that"),
        (_list_malformed, FormatError, "gc/.* is malformed .*: remove that object"),
    ],
)
def test_what_cannot_be_read_stops_it(local: Models, damage: Damage, error: type[CasError], says: str) -> None:
    local.publish("garbage", "other")
    log_of(local.store, Reference("other", tag="latest")).append(None, "untag")
    old, new = local.publish("old"), local.publish("new")
    local.collect()
    damage(local, old, new)
    before = local.objects()
    for _ in range(2):
        with pytest.raises(error, match=says):
            local.collect()
    assert local.objects() == before


def test_a_malformed_entry_that_another_followed_stops_it_until_it_is_deleted(local: Models) -> None:
    old, new = local.publish("old"), local.publish("new")
    _entry_malformed(local, old, new)
    log = log_of(local.store, Reference("m", tag="latest"))
    log.append(new, "test")
    with pytest.raises(FormatError, match=r"then delete that object, .*: nothing was deleted"):
        local.collect()
    local.store.bucket.delete(f"{log.ref.prefix}/{log.names()[-2]}")
    assert local.collect().kept_versions == 2


def test_a_history_entry_whose_version_is_gone_does_not_stop_it(local: Models) -> None:
    made = [local.publish(note) for note in "abc"]
    local.collect(keep=1)
    local.collect(keep=1)
    assert local.versions() == {made[2]}
    assert local.collect(keep=20).kept_versions == 1


def test_of_two_collectors_one_refuses(local: Models) -> None:
    local.publish("old")
    local.publish("new")
    local.collect(keep=1)
    before = local.objects()
    with Lease(local.store, "gc/20261123T120000Z-01234567-sweep", "cas gc"):
        with pytest.raises(StoreError, match=r"is collecting in .* since .*: let it end"):
            local.collect(keep=1)
        assert local.objects() == before
    assert local.collect(keep=1).swept_versions == 1


def test_a_collector_that_died_is_not_waited_for_for_ever(local: Models) -> None:
    local.publish("old")
    local.publish("new")
    local.collect(keep=1)
    mark = Lease(local.store, "gc/20261123T120000Z-01234567-sweep", "cas gc", 1)
    key = mark.write()
    with pytest.raises(StoreError, match="is collecting"):
        local.collect(keep=1)
    _age(local.store, key, 2)
    assert local.collect(keep=1).swept_versions == 1
    assert local.store.bucket.list("gc") == []


@pytest.mark.parametrize("hours", [2, -2])
def test_a_clock_that_is_off_stops_it(local: Models, hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    local.publish("old")
    local.publish("new")
    local.collect(keep=1)
    before = local.objects()
    head = DirectoryBucket.head

    def off(self: DirectoryBucket, key: str) -> Entry:
        entry = head(self, key)
        return entry._replace(modified=entry.modified + datetime.timedelta(hours=hours))

    monkeypatch.setattr(DirectoryBucket, "head", off)
    with pytest.raises(StoreError, match=r"the clock of .* says .*, this machine's .*: set the one that is wrong"):
        local.collect(keep=1)
    assert local.objects() == before


@pytest.mark.parametrize(("identity", "permission"), [("reader", "PutObject"), ("writer", "ListBucketVersions")])
def test_a_key_that_may_not_delete_is_told_at_once(
    seaweed: SeaweedFS,
    s3_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    identity: str,
    permission: str,
) -> None:
    models = Models(Store(open_bucket(s3_url)), tmp_path)
    models.publish("old")
    models.publish("new")
    models.collect(keep=1)
    models.settle()
    before = models.objects()
    access, secret = seaweed.credentials(identity)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    with pytest.raises(AccessDenied, match=permission):
        collector.gc(Store(open_bucket(s3_url, HURRIED)), grace=AT_ONCE, keep=1)
    done = call_cas("--store", s3_url, "gc", "--grace", "0s", "--force", "--keep", "1")
    assert done.returncode == 6
    assert permission in done.stderr
    assert models.objects() == before


def test_a_refused_deletion_stops_it_before_it_condemns(
    seaweed: SeaweedFS, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Models(Store(open_bucket(s3_url)), tmp_path)
    models.publish("old")
    models.publish("new")
    models.settle()
    before = models.objects()
    with proxied(seaweed, monkeypatch) as proxy:
        for method in ("DELETE", "POST"):  # of one object, or of several
            proxy.inject(Fault(Faulty.STATUS, method=method, status=403, code="AccessDenied", times=None))
        with pytest.raises(AccessDenied, match="DeleteObject"):
            collector.gc(Store(open_bucket(s3_url, HURRIED)), grace=AT_ONCE, keep=1)
    assert models.objects() == before
    assert condemned.condemned_sets(models.store.bucket.list("gc")) == []


def _age(store: Store, key: str, seconds: float) -> None:
    """Makes an object of a directory store older."""
    path = Path(store.url, key)
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
