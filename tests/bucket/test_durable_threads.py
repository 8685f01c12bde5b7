"""Writing into a directory, in several threads: what is given up gets no name, and no `settle` returns too early."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable
from pathlib import Path

import pytest

from cas.bucket import Kind, RetryPolicy, open_bucket
from cas.bucket.directory import bucket as directory
from cas.bucket.directory import durable
from cas.bucket.directory.durable import DurableDirectory
from cas.errors import Stalled


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_a_write_that_was_given_up_gets_no_name(root: Path) -> None:
    abandoned = threading.Event()
    abandoned.set()
    DurableDirectory(str(root)).write("a/1", b"bytes", False, abandoned)
    assert os.listdir(root / "a") == []


def test_a_write_that_takes_too_long_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    real = DurableDirectory.write

    def write(*words: object) -> None:
        try:
            real(*words)  # type: ignore[arg-type]
        finally:
            ended.set()

    def wait(fd: int, _: object) -> None:
        begun.set()
        assert go_on.wait(30)

    async def cut(seconds: float, what: str, work: Awaitable[object]) -> object:
        writing = asyncio.ensure_future(work)
        assert await asyncio.to_thread(begun.wait, 30)
        writing.cancel()
        raise Stalled(what)

    monkeypatch.setattr(DurableDirectory, "write", write)
    monkeypatch.setattr(durable, "_sync", wait)
    monkeypatch.setattr(directory, "with_timeout", cut)
    with pytest.raises(Stalled, match="a/1 in"):
        open_bucket(str(root), RetryPolicy(attempts=1)).put("a/1", b"bytes", Kind.CHUNK)
    go_on.set()
    assert ended.wait(30)
    assert os.listdir(root / "a") == []


class Turn:
    """A lock that tells when a thread has to wait for it."""

    def __init__(self) -> None:
        self._lock, self.wanted = threading.Lock(), threading.Event()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.wanted.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_settling_waits_for_another_that_is_at_work(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "a").mkdir(parents=True)
    begun, turn = threading.Event(), Turn()
    noted, order = {"a"}, list[str]()
    writer = DurableDirectory(str(root))
    monkeypatch.setattr(writer, "_settling", turn)

    def sync(fd: int, _: object) -> None:
        begun.set()
        turn.wanted.wait(5)
        order.append("synced")

    def take() -> set[str]:
        taken = set(noted)
        noted.clear()
        return taken

    def settle(name: str) -> None:
        writer.settle(take, noted.update)
        order.append(name)

    monkeypatch.setattr(durable, "_sync", sync)
    threads = [threading.Thread(target=settle, args=(name,)) for name in ("first", "second")]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    for thread in threads:
        thread.join(60)
    assert "synced" not in order[order.index("first") :]
    assert "synced" not in order[order.index("second") :], "what the second should settle is not durable yet"
