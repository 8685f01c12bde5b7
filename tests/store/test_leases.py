"""A lease counts by the right clock, is renewed whatever fails, and never starts beside a sweep."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cas import events
from cas.bucket import Kind
from cas.bucket.object_store import ObjectBucket
from cas.errors import Transient
from cas.store import layout
from cas.store.lease_entries import ActiveLease, Lease, LeaseLost, active_leases, obsolete_entries
from cas.store.leases import LazyLease, hold_lease
from cas.store.store import Store, open_store
from tests.support.clock import LeaseClock

ID = "leases/0123456789abcdef"
SECONDS = 100


@pytest.fixture
def store() -> Store:
    """A store in memory."""
    return open_store("memory:")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> LeaseClock:
    return LeaseClock(monkeypatch)


def lease_of(store: Store, seconds: int = SECONDS) -> Lease:
    """Return a lease that no thread renews."""
    return Lease(store, ID, "publish m", seconds)


def in_force(store: Store, folder: str = layout.LEASES) -> list[ActiveLease]:
    """Return the leases (or sweeps) that are active now, by the server's clock."""
    listed = store.bucket.list(folder)
    return active_leases(store, listed, lambda: max(entry.modified for entry in listed))


def sweep_of(store: Store, run: str) -> Lease:
    """Return the mark of a sweep that no thread renews."""
    return Lease(store, layout.sweep_id(f"20261123T120000Z-{run}"), "cas gc", 600)


def after_put(monkeypatch: pytest.MonkeyPatch, then: Callable[[str], None]) -> None:
    """Call a function with the key of each object that was written."""
    put = ObjectBucket.put

    def hooked(self: ObjectBucket, key: str, *words: Any, **options: Any) -> bool:
        done = put(self, key, *words, **options)
        then(key)
        return done

    monkeypatch.setattr(ObjectBucket, "put", hooked)


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


class Script(threading.Event):
    """Stands for the event that ends the waiting: each wait calls the next function, and the last one ends it."""

    def __init__(self, *steps: Callable[[], None]) -> None:
        super().__init__()
        self.steps = list(steps)

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == 2.0
        if not self.steps:
            return True
        self.steps.pop(0)()
        return False


class TestAPublisher:
    def test_that_waited_does_not_wait_any_more_once_it_works(self, store: Store) -> None:
        sweep = sweep_of(store, "00000001")
        sweep.write()
        seen: list[bool] = []

        def end() -> None:
            seen.append(in_force(store)[0].waits)
            sweep.write(seconds=0)

        with hold_lease(store, "publish m", abandoned=Script(end)):
            (lease,) = in_force(store)
            assert (seen, lease.waits) == ([True], False), "a collector counts it"
        assert in_force(store) == []

    def test_that_waited_waits_for_a_sweep_that_began_meanwhile(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = sweep_of(store, "00000001"), sweep_of(store, "00000002")
        first.write()
        steps: list[str] = []

        def begin_second(key: str) -> None:
            # The second collector lists the leases between the end of the first sweep and this entry.
            if key.startswith("leases/") and steps == ["first ended"]:
                steps.append("second began")
                second.write()

        def end_first() -> None:
            first.write(seconds=0)
            steps.append("first ended")

        def end_second() -> None:
            assert in_force(store)[0].waits, "or the second collector waits for it, and it for the collector"
            steps.append("second ended")
            second.write(seconds=0)

        after_put(monkeypatch, begin_second)
        told: list[events.Event] = []
        with hold_lease(store, "publish m", told.append, Script(end_first, end_second)):
            assert steps == ["first ended", "second began", "second ended"]
            assert in_force(store)[0].waits is False
        assert told.count(events.Phase("wait")) == 1, "the user is told once"
        assert len([event for event in told if isinstance(event, events.Noted)]) == 1

    def test_that_is_abandoned_while_it_waits_starts_nothing(self, store: Store) -> None:
        sweep_of(store, "00000001").write()
        with pytest.raises(LeaseLost, match="was not waited for"), hold_lease(store, "publish m", abandoned=Script()):
            pytest.fail("it worked beside a sweep")
        assert in_force(store) == []

    def test_writes_its_lease_before_it_looks_for_sweeps(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        order: list[str] = []
        listing = ObjectBucket.list

        def listed(self: ObjectBucket, prefix: str) -> Any:
            order.append(f"list {prefix}")
            return listing(self, prefix)

        monkeypatch.setattr(ObjectBucket, "list", listed)
        after_put(monkeypatch, lambda key: order.append(f"put {key.partition('/')[0]}"))
        with hold_lease(store, "publish m"):
            assert order == ["put leases", "list gc"]

    @pytest.mark.parametrize("minutes", [-10, 10])
    @pytest.mark.parametrize("age", [0, 599, 601])
    def test_judges_sweeps_by_the_servers_clock(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, minutes: int, age: int
    ) -> None:
        head, listing = ObjectBucket.head, ObjectBucket.list
        off = datetime.timedelta(minutes=minutes)

        def shifted_list(self: ObjectBucket, prefix: str) -> Any:
            older = datetime.timedelta(seconds=age) if prefix == layout.COLLECTIONS else datetime.timedelta(0)
            return [entry._replace(modified=entry.modified + off - older) for entry in listing(self, prefix)]

        def shifted_head(self: ObjectBucket, key: str) -> Any:
            entry = head(self, key)
            return entry._replace(modified=entry.modified + off)

        monkeypatch.setattr(ObjectBucket, "head", shifted_head)
        monkeypatch.setattr(ObjectBucket, "list", shifted_list)
        sweep = sweep_of(store, "00000001")
        sweep.write()
        waited: list[bool] = []

        def end() -> None:
            waited.append(True)
            sweep.write(seconds=0)

        with hold_lease(store, "publish m", abandoned=Script(end)):
            assert bool(waited) is (age < 600)


class TestALazyLease:
    def test_is_not_taken_before_it_is_asked_for(self, store: Store) -> None:
        with LazyLease(store, "publish m", events.ignore) as lease:
            lease.check()
            assert store.bucket.list(layout.LEASES) == []
            assert lease.start_acquiring()
            assert not lease.start_acquiring()
            lease.check()
            assert len(in_force(store)) == 1
        assert in_force(store) == []

    def test_is_taken_before_the_first_chunk_is_relied_on(self, store: Store) -> None:
        with LazyLease(store, "publish m", events.ignore) as lease:
            assert not lease.is_condemned("0" * 64)
            assert len(in_force(store)) == 1

    def test_tells_that_it_lapsed(self, store: Store, clock: LeaseClock) -> None:
        with LazyLease(store, "publish m", events.ignore) as lease:
            lease.start_acquiring()
            lease.check()
            clock.now += 600
            with pytest.raises(LeaseLost):
                lease.check()

    def test_that_waits_for_a_sweep_is_given_up_at_the_end_of_the_context(self, store: Store) -> None:
        sweep_of(store, "00000001").write()
        waits = threading.Event()
        with LazyLease(store, "publish m", lambda event: waits.set()) as lease:
            lease.start_acquiring()
            assert waits.wait(30)
        assert in_force(store) == []
