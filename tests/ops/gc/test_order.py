"""What a collector does first and last: wherever it ends, and whatever comes between two steps, nothing is lost."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cas import events
from cas.bucket import Stored
from cas.bucket.object_store import ObjectBucket
from cas.errors import Transient
from cas.host import Limits
from cas.ops.gc import collector, sweep
from cas.ops.gc.erase import Eraser
from cas.refs.reference import Reference, log_of
from cas.store.lease_entries import Lease, LeaseLost
from tests.support.clock import LeaseClock
from tests.support.collecting import AT_ONCE, Models, dangling

LEASE = "leases/0123456789abcdef"
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_POLL", 0.01)


def condemned(models: Models) -> str:
    """Publish two versions and condemn the first, which is returned."""
    old = models.publish("old")
    models.publish("new")
    assert models.collect(keep=1).condemned_versions == 1
    return old


def before_erase(monkeypatch: pytest.MonkeyPatch, then: Callable[[str], None]) -> None:
    """Call a function with the key of each object that is about to be deleted."""
    erase = ObjectBucket.erase

    def hooked(self: ObjectBucket, stored: Stored) -> None:
        then(stored.key)
        erase(self, stored)

    monkeypatch.setattr(ObjectBucket, "erase", hooked)


def test_what_is_live_is_read_after_the_last_publisher_ended(local: Models) -> None:
    old = condemned(local)
    lease = Lease(local.store, LEASE, "move m:latest", 600)
    lease.write()

    def listen(event: events.Event) -> None:
        if event == events.Phase("wait") and not lease.lapsed:
            log_of(local.store, Reference("m", tag="latest")).append(old, "rollback")
            lease.write(seconds=0)

    done = local.collect(keep=1, wait=60, on_event=listen)
    assert (done.swept_versions, done.put_off) == (0, "")
    assert dangling(local.store, keep=1) == []
    assert local.restored("m") == b"old" * 1000


@pytest.mark.parametrize("moment", ["before the mark", "after the mark"])
def test_a_lease_that_was_taken_since_the_run_began_counts(
    local: Models, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    condemned(local)
    before, put, taken = local.objects(), ObjectBucket.put, []

    def overtaken(self: ObjectBucket, key: str, *words: Any, **options: Any) -> bool:
        done = moment == "after the mark" and put(self, key, *words, **options)
        if "-sweep-" in key and not taken:
            taken.append(key)
            Lease(local.store, LEASE, "publish m", 600).write()
        return done or put(self, key, *words, **options)

    monkeypatch.setattr(ObjectBucket, "put", overtaken)
    done = collector.gc(local.store, grace=AT_ONCE, keep=1, wait=0)
    assert "publish m" in done.put_off
    assert (done.condemned_versions, done.condemned_chunks, done.waiting) == (0, 0, 1), "it stays condemned since then"
    assert done.due
    assert taken
    assert local.objects() == before


@pytest.mark.parametrize(("wait", "swept"), [(0, 0), (500, 0), (700, 1)])
def test_a_lease_that_runs_out_while_a_sweep_waits_is_not_waited_for_any_more(
    local: Models, monkeypatch: pytest.MonkeyPatch, wait: int, swept: int
) -> None:
    condemned(local)
    lease = Lease(local.store, LEASE, "publish m", 600)
    lease.write()
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += 10

    monkeypatch.setattr(sweep, "time", SimpleNamespace(monotonic=lambda: passed[0], sleep=sleep))
    done = local.collect(keep=1, wait=wait)
    assert (done.swept_versions, bool(done.put_off)) == (swept, not swept)
    assert passed[0] <= wait


def test_a_publisher_that_waits_for_the_sweep_is_not_waited_for(local: Models) -> None:
    condemned(local)
    Lease(local.store, LEASE, "publish m", 600).write(waits=True)
    done = local.collect(keep=1, wait=0)
    assert (done.swept_versions, done.put_off) == (1, "")


def test_the_mark_of_a_sweep_is_written_before_leases_are_listed_and_ends_last(
    local: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    condemned(local)
    order: list[str] = []
    put, listing = ObjectBucket.put, ObjectBucket.list

    def recording_put(self: ObjectBucket, key: str, data: Any, *words: Any, **options: Any) -> bool:
        if "-sweep-" in key:
            seconds = json.loads(bytes(data))["seconds"]
            assert seconds in (0, 600), "a mark counts for as long as a lease"
            order.append("mark" if seconds else "end")
        return put(self, key, data, *words, **options)

    def recording_list(self: ObjectBucket, prefix: str) -> Any:
        if prefix == "leases" or (prefix.startswith(("refs", "manifests")) and "mark" in order):
            order.append(prefix.partition("/")[0])
        return listing(self, prefix)

    monkeypatch.setattr(ObjectBucket, "put", recording_put)
    monkeypatch.setattr(ObjectBucket, "list", recording_list)
    before_erase(monkeypatch, lambda key: order.append(f"delete {key.partition('/')[0]}"))
    local.collect(keep=1)
    steps = [step for number, step in enumerate(order) if number == 0 or step != order[number - 1]]
    until_end = steps[: steps.index("end") + 1]
    assert until_end == [
        "delete gc", "mark", "leases", "refs", "manifests", "delete manifests", "delete chunks", "delete gc", "end"
    ]  # fmt: skip


@pytest.mark.parametrize("number", [1, 2])
def test_manifests_go_before_their_chunks(local: Models, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    old, older = local.publish("old"), local.publish("older")
    new = local.publish("new")
    needed = {version: local.needed(version) for version in (old, older, new)}
    assert local.collect(keep=1).condemned_versions == 2
    left = [number]

    def fail(key: str) -> None:
        if key.startswith(("manifests", "chunks")):
            left[0] -= 1
            if left[0] < 0:
                raise Transient(f"delete {key}: 503 SlowDown")

    before_erase(monkeypatch, fail)
    with pytest.raises(Transient):
        local.collect(keep=1, limits=Limits(requests=1))
    assert {chunk for version in local.versions() for chunk in needed[version]} <= local.chunks()
    monkeypatch.undo()
    local.collect(keep=1)
    assert local.versions() == {new}
    assert local.chunks() == needed[new]


def test_the_list_of_what_is_condemned_outlives_a_sweep_that_fails(
    local: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    condemned(local)

    def fail(key: str) -> None:
        if key.startswith("chunks"):
            raise Transient(f"delete {key}: 503 SlowDown")

    before_erase(monkeypatch, fail)
    with pytest.raises(Transient):
        local.collect(keep=1)
    monkeypatch.undo()
    assert local.collect(keep=1).swept_chunks == 1, "the next run goes on where this one ended"


@pytest.mark.parametrize(
    ("at", "number"), [("manifests", 1), ("manifests", 2), ("chunks", 1), ("chunks", 2), ("gc", 1)]
)
def test_a_collector_that_sleeps_between_two_deletions_deletes_no_more(
    local: Models, monkeypatch: pytest.MonkeyPatch, at: str, number: int
) -> None:
    clock = LeaseClock(monkeypatch)
    for note in ("old", "older", "new"):
        local.publish(note)
    assert local.collect(keep=1).condemned_chunks == 2
    deleted: list[str] = []

    def sleep(key: str) -> None:
        if not key.endswith("-probe.json"):
            deleted.append(key.partition("/")[0])
            if deleted[-1] == at and deleted.count(at) == number:
                clock.now += 600

    before_erase(monkeypatch, sleep)
    with pytest.raises(LeaseLost, match="cas gc: this machine slept"):
        local.collect(keep=1, limits=Limits(requests=1))
    assert deleted.count(at) == number
    assert deleted[-1] == at, "nothing was deleted after it"


class TestErasing:
    """Buckets that keep versions: a fake listing, whose deletions are recorded."""

    @pytest.fixture
    def deleted(self, local: Models, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        versions = [
            Stored("chunks/00/a", 10, NOW, "a2", current=True),
            Stored("chunks/00/a", 10, NOW - datetime.timedelta(hours=1), "a1", current=False),
            Stored("chunks/00/a", 10, NOW - datetime.timedelta(hours=2), "a0", current=False),
            Stored("chunks/00/b", 10, NOW, "b1", current=True),
            Stored("chunks/00/b", 10, NOW - datetime.timedelta(hours=1), "b0", current=False),
            Stored("chunks/00/c", 10, NOW, "c0", current=True),
        ]
        deleted: list[str] = []
        monkeypatch.setattr(ObjectBucket, "keeps_versions", lambda self, key: True)
        monkeypatch.setattr(ObjectBucket, "stored", lambda self, prefix: list(versions))
        monkeypatch.setattr(ObjectBucket, "erase", lambda self, stored: deleted.append(stored.version))
        return deleted

    def eraser(self, local: Models) -> Eraser:
        return Eraser(local.store, "gc/probe", Limits(requests=1))

    def test_older_versions_go_before_the_current_one(self, local: Models, deleted: list[str]) -> None:
        eraser = self.eraser(local)
        assert eraser.erase("chunks/00", ["chunks/00/a", "chunks/00/b"]) == 2
        assert sorted(deleted[:3]) == ["a0", "a1", "b0"]
        assert sorted(deleted[3:]) == ["a2", "b1"]
        assert (eraser.objects, eraser.freed) == (5, 50)

    @pytest.mark.parametrize(("seconds", "spared"), [(-1, True), (0, True), (1, False)])
    def test_what_was_written_at_the_boundary_or_later_is_spared(
        self, local: Models, deleted: list[str], seconds: int, spared: bool
    ) -> None:
        before = NOW + datetime.timedelta(seconds=seconds)
        eraser = self.eraser(local)
        assert eraser.erase("chunks/00", ["chunks/00/a", "chunks/00/c"], before=before) == (0 if spared else 2)
        assert sorted(deleted) == (["a0", "a1"] if spared else ["a0", "a1", "a2", "c0"])

    def test_it_is_checked_before_each_deletion(self, local: Models, deleted: list[str]) -> None:
        checks = [0]

        def check() -> None:
            checks[0] += 1
            if checks[0] == 3:
                raise LeaseLost("cas gc: this machine slept")

        with pytest.raises(LeaseLost):
            self.eraser(local).erase("chunks/00", ["chunks/00/a", "chunks/00/b"], check=check)
        assert len(deleted) == 2
