"""Asking twice: only at the end, only for what is far behind the others, and never where all are equally slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import cas
from cas.bucket import open_bucket
from cas.bucket.body import Body
from cas.ops.restore.receipts import ReceiptWriter
from cas.store.fetch import Second
from cas.store.second_requests import SecondRequests
from cas.store.store import Store
from tests.ops.restore.test_receipts import only
from tests.support.buckets import HURRIED
from tests.support.models import KIB, REPO, check, noise, put_model
from tools.servers.fault_proxy import Fault, FaultProxy
from tools.servers.fault_proxy import Kind as Faulty
from tools.servers.relay import Hold, Manner, Relay

SIZE = 8_000_000
FAST = 10_000_000  # bytes per second
SLOW = 300_000


class Transfer:
    """Bodies that come at rates that the test sets, by a clock that the test sets.

    Attributes:
        second: what is tested.
        now: seconds.
        asked: names of the bodies for which a second request was made, in order.
        second_rate: at which the second requests bring the rest.
    """

    def __init__(self) -> None:
        self.now = 100.0
        self.second = SecondRequests(lambda: self.now)
        self.asked: list[str] = []
        self.second_rate: float = FAST
        self.bodies: dict[str, Body] = {}
        self._rates: dict[str, float] = {}
        self._contexts: dict[str, ExitStack] = {}

    def begin(self, name: str, rate: float, *, direct: bool = True, answered: bool = True) -> None:
        """Request a body that comes at `rate`; direct: by a reader that can ask twice; answered: its size is known."""
        stack = ExitStack()
        body = stack.enter_context(self.second.body())
        if direct:
            body.offer(memoryview(bytearray(SIZE)), lambda: self._ask(name))
        if answered:
            body.is_of(SIZE)
        self.bodies[name], self._rates[name], self._contexts[name] = body, rate, stack

    def _ask(self, name: str) -> None:
        self.asked.append(name)
        self._rates[name] = self.second_rate

    def end(self, name: str) -> None:
        body = self.bodies.pop(name)
        body.is_of(SIZE)
        body.arrived(SIZE, SIZE - body.done)
        self._contexts[name].close()

    def whole(self, rate: float, count: int = 1) -> None:
        """Let bodies begin and end at `rate`."""
        for _ in range(count):
            self.begin("whole", rate)
            self.now += SIZE / rate
            self.end("whole")

    def passes(self, seconds: float, tick: float = 0.05) -> list[str]:
        """Let time pass while an idle thread looks; return the bodies that it asked for twice meanwhile."""
        before = len(self.asked)
        for _ in range(round(seconds / tick)):
            self.now += tick
            for name, body in self.bodies.items():
                come = min(SIZE, body.done + int(self._rates[name] * tick))
                body.arrived(come, come - body.done)
            with self.second._change:
                while (again := self.second.look()) is not None:
                    again()
        return self.asked[before:]


@pytest.fixture
def transfer() -> Iterator[Transfer]:
    transfer = Transfer()
    yield transfer
    for stack in transfer._contexts.values():
        stack.close()


class TestWhenToAsk:
    def test_a_body_far_behind_its_peers_is_asked_for_once_more(self, transfer: Transfer) -> None:
        transfer.begin("slow", SLOW)
        transfer.whole(FAST, 10)
        assert transfer.passes(1) == ["slow"]

    def test_all_that_are_far_behind_at_one_time(self, transfer: Transfer) -> None:
        transfer.begin("slow", SLOW)
        transfer.begin("slower", SLOW / 2)
        transfer.whole(FAST, 10)
        assert transfer.passes(0.4) == ["slower", "slow"]

    def test_not_while_a_healthy_one_is_in_flight(self, transfer: Transfer) -> None:
        transfer.whole(FAST, 10)
        transfer.begin("slow", SLOW)
        transfer.now += 2
        transfer.begin("healthy", FAST)
        assert transfer.passes(0.7) == []
        transfer.end("healthy")
        assert transfer.passes(0.7) == ["slow"]

    def test_one_that_was_starved_and_recovers_is_left(self, transfer: Transfer) -> None:
        transfer.begin("starved", 0)
        transfer.whole(FAST, 10)
        transfer._rates["starved"] = FAST  # the others have left the link to it
        assert transfer.passes(0.8) == []

    def test_what_it_got_while_others_shared_the_link_does_not_count(self, transfer: Transfer) -> None:
        transfer.begin("starved", 0)
        transfer.whole(FAST, 10)
        transfer.begin("healthy", FAST)
        assert transfer.passes(0.6) == []
        transfer.end("healthy")
        transfer._rates["starved"] = FAST
        assert transfer.passes(0.8) == []

    @pytest.mark.parametrize("rate", [SLOW, FAST])
    def test_none_where_all_are_alike(self, transfer: Transfer, rate: float) -> None:
        transfer.whole(rate, 10)
        for name in "abc":
            transfer.begin(name, rate)
        assert transfer.passes(0.9 * SIZE / rate) == []

    def test_none_before_any_body_has_come(self, transfer: Transfer) -> None:
        transfer.begin("first", SLOW)
        assert transfer.passes(10) == []

    def test_one_that_is_nearly_done_is_left(self, transfer: Transfer) -> None:
        transfer.begin("slow", SLOW)
        transfer.bodies["slow"].arrived(SIZE - 60_000, SIZE - 60_000)
        transfer.whole(FAST, 10)
        assert transfer.passes(0.2) == []

    def test_a_body_without_an_answer_yet(self, transfer: Transfer) -> None:
        transfer.begin("silent", 0, answered=False)
        transfer.whole(FAST, 10)
        assert transfer.passes(0.5) == ["silent"]

    def test_a_young_one_may_catch_up(self, transfer: Transfer) -> None:
        transfer.whole(FAST, 10)
        transfer.begin("young", 0)
        assert transfer.passes(1.1) == []
        assert transfer.passes(0.5) == ["young"]

    def test_the_second_request_may_be_slow_too(self, transfer: Transfer) -> None:
        transfer.second_rate = SLOW
        transfer.begin("slow", SLOW)
        transfer.whole(FAST, 10)
        assert transfer.passes(10) == ["slow"] * 4, "four times at most"

    def test_what_obstore_reads_is_not_asked_for_twice_and_keeps_no_other_from_it(self, transfer: Transfer) -> None:
        transfer.begin("by obstore", 0, direct=False)
        transfer.begin("slow", SLOW)
        transfer.whole(FAST, 10)
        assert transfer.passes(1) == ["slow"]

    def test_a_thread_leaves_when_nothing_is_in_flight(self, transfer: Transfer) -> None:
        transfer.second.make()
        assert transfer.asked == []


def test_what_was_asked_twice_is_counted(transfer: Transfer) -> None:
    transfer.begin("slow", SLOW)
    body = transfer.bodies["slow"]
    body.arrived(1000, 1000)
    body.asked = 1
    body.begin("second", lambda: None, is_later=True)
    body.fill("second", 900, memoryview(bytes(SIZE - 900)))
    body.end("second")
    transfer.end("slow")
    assert (transfer.second.requests, transfer.second.won, transfer.second.twice) == (1, 1, 100)


class TestRealServers:
    """A relay in front of the real server holds connections back that never go on."""

    CHUNKS = 6
    FILES = {"model.bin": noise(CHUNKS * 64 * KIB, 1)}  # noqa: RUF012 (read only)

    @pytest.fixture
    def restore(
        self, proxy: FaultProxy, s3_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> Iterator[Callable[[Hold], tuple[cas.Restored, Store]]]:
        store = Store(open_bucket(s3_url, HURRIED))
        put_model(store, {REPO: self.FILES})
        address = urlsplit(proxy.url)
        with ExitStack() as relays:

            def restore(hold: Hold) -> tuple[cas.Restored, Store]:
                manner = Manner(hold=hold)
                relay = relays.enter_context(Relay(str(address.hostname), int(address.port or 0), lambda _: manner))
                monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
                remote = Store(open_bucket(s3_url))
                with ReceiptWriter(remote) as writer:
                    restored = cas.restore("m", remote, cache_dir=tmp_path / "hub", on_event=writer.listen)
                    writer.finished(restored)
                return restored, store

            yield restore

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_body_that_stops_comes_on_another_connection(
        self, restore: Callable[[Hold], tuple[cas.Restored, Store]], times: int
    ) -> None:
        hold = Hold(40 * KIB, times)
        restored, store = restore(hold)
        check(restored, self.FILES)
        assert restored.second_requests == Second(times, times, 0), "the rest, and not what had come"
        assert hold.held == times
        assert not hold.released.is_set()
        assert only(store).second_requests == restored.second_requests

    def test_a_server_that_knows_no_range(
        self, proxy: FaultProxy, restore: Callable[[Hold], tuple[cas.Restored, Store]]
    ) -> None:
        proxy.inject(Fault(Faulty.IGNORE_RANGE, times=None, method="GET"))
        restored, _ = restore(Hold(40 * KIB))
        check(restored, self.FILES)
        assert (restored.second_requests.requests, restored.second_requests.won) == (1, 1)
        assert restored.second_requests.bytes > 30 * KIB

    def test_the_digest_decides(self, proxy: FaultProxy, restore: Callable[[Hold], tuple[cas.Restored, Store]]) -> None:
        # The request after the first ones for each chunk is the second one for one of them.
        proxy.inject(Fault(Faulty.BIT_FLIP, method="GET", path_contains="/chunks/", after=self.CHUNKS))
        restored, _ = restore(Hold(40 * KIB))
        check(restored, self.FILES)
        assert restored.second_requests.won == 1
        chunks = [seen.fault for seen in proxy.requests if "/chunks/" in seen.path and seen.method == "GET"]
        assert chunks[self.CHUNKS :] == [Faulty.BIT_FLIP, None], "fetched anew"
