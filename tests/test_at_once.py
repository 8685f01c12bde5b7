"""`for_each` with a number of items at once that changes, and what its threads do when no item is left."""

from __future__ import annotations

import threading

import pytest

from cas.parallel import for_each
from tests.test_parallel import Gauge


def test_no_more_at_once_than_the_caller_says_now() -> None:
    at_work, allowed = Gauge(), 2
    crowded: list[int] = []

    def work(item: int) -> None:
        nonlocal allowed
        at_work.add(1)
        crowded.extend([at_work.now] if at_work.now > allowed else [])
        if item == 10:
            allowed = 5
        at_work.add(-1)

    for_each(work, range(40), threads=8, at_once=lambda: allowed)
    assert not crowded


def test_a_higher_number_is_used_when_an_item_ends() -> None:
    allowed, meeting = 1, threading.Barrier(3)

    def work(item: int) -> None:
        nonlocal allowed
        if item == 0:
            allowed = 3
        else:
            meeting.wait(timeout=10)

    for_each(work, range(4), threads=8, at_once=lambda: allowed)


def test_each_thread_ends_with_what_comes_afterwards() -> None:
    last, done = threading.Event(), Gauge()

    def work(item: int) -> None:
        if item == 9:
            last.wait(10)  # the others are done with everything meanwhile

    def afterwards() -> None:
        done.add(1)
        if done.now == 3:
            last.set()

    for_each(work, range(10), threads=4, afterwards=afterwards)
    assert done.now == 4
    assert last.is_set()


def test_after_an_error_the_others_help_those_that_are_at_work() -> None:
    """An error is raised when the items already begun have ended: second requests end a slow one sooner."""
    failing: list[threading.Thread] = []
    failed, helped = threading.Event(), threading.Event()

    def work(item: int) -> None:
        if item == 0:
            helped.wait(10)
        elif item == 1:
            failing.append(threading.current_thread())
            failed.set()
            raise ValueError("early")
        else:
            failed.wait(10)
            failing[0].join(10)

    with pytest.raises(ValueError, match="early"):
        for_each(work, range(3), threads=3, afterwards=helped.set)
    assert helped.is_set()


def test_an_error_afterwards_is_raised_too() -> None:
    def afterwards() -> None:
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        for_each(lambda item: None, range(3), threads=2, afterwards=afterwards)
