"""Fetches of chunks: the nearest to a reader first, none that nobody wants, never more than memory allows."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cas import events
from cas.bucket.body import Body
from cas.formats.manifest import ChunkRef
from cas.host import Limits
from cas.ops.serve.chunk_cache import ChunkCache
from cas.ops.serve.chunk_fetches import ChunkFetches
from cas.store.layout import chunk_digest
from cas.store.store import Store
from tests.support.buckets import RecordingBucket
from tests.support.models import KIB, REPO, noise, put_model

SIZE = 16 * KIB
COUNT = 8


class Gate(RecordingBucket):
    """A bucket that holds each request for a chunk until the gate opens.

    Attributes:
        asked: digests in the order in which they were asked for.
        most: how many requests were held at once, at most.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store.bucket)
        self.opened, self.asked, self.most = threading.Event(), list[str](), 0
        self._now, self._guard, self.first = 0, threading.Lock(), threading.Event()
        self._wanted, self._full = 0, threading.Event()

    def full(self, most: int) -> threading.Event:
        """An event that is set once so many requests are held."""
        with self._guard:
            self._wanted = most
            if self._now >= most:
                self._full.set()
        return self._full

    def get_into(self, key: str, into: memoryview, body: Body | None = None) -> int:
        if digest := chunk_digest(key):
            with self._guard:
                self.asked.append(digest)
                self._now += 1
                self.most = max(self.most, self._now)
                self.first.set()
                if 0 < self._wanted <= self._now:
                    self._full.set()
            assert self.opened.wait(30)
            with self._guard:
                self._now -= 1
        return super().get_into(key, into, body)


def made(
    store: Store, tmp_path: Path, limits: Limits, cache: int = 1 << 30
) -> tuple[ChunkFetches, Gate, tuple[ChunkRef, ...]]:
    chunks = put_model(store, {REPO: {"a": noise(COUNT * SIZE)}}, chunk=SIZE).repos[0].files[0].chunks
    gate = Gate(store)
    return ChunkFetches(Store(gate), ChunkCache(tmp_path / "cache", cache), limits, events.ignore), gate, chunks


def test_the_chunk_that_a_reader_waits_for_comes_first_and_what_nobody_wants_does_not_come(
    directory_store: Store, tmp_path: Path
) -> None:
    fetches, gate, chunks = made(directory_store, tmp_path, Limits(requests=1))
    first = fetches.want(chunks[0], 0)
    assert gate.first.wait(30)  # the others queue behind it
    ahead = [fetches.want(chunk, distance) for distance, chunk in enumerate(chunks[1:6], 1)]
    fetches.leave(fetches.want(chunks[6], 0))
    fetches.leave(ahead[1])
    again, last = fetches.want(chunks[4], 0), fetches.want(chunks[7], 9)
    assert again is ahead[3]
    gate.opened.set()
    for flight in (first, ahead[0], ahead[2], ahead[4], again, last):
        assert flight.result.result(30).plain is None
    assert gate.asked == [chunks[number].digest for number in (0, 4, 1, 3, 5, 7)]
    assert (fetches.chunks, fetches.plain) == (6, 6 * SIZE)
    fetches.close()


def test_a_fetch_whose_reader_has_gone_ends_all_the_same_once_it_has_begun(
    directory_store: Store, tmp_path: Path
) -> None:
    fetches, gate, chunks = made(directory_store, tmp_path, Limits(requests=2))
    flight = fetches.want(chunks[0], 0)
    assert gate.first.wait(30)
    fetches.leave(flight)
    joined = fetches.want(chunks[0], 0)
    assert joined is flight
    gate.opened.set()
    assert flight.result.result(30).plain is None
    assert gate.asked == [chunks[0].digest]
    fetches.close()


@pytest.mark.parametrize(("budget", "most"), [(3 * SIZE, 3), (SIZE // 2, 1), (100 * SIZE, COUNT)])
def test_chunks_in_flight_fit_into_the_budget(directory_store: Store, tmp_path: Path, budget: int, most: int) -> None:
    fetches, gate, chunks = made(directory_store, tmp_path, Limits(requests=COUNT, budget=budget))
    flights = [fetches.want(chunk, at) for at, chunk in enumerate(chunks)]
    assert gate.full(most).wait(30)
    gate.opened.set()
    for flight in flights:
        assert flight.result.result(30).plain is None
    assert gate.most <= most
    assert len(gate.asked) == COUNT
    fetches.close()


def test_a_chunk_that_came_meanwhile_is_not_fetched_again(directory_store: Store, tmp_path: Path) -> None:
    fetches, gate, chunks = made(directory_store, tmp_path, Limits(requests=2))
    gate.opened.set()
    for _ in range(2):  # the second reader had looked into the cache before the first flight ended
        flight = fetches.want(chunks[0], 0)
        assert flight.result.result(30).plain is None
        fetches.leave(flight)
    assert gate.asked == [chunks[0].digest]
    fetches.close()


def test_without_space_in_the_cache_only_who_waits_gets_a_chunk(directory_store: Store, tmp_path: Path) -> None:
    fetches, gate, chunks = made(directory_store, tmp_path, Limits(requests=2), cache=SIZE - 1)
    gate.opened.set()
    waits, later = fetches.want(chunks[0], 0), fetches.want(chunks[1], 1)
    assert waits.result.result(30).plain == noise(COUNT * SIZE)[:SIZE]
    assert later.result.result(30).plain is None
    assert not fetches.is_kept
    fetches.close()
