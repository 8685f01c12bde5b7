"""Content of files within the limits of its cache: of its size, of the disk, and beside other servers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from cas import events
from cas.formats.manifest import RepoFile
from cas.ops.serve.content import Content
from cas.store.store import Store
from tests.ops.serve.readers import CHUNK, DATA, cached, read, run, taken
from tests.support.models import KIB, REPO, noise, put_model
from tests.support.processes import Mount


def test_the_cache_stays_within_its_limit_while_several_read(local: tuple[Store, RepoFile], tmp_path: Path) -> None:
    limit = 5 * CHUNK
    content = Content(local[0], tmp_path / "cache", limit)

    async def work() -> None:
        async def watched(start: int) -> None:
            got = b""
            async for piece in content.stream(local[1], start, local[1].size):
                got += piece
                assert taken(tmp_path / "cache") <= limit
            assert got == DATA[start:]

        await asyncio.gather(*(watched(start) for start in (0, 5 * CHUNK, 9 * CHUNK)))

    run(content, work)
    assert content.counts().removed > 0
    assert content.counts().cached == taken(tmp_path / "cache")


def test_a_cache_smaller_than_a_chunk_serves_from_memory(local: tuple[Store, RepoFile], tmp_path: Path) -> None:
    content = Content(local[0], tmp_path / "cache", CHUNK - 1)

    async def work() -> None:
        got = await asyncio.gather(*(read(content, local[1]) for _ in range(3)))
        assert [each.data == DATA for each in got] == [True] * 3

    run(content, work)
    assert content.counts().cached <= CHUNK - 1


@pytest.mark.parametrize("left", [CHUNK // 2, 2 * CHUNK])
def test_a_full_disk_is_told_once_and_the_readers_get_their_bytes(
    local: tuple[Store, RepoFile], tmp_path: Path, mount: Mount, left: int
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    mount(folder, "-t", "tmpfs", "-o", f"size={4 * CHUNK}", "tmpfs")
    (folder / "of others").write_bytes(bytes(4 * CHUNK - left))
    told: list[events.Event] = []
    content = Content(local[0], folder, 1 << 30, on_event=told.append)

    async def work() -> None:
        for got in await asyncio.gather(*(read(content, local[1]) for _ in range(3))):
            assert (got.data, got.error) == (DATA, None)

    run(content, work)
    # Space for some: the others make way for them. Space for none: they come from memory, with a warning.
    counts = content.counts()
    assert counts.cached == taken(folder) <= left
    if left < CHUNK:
        assert [type(event) for event in told] == [events.Warned]
        assert "no room left" in str(told[0])
    else:
        assert counts.removed > 0


def test_readers_that_leave_let_go_of_files(directory_store: Store, tmp_path: Path) -> None:
    large = 1536 * KIB  # three pieces: a reader that leaves after the first has the file open
    data = noise(3 * large)
    file = put_model(directory_store, {REPO: {"w": data}}, chunk=large).repos[0].files[0]
    content = Content(directory_store, tmp_path / "cache", large)

    async def leaving() -> None:
        async with aclosing(content.stream(file, 0, file.size)) as pieces:
            assert data.startswith(bytes(await anext(pieces)))

    async def work() -> None:
        await asyncio.gather(*(leaving() for _ in range(5)))
        cut = asyncio.create_task(read(content, file, 10))
        await asyncio.sleep(0)
        cut.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut
        assert content.counts().streams == 0
        got = await read(content, file)
        assert got.data == data

    run(content, work)
    # Nothing was in the way: each chunk made way for the next.
    assert [path.name for path in cached(tmp_path / "cache")] == [file.chunks[2].digest]


def test_a_file_that_changed_in_the_cache_is_fetched_again(local: tuple[Store, RepoFile], tmp_path: Path) -> None:
    store, file = local

    async def work() -> None:
        assert (await read(content, file)).data == DATA

    for damage in (lambda path: path.write_bytes(bytes(CHUNK)), lambda path: path.write_bytes(b""), Path.unlink):
        content = Content(store, tmp_path / "cache", 1 << 30)
        run(content, work)  # the second time with the files of a server that ended
        content = Content(store, tmp_path / "cache", 1 << 30)
        for path in cached(tmp_path / "cache")[:4]:
            damage(path)
        run(content, work)
        assert content.counts().fetched == 4
        assert content.counts().damaged == 4
        content = Content(store, tmp_path / "cache", 1 << 30)
        run(content, work)
        assert content.counts().fetched == 0


def test_what_a_killed_server_was_writing_goes_and_a_smaller_limit_removes_what_was_used_longest_ago(
    local: tuple[Store, RepoFile], tmp_path: Path
) -> None:
    store, file = local
    content = Content(store, tmp_path / "cache", 1 << 30)

    async def work() -> None:
        assert (await read(content, file)).data == DATA
        assert (await read(content, file, 0, CHUNK)).data == DATA[:CHUNK]

    run(content, work)
    (tmp_path / "cache/0/part-0011223344556677").write_bytes(b"half a chunk")
    smaller = Content(store, tmp_path / "cache", 2 * CHUNK)
    assert [path.name for path in tmp_path.glob("cache/0/part-*")] == []
    assert len(cached(tmp_path / "cache")) == 2
    assert file.chunks[0].digest in {path.name for path in cached(tmp_path / "cache")}
    smaller.close()


def test_two_servers_in_one_folder_use_a_slot_each(local: tuple[Store, RepoFile], tmp_path: Path) -> None:
    first, second = (Content(local[0], tmp_path / "cache", 1 << 30) for _ in range(2))
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["0", "1"]
    first.close()
    third = Content(local[0], tmp_path / "cache", 1 << 30)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["0", "1"]
    second.close()
    third.close()
