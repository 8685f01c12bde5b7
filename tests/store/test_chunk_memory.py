"""Chunks in memory: fetched once however many want them, within bounds, and an error for who wants the chunk alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cas.errors import ChunkCorrupt, ChunkMissing
from cas.formats.digest import Buffer
from cas.host import Limits
from cas.store.chunk_memory import ChunkMemory
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.buckets import RecordingBucket
from tests.support.by_hand import put
from tests.support.damage import edit, flip
from tests.support.models import KIB, noise
from tests.support.processes import until

SIZE = 8 * KIB
COUNT = 16
DATA = noise(COUNT * SIZE)


class GatedBucket(RecordingBucket):
    """A bucket whose reads wait for a gate."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.bucket)
        self.gate = threading.Event()
        self.gate.set()

    def get(self, key: str, limit: int) -> Buffer:
        data = super().get(key, limit)
        assert self.gate.wait(30)
        return data


class Scene:
    """Sixteen chunks of 8 KiB, and memory for a few of them."""

    def __init__(self, store: Store, chunks: int = 8, requests: int = 14) -> None:
        self.refs = put(store, DATA, range(SIZE, len(DATA), SIZE))
        self.bucket = GatedBucket(store)
        self.memory = ChunkMemory(Store(self.bucket), Limits(budget=chunks * SIZE, requests=requests, workers=2))

    def plain(self, index: int) -> bytes:
        return DATA[index * SIZE : (index + 1) * SIZE]


@pytest.fixture
def scene(directory_store: Store) -> Scene:
    return Scene(directory_store)


def test_a_chunk_is_fetched_once(scene: Scene) -> None:
    for _ in range(3):
        assert scene.memory.get(scene.refs[1]) == scene.plain(1)
    assert scene.bucket.chunks == [scene.refs[1].digest]


def test_what_is_in_memory_cannot_be_changed_by_a_reader(scene: Scene) -> None:
    assert scene.memory.get(scene.refs[0]).readonly


def test_many_who_want_it_at_once_make_one_request(scene: Scene) -> None:
    scene.bucket.gate.clear()
    with ThreadPoolExecutor(12) as threads:
        results = [threads.submit(scene.memory.get, scene.refs[2]) for _ in range(12)]
        until(lambda: scene.bucket.read)
        scene.bucket.gate.set()
        assert {bytes(result.result()) for result in results} == {scene.plain(2)}
    assert scene.bucket.chunks == [scene.refs[2].digest]


def test_what_was_used_least_recently_makes_way(scene: Scene) -> None:
    for index in (0, 1, 2, 3, 4, 5, 0, 6):
        scene.memory.get(scene.refs[index])
    assert scene.memory.in_use == 7 * SIZE
    scene.memory.get(scene.refs[7])  # its frame takes as much again while it comes
    before = len(scene.bucket.read)
    scene.memory.get(scene.refs[0])
    assert len(scene.bucket.read) == before
    scene.memory.get(scene.refs[1])
    assert len(scene.bucket.read) == before + 1


def test_memory_is_bounded_while_many_read(scene: Scene) -> None:
    most = []

    def read(index: int) -> bytes:
        plain = scene.memory.get(scene.refs[index % COUNT])
        most.append(scene.memory.in_use)
        return bytes(plain)

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(read, range(64))) == [scene.plain(index % COUNT) for index in range(64)]
    assert max(most) <= 8 * SIZE


def test_a_chunk_larger_than_the_memory_comes_alone(directory_store: Store) -> None:
    scene = Scene(directory_store, chunks=1)
    assert [bytes(scene.memory.get(ref)) for ref in scene.refs] == [scene.plain(index) for index in range(COUNT)]
    assert scene.memory.in_use <= SIZE


def test_fetching_ahead_takes_half_of_the_memory_and_what_it_brought_is_there(scene: Scene) -> None:
    scene.bucket.gate.clear()
    scene.memory.fetch_ahead(scene.refs)
    until(lambda: len(scene.bucket.read) == 2)  # each takes its frame and its bytes
    assert scene.memory.in_use == 4 * SIZE
    scene.bucket.gate.set()
    assert scene.memory.get(scene.refs[1]) == scene.plain(1)
    assert scene.memory.get(scene.refs[0]) == scene.plain(0)
    assert sorted(scene.bucket.chunks) == sorted(ref.digest for ref in scene.refs[:2])


def test_fetching_ahead_makes_no_more_requests_than_allowed(directory_store: Store) -> None:
    scene = Scene(directory_store, chunks=64, requests=3)
    scene.bucket.gate.clear()
    scene.memory.fetch_ahead(scene.refs)
    until(lambda: len(scene.bucket.read) == 3)
    scene.memory.fetch_ahead(scene.refs)
    assert len(scene.bucket.read) == 3
    scene.bucket.gate.set()


def test_readers_in_order_share_half_of_the_memory(scene: Scene) -> None:
    class Reader:
        pass

    one, other = Reader(), Reader()
    assert scene.memory.share(one) == 4 * SIZE
    assert scene.memory.share(other) == scene.memory.share(one) == 2 * SIZE
    scene.memory.end_share(other)
    assert scene.memory.share(one) == 4 * SIZE
    del one
    assert scene.memory.share(other) == 4 * SIZE, "one that is gone has no share"


def test_an_error_of_fetching_ahead_is_told_to_who_wants_the_chunk(directory_store: Store, scene: Scene) -> None:
    directory_store.bucket.delete(chunk_key(scene.refs[3].digest))
    scene.memory.fetch_ahead([scene.refs[3], scene.refs[4]])
    with pytest.raises(ChunkMissing, match=scene.refs[3].digest):
        scene.memory.get(scene.refs[3])
    assert scene.memory.get(scene.refs[4]) == scene.plain(4)
    until(lambda: scene.memory.in_use == SIZE)


def test_who_waits_for_a_fetch_that_fails_fetches_again(directory_store: Store, scene: Scene) -> None:
    """The one who fetched may have been interrupted; it says nothing about the chunk."""
    scene.bucket.gate.clear()
    directory_store.bucket.delete(chunk_key(scene.refs[5].digest))
    real, failed = scene.bucket.get, threading.Event()

    def fail_once(key: str, limit: int) -> Buffer:
        if not failed.is_set():
            assert scene.bucket.gate.wait(30)
            failed.set()
            raise InterruptedError
        return real(key, limit)

    scene.bucket.get = fail_once  # type: ignore[method-assign]
    put(directory_store, DATA, range(SIZE, len(DATA), SIZE))
    with ThreadPoolExecutor(4) as threads:
        results = [threads.submit(scene.memory.get, scene.refs[5]) for _ in range(4)]
        scene.bucket.gate.set()
        errors = [result.exception() for result in results]
    assert sorted(type(error).__name__ for error in errors) == ["InterruptedError", *["NoneType"] * 3]


def test_a_damaged_chunk_is_returned_to_nobody(directory_store: Store, scene: Scene) -> None:
    edit(directory_store, scene.refs[6].digest, flip)
    for _ in range(2):
        with pytest.raises(ChunkCorrupt, match=scene.refs[6].digest):
            scene.memory.get(scene.refs[6])
    assert scene.memory.in_use == 0


def test_chunks_with_pages_of_their_own(directory_store: Store) -> None:
    data = noise(KIB) * 3000
    (ref,) = put(directory_store, data)
    memory = ChunkMemory(directory_store)
    assert memory.get(ref) == data and memory.in_use == len(data)


def test_a_thread_that_cannot_be_started_leaves_no_chunk_on_its_way(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    scene.memory.fetch_ahead(scene.refs[:2])
    assert scene.memory.in_use == 0, "who wants it would wait for ever"
    assert scene.memory.get(scene.refs[0]) == scene.plain(0)
