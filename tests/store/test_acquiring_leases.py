"""A lease starts beside no sweep: a publisher announces itself, looks, and waits."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cas import events
from cas.bucket.object_store import ObjectBucket
from cas.store import layout
from cas.store.lease_entries import LeaseLost
from cas.store.leases import LazyLease, hold_lease
from cas.store.store import Store, open_store
from tests.store.lease_scene import after_put, in_force, sweep_of
from tests.support.clock import LeaseClock


@pytest.fixture
def store() -> Store:
    """A store in memory."""
    return open_store("memory:")


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
        kind = type(store.bucket)
        head, listing = kind.head, kind.list
        off = datetime.timedelta(minutes=minutes)

        def shifted_list(self: ObjectBucket, prefix: str) -> Any:
            older = datetime.timedelta(seconds=age) if prefix == layout.COLLECTIONS else datetime.timedelta(0)
            return [entry._replace(modified=entry.modified + off - older) for entry in listing(self, prefix)]

        def shifted_head(self: ObjectBucket, key: str) -> Any:
            entry = head(self, key)
            return entry._replace(modified=entry.modified + off)

        monkeypatch.setattr(kind, "head", shifted_head)
        monkeypatch.setattr(kind, "list", shifted_list)
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
