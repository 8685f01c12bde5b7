"""Content of files for many readers at once: one fetch for all, nothing unverified, nothing short taken for whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cas.bucket import open_bucket
from cas.errors import ChunkCorrupt, ChunkMissing, StoreError
from cas.formats.manifest import RepoFile
from cas.ops.serve.content import Content
from cas.store import layout
from cas.store.store import Store
from tests.ops.serve.readers import CHUNK, CHUNKS, DATA, ONE_AT_A_TIME, read, run
from tests.support.buckets import HURRIED
from tests.support.models import REPO, put_model
from tools.servers.fault_proxy import Fault, FaultProxy, Kind


@pytest.fixture
def behind(proxy: FaultProxy, s3_url: str) -> tuple[Store, RepoFile]:
    """A store on the real server, through the proxy, and the only file of the model in it."""
    store = Store(open_bucket(s3_url, HURRIED))
    return store, put_model(store, {REPO: {"weights.bin": DATA}}, chunk=CHUNK).repos[0].files[0]


def test_fifty_readers_at_once_cost_one_fetch_of_each_chunk(
    behind: tuple[Store, RepoFile], proxy: FaultProxy, tmp_path: Path
) -> None:
    store, file = behind
    content = Content(store, tmp_path / "cache", 1 << 30)

    async def work() -> None:
        # Some begin in the middle, as a client does that goes on with a download.
        starts = [0 if number % 5 else number * 1000 for number in range(50)]
        got = await asyncio.gather(*(read(content, file, start) for start in starts))
        assert [each.error for each in got] == [None] * 50
        assert all(each.data == DATA[start:] for each, start in zip(got, starts, strict=True))

    run(content, work)
    assert proxy.count("GET", "/chunks/") == CHUNKS
    assert (content.counts().fetched, content.counts().plain) == (CHUNKS, len(DATA))
    assert content.counts().streams == 0


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1), (CHUNK - 1, CHUNK + 1), (CHUNK, 2 * CHUNK), (len(DATA) - 1, len(DATA)), (7, 7)]
)
def test_a_range_is_read_from_the_chunks_that_hold_it_alone(
    local: tuple[Store, RepoFile], tmp_path: Path, start: int, stop: int
) -> None:
    content = Content(local[0], tmp_path / "cache", 1 << 30)

    async def work() -> None:
        got = await read(content, local[1], start, stop)
        assert (got.data, got.error) == (DATA[start:stop], None)

    run(content, work)
    assert content.counts().fetched == len({at // CHUNK for at in range(start, stop)})


def test_a_chunk_that_is_damaged_on_the_way_is_fetched_again(
    behind: tuple[Store, RepoFile], proxy: FaultProxy, tmp_path: Path
) -> None:
    content = Content(behind[0], tmp_path / "cache", 1 << 30)
    proxy.inject(Fault(Kind.BIT_FLIP, times=2, path_contains="/chunks/"))

    async def work() -> None:
        got = await read(content, behind[1])
        assert (got.data, got.error) == (DATA, None)

    run(content, work)


@pytest.mark.parametrize("number", [0, 5])
def test_no_byte_of_a_damaged_chunk_is_given_out(
    behind: tuple[Store, RepoFile], proxy: FaultProxy, tmp_path: Path, number: int
) -> None:
    store, file = behind
    content = Content(store, tmp_path / "cache", 1 << 30)
    proxy.inject(Fault(Kind.BIT_FLIP, times=None, path_contains=layout.chunk_key(file.chunks[number].digest)))

    async def work() -> None:
        for got in await asyncio.gather(*(read(content, file) for _ in range(3))):
            assert got.data == DATA[: number * CHUNK]
            assert isinstance(got.error, ChunkCorrupt)
        behind_it = await read(content, file, (number + 1) * CHUNK)
        assert behind_it.data == DATA[(number + 1) * CHUNK :]

    run(content, work)
    assert not (tmp_path / "cache").joinpath("0", file.chunks[number].digest[:2], file.chunks[number].digest).exists()


def test_a_bucket_that_goes_away_in_the_middle_ends_the_body_and_what_is_cached_stays_readable(
    behind: tuple[Store, RepoFile], proxy: FaultProxy, tmp_path: Path
) -> None:
    store, file = behind
    content = Content(store, tmp_path / "cache", 1 << 30, ONE_AT_A_TIME)
    proxy.inject(Fault(Kind.DROP_BEFORE, times=None, after=5, path_contains="/chunks/"))

    async def work() -> None:
        got = await read(content, file)
        assert got.data == DATA[: 5 * CHUNK]
        assert isinstance(got.error, StoreError)
        again = await read(content, file, 0, 5 * CHUNK)
        assert (again.data, again.error) == (DATA[: 5 * CHUNK], None)
        proxy.clear()
        whole = await read(content, file)
        assert (whole.data, whole.error) == (DATA, None)

    run(content, work)


def test_a_chunk_that_the_store_has_lost_ends_the_body(local: tuple[Store, RepoFile], tmp_path: Path) -> None:
    store, file = local
    store.bucket.delete(layout.chunk_key(file.chunks[3].digest))
    content = Content(store, tmp_path / "cache", 1 << 30)

    async def work() -> None:
        got = await read(content, file)
        assert got.data == DATA[: 3 * CHUNK]
        assert isinstance(got.error, ChunkMissing)

    run(content, work)
