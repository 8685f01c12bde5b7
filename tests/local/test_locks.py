"""Locks: acquired, refused, failing and hanging, and a holder that is waited for as long as it works."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cas.local import locks
from cas.local.locks import Lock, hold_lock


class Clock:
    """Stands for the module `time`: it goes on when somebody sleeps, and does `on_sleep` then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps = 0
        self.on_sleep: Callable[[int], object] = lambda sleeps: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.sleeps += 1
        assert self.sleeps < 10_000, "it waits without end"
        self.on_sleep(self.sleeps)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(locks, "time", clock)
    return clock


def test_a_lock_is_held_by_one_until_it_is_released(tmp_path: Path) -> None:
    first, second = (Lock(tmp_path / "lock") for _ in range(2))
    assert [first.try_acquire(), second.try_acquire()] == [True, False]
    first.release()
    first.release()
    assert second.try_acquire() is True
    second.release()
    assert (tmp_path / "lock").exists()


@pytest.mark.parametrize(("code", "acquired"), [(errno.EWOULDBLOCK, False), (errno.ENOLCK, None), (errno.EIO, None)])
def test_a_lock_of_somebody_else_is_told_from_locks_that_do_not_work(
    code: int, acquired: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, how: int) -> None:
        assert how == fcntl.LOCK_EX | fcntl.LOCK_NB, "it does not wait in the kernel"
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert Lock(tmp_path / "lock").try_acquire() is acquired
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_a_call_that_hangs_is_given_up_and_what_it_gets_at_last_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answered, calls = fcntl.flock, threading.Event(), list[threading.Thread]()

    def hang(fd: int, how: int) -> None:
        calls.append(threading.current_thread())
        assert answered.wait(60)
        real(fd, how)

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", hang)
        patched.setattr(locks, "_CALL_TIMEOUT", 0.01)
        given_up = Lock(tmp_path / "lock")
        assert given_up.try_acquire() is None
    answered.set()
    for call in calls:
        call.join()
    assert Lock(tmp_path / "lock").try_acquire() is True, "nobody holds it"
    given_up.release()


def test_a_holder_that_works_is_waited_for(tmp_path: Path, clock: Clock) -> None:
    holder, waits, stages = Lock(tmp_path / "lock"), [], [0]
    assert holder.try_acquire()

    def work(sleeps: int) -> None:
        if sleeps % 100 == 0:  # 20 s of silence, and then something
            stages.append(sleeps)
        if sleeps == 1000:
            holder.release()

    clock.on_sleep = work
    with hold_lock(tmp_path / "lock", tmp_path, lambda: len(stages), lambda: waits.append(1)) as held:
        assert held is True
        assert Lock(tmp_path / "lock").try_acquire() is False
    assert (clock.sleeps, waits) == (1000, [1])
    assert Lock(tmp_path / "lock").try_acquire() is True


def test_a_holder_without_progress_is_given_up_after_30_seconds(tmp_path: Path, clock: Clock) -> None:
    holder = Lock(tmp_path / "lock")
    assert holder.try_acquire()
    begun = clock.now
    with hold_lock(tmp_path / "lock", tmp_path, lambda: "the same", lambda: None) as held:
        assert held is False
    assert 30 <= clock.now - begun < 31
    assert Lock(tmp_path / "lock").try_acquire() is False, "the holder keeps it"
    holder.release()


def test_where_locks_do_not_work_nobody_waits(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lock, "try_acquire", lambda self: None)
    with hold_lock(tmp_path / "lock", tmp_path, lambda: 1, lambda: pytest.fail("it waits")) as held:
        assert held is None
    assert clock.sleeps == 0
