"""Work in several threads begins in order, stays within its budget, and ends at the first error."""

from __future__ import annotations

import _thread
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cas.parallel import BackgroundCall, Pool, for_each


class Gauge:
    """A counter that remembers the largest value it has had."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = 0

    def add(self, amount: int) -> None:
        with self._lock:
            self.now += amount
            self.most = max(self.most, self.now)


def test_every_item_is_worked_on_once_and_begun_in_order() -> None:
    begun: list[int] = []
    for_each(begun.append, range(100), threads=1)
    assert begun == list(range(100))
    begun.clear()
    for_each(begun.append, iter(range(1000)), threads=8)
    assert sorted(begun) == list(range(1000))


def test_threads_work_at_the_same_time() -> None:
    meeting = threading.Barrier(4)
    for_each(lambda item: meeting.wait(timeout=10), range(8), threads=4)


def test_nothing_to_do_is_done_at_once() -> None:
    for_each(lambda item: pytest.fail("no item was given"), [], threads=3)
    for_each(lambda item: pytest.fail("no item was given"), [], threads=0)


@given(st.lists(st.integers(1, 12), max_size=12), st.integers(0, 10), st.integers(1, 5))
def test_the_budget_is_never_exceeded_but_by_one_alone(costs: list[int], budget: int, threads: int) -> None:
    in_use, count = Gauge(), Gauge()
    crowded: list[int] = []

    def work(cost: int) -> None:
        in_use.add(cost)
        count.add(1)
        if in_use.now > budget and count.now > 1:
            crowded.append(in_use.now)
        time.sleep(0)
        count.add(-1)
        in_use.add(-cost)

    for_each(work, costs, threads=threads, cost=lambda cost: cost, budget=budget)
    assert in_use.most <= max([budget, *costs])
    assert not crowded
    assert in_use.now == 0


def test_the_budget_is_used() -> None:
    meeting = threading.Barrier(3)
    for_each(lambda item: meeting.wait(timeout=10), range(3), threads=8, cost=lambda item: 10, budget=30)


def test_a_large_item_is_not_overtaken_for_ever() -> None:
    begun: list[int] = []
    release = threading.Event()

    def work(item: tuple[int, int]) -> None:
        begun.append(item[0])
        if item[0] == 0:
            release.wait(10)

    items = [(0, 5), (1, 10), *((index, 1) for index in range(2, 20))]
    runner = threading.Thread(target=lambda: for_each(work, items, threads=4, cost=lambda item: item[1], budget=10))
    runner.start()
    time.sleep(0.05)
    assert begun == [0]  # the small items fit, and wait behind the large one all the same
    release.set()
    runner.join(10)
    assert begun[:2] == [0, 1]


def test_the_first_error_ends_it_after_what_was_begun() -> None:
    begun, ended = Gauge(), Gauge()
    failed = threading.Event()

    def work(item: int) -> None:
        begun.add(1)
        if item == 3:
            failed.set()
            raise ValueError("three")
        failed.wait(10)
        time.sleep(0.02)
        ended.add(1)

    with pytest.raises(ValueError, match="three"):
        for_each(work, range(1000), threads=4)
    assert ended.now == begun.now - 1
    assert begun.now <= 8


@pytest.mark.parametrize("where", ["items", "cost"])
def test_an_error_beside_the_work_is_raised_too(where: str) -> None:
    def items() -> Iterator[int]:
        yield 1
        if where == "items":
            raise ValueError(where)
        yield 2

    def cost(item: int) -> int:
        if item == 2:
            raise ValueError(where)
        return 1

    with pytest.raises(ValueError, match=where):
        for_each(lambda item: None, items(), threads=4, cost=cost, budget=1)


def test_a_failure_wakes_the_thread_that_waits_for_the_budget() -> None:
    def work(item: int) -> None:
        time.sleep(0.02)
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        for_each(work, range(100), threads=4, cost=lambda item: 10, budget=10)


def test_an_interrupt_is_raised_at_once_and_nothing_new_begins() -> None:
    begun: list[int] = []
    release = threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if len(begun) == 2:
            _thread.interrupt_main()
        release.wait(20)

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        for_each(work, range(100), threads=2)
    assert time.monotonic() - started < 5
    release.set()
    time.sleep(0.1)
    assert len(begun) == 2


def test_threads_that_cannot_be_started_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    begun: list[int] = []
    release = threading.Event()

    def limited(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(0)
        start(thread)

    def work(item: int) -> None:
        begun.append(item)
        release.wait(10)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(RuntimeError, match="can't start"):
        for_each(work, range(1, 100), threads=3)
    release.set()
    time.sleep(0.1)
    assert begun in ([0], [0, 1])


def test_a_pool_gives_each_object_to_one_thread_at_a_time() -> None:
    made: list[bytearray] = []
    busy = Gauge()

    def make() -> bytearray:
        made.append(bytearray())
        return made[-1]

    pool = Pool(make, 2)

    def work(item: int) -> None:
        with pool.acquire() as acquired:
            busy.add(1)
            acquired.append(0)
            time.sleep(0.001)
            busy.add(-1)

    for_each(work, range(40), threads=8)
    assert busy.most <= 2
    assert len(made) <= 2
    assert sum(map(len, made)) == 40


def test_an_object_that_cannot_be_made_or_whose_user_fails_frees_its_slot() -> None:
    attempts: list[int] = []

    def make() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise MemoryError
        return "made"

    pool = Pool(make, 1)
    with pytest.raises(MemoryError), pool.acquire():
        pass
    with pytest.raises(ValueError, match="work"), pool.acquire():
        raise ValueError("work")
    # Had a slot been lost, this would wait for ever.
    with pool.acquire() as acquired:
        assert acquired == "made"
    assert len(attempts) == 2


def test_a_background_call_says_whether_it_has_ended() -> None:
    go = threading.Event()
    call = BackgroundCall(go.wait)
    assert not call.ends_within(0.01)
    go.set()
    assert call.ends_within(30)
    assert call.result() is True


_UNWOKEN = """
import os, signal, threading
from concurrent.futures import Future
from cas.parallel import BackgroundCall, for_each, result_of

forever = threading.Event()
# The other thread receives the signal: Python marks it for the main thread, whose wait goes on.
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
try:
    WAIT
except KeyboardInterrupt:
    os._exit(42)
"""


@pytest.mark.parametrize(
    "wait",
    [
        "result_of(Future())",
        "BackgroundCall(forever.wait).result()",
        "for_each(lambda _: forever.wait(), [1], threads=1)",
    ],
)
def test_a_signal_that_does_not_wake_the_main_thread_ends_its_wait_all_the_same(wait: str) -> None:
    """So arrives one that comes just before the wait: without a limit, Ctrl-C ended one publish in 25 never."""
    done = subprocess.run([sys.executable, "-c", _UNWOKEN.replace("WAIT", wait)], timeout=30, check=False)
    assert done.returncode == 42
