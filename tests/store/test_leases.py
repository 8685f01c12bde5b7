"""A lease counts by the right clock, is renewed whatever fails."""

from __future__ import annotations

import datetime
import threading
from typing import Any

import pytest

from cas.bucket import Kind
from cas.bucket.object_store import ObjectBucket
from cas.errors import Transient
from cas.store import layout
from cas.store.lease_entries import Lease, LeaseLost, active_leases, obsolete_entries
from cas.store.leases import hold_lease
from cas.store.store import Store, open_store
from tests.store.lease_scene import ID, SECONDS, after_put, in_force, lease_of
from tests.support.clock import LeaseClock


@pytest.fixture
def store() -> Store:
    """A store in memory."""
    return open_store("memory:")


class TestTheHolder:
    @pytest.mark.parametrize(("passed", "holds"), [(0, True), (49.9, True), (50.1, False), (99, False), (600, False)])
    def test_trusts_an_entry_for_half_of_the_time_that_others_do(
        self, store: Store, clock: LeaseClock, passed: float, holds: bool
    ) -> None:
        lease = lease_of(store)
        lease.write()
        clock.now += passed
        if holds:
            lease.check()
        else:
            with pytest.raises(LeaseLost, match=r"for more than 50 s, .*: run the same command again"):
                lease.check()

    def test_renews_long_before_it_stops_to_trust(self, store: Store, clock: LeaseClock) -> None:
        waits: list[float | None] = []

        class Ended(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                waits.append(timeout)
                clock.now += timeout or 0
                return len(waits) == 20

        lease = lease_of(store)
        lease.write()
        lease._ended = Ended()
        lease._renew()
        assert set(waits) == {SECONDS / 8}
        lease.check()
        assert len(store.bucket.list(layout.LEASES)) == 20

    def test_counts_from_the_beginning_of_a_slow_write(
        self, store: Store, clock: LeaseClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def slow(_: str) -> None:
            clock.now += 60

        after_put(monkeypatch, slow)
        lease = lease_of(store)
        lease.write()
        with pytest.raises(LeaseLost):
            lease.check()

    @pytest.mark.parametrize("passed", [51, 600])
    def test_is_told_that_it_lapsed_though_it_was_renewed_since(
        self, store: Store, clock: LeaseClock, passed: float
    ) -> None:
        lease = lease_of(store)
        lease.write()
        clock.now += passed
        lease.write()  # as the thread does when the machine wakes up
        for _ in range(2):
            with pytest.raises(LeaseLost):
                lease.check()

    def test_is_told_that_the_renewal_itself_took_too_long(
        self, store: Store, clock: LeaseClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lease = lease_of(store)
        lease.write()
        clock.now += 40

        def slow(_: str) -> None:
            clock.now += 20  # 60 s after the first entry, and 20 s after the second one was begun

        after_put(monkeypatch, slow)
        lease.write()
        with pytest.raises(LeaseLost):
            lease.check()

    def test_keeps_a_lease_that_is_always_renewed_in_time(self, store: Store, clock: LeaseClock) -> None:
        lease = lease_of(store)
        for _ in range(30):
            lease.write()
            clock.now += 49
            lease.check()

    def test_goes_on_renewing_when_a_renewal_fails(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        put, tried, renewed = ObjectBucket.put, [0], threading.Event()

        def failing(self: ObjectBucket, key: str, *words: Any, **options: Any) -> bool:
            tried[0] += 1
            if tried[0] == 2:
                raise Transient(f"put {key}: 503 SlowDown")
            if tried[0] > 2:
                renewed.set()
            return put(self, key, *words, **options)

        monkeypatch.setattr(ObjectBucket, "put", failing)
        with lease_of(store, seconds=1):
            assert renewed.wait(30), "one failed renewal ended all renewing"

    def test_ends_the_lease_at_the_end_of_the_context(self, store: Store) -> None:
        with lease_of(store):
            assert [lease.id for lease in in_force(store)] == [ID]
        assert in_force(store) == []

    def test_ends_a_lease_even_when_its_last_write_fails(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        with lease_of(store):

            def failing(*_: object, **__: object) -> bool:
                raise Transient("503 SlowDown")

            monkeypatch.setattr(ObjectBucket, "put", failing)


class TestOthers:
    @pytest.mark.parametrize(("age", "counts"), [(99, True), (101, False)])
    def test_trust_an_entry_for_all_its_seconds_by_the_servers_clock(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, age: int, counts: bool
    ) -> None:
        lease_of(store).write()
        listed = store.bucket.list(layout.LEASES)
        (entry,) = listed
        found = active_leases(store, listed, lambda: entry.modified + datetime.timedelta(seconds=age))
        assert [lease.id for lease in found] == [ID] * counts

    def test_go_by_the_last_entry_alone(self, store: Store) -> None:
        lease = lease_of(store)
        lease.write(waits=True)
        lease.write()
        lease.write(waits=False)
        (found,) = in_force(store)
        assert (found.purpose, found.waits) == ("publish m", False)
        lease.write(seconds=0)
        assert in_force(store) == []

    def test_trust_an_entry_that_cannot_be_read_for_ten_minutes(self, store: Store) -> None:
        store.bucket.put(f"{ID}-000001.json", b"<html>", Kind.DOCUMENT)
        listed = store.bucket.list(layout.LEASES)
        at = listed[0].modified
        for seconds, counts in ((599, True), (601, False)):
            found = active_leases(store, listed, lambda seconds=seconds: at + datetime.timedelta(seconds=seconds))
            assert bool(found) is counts

    def test_do_not_take_a_lease_for_ended_when_its_entry_cannot_be_fetched(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lease_of(store).write()

        def failing(self: ObjectBucket, key: str, limit: int) -> Any:
            raise Transient(f"get {key}: 503 SlowDown")

        monkeypatch.setattr(ObjectBucket, "get", failing)
        with pytest.raises(Transient):
            in_force(store)

    @pytest.mark.parametrize(("given", "seconds"), [("", 600), ("30", 30)])
    def test_trust_a_lease_for_as_long_as_the_user_says(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, given: str, seconds: int
    ) -> None:
        monkeypatch.setenv("CAS_LEASE_SECONDS", given)
        with hold_lease(store, "publish m"):
            (lease,) = in_force(store)
            assert (lease.until - lease.written).total_seconds() == seconds


class TestACollector:
    def test_clears_what_has_no_effect_and_the_last_entries_after_the_others(self, store: Store) -> None:
        for number, ending in ((1, None), (2, 0), (3, None)):
            lease = Lease(store, f"leases/{number:016x}", "publish m", 600)
            lease.write()
            lease.write(seconds=ending)
        Lease(store, f"leases/{4:016x}", "publish m", 10).write()
        store.bucket.put("leases/notes.txt", b"?", Kind.DOCUMENT)
        at = max(entry.modified for entry in store.bucket.list(layout.LEASES))
        followed, ended = obsolete_entries(store, layout.LEASES, at + datetime.timedelta(seconds=11))
        assert followed == [f"leases/{number:016x}-000001.json" for number in (1, 2, 3)]
        assert ended == [f"leases/{2:016x}-000002.json", f"leases/{4:016x}-000001.json"]
