"""The files of a server's cache: which go first, which stay, and which are not believed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cas.errors import CacheError
from cas.formats.digest import hex_of
from cas.formats.manifest import ChunkRef
from cas.ops.serve.chunk_cache import ChunkCache
from tests.support.models import KIB, noise

SIZE = 4 * KIB
PLAIN = [noise(SIZE, seed) for seed in range(6)]
CHUNKS = [ChunkRef(hex_of(plain), SIZE) for plain in PLAIN]


def path_of(folder: Path, number: int) -> Path:
    return folder / "0" / CHUNKS[number].digest[:2] / CHUNKS[number].digest


def held(cache: ChunkCache) -> list[int]:
    return [number for number, chunk in enumerate(CHUNKS) if cache.holds(chunk.digest)]


def use(cache: ChunkCache, number: int) -> None:
    opened = cache.open(CHUNKS[number])
    assert opened is not None
    assert opened.read(1, SIZE - 1) == PLAIN[number][1:]
    opened.close()


def filled(folder: Path, numbers: int, limit: int) -> ChunkCache:
    cache = ChunkCache(folder, limit)
    for number in range(numbers):
        assert cache.add(CHUNKS[number], PLAIN[number])
    return cache


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = filled(tmp_path, 3, 3 * SIZE)
    use(cache, 0)
    assert cache.add(CHUNKS[3], PLAIN[3])
    assert held(cache) == [0, 2, 3]
    assert (cache.size, cache.removed) == (3 * SIZE, 1)
    assert not path_of(tmp_path, 1).exists()


def test_the_next_server_knows_what_was_used_longest_ago(tmp_path: Path) -> None:
    cache = filled(tmp_path, 4, 9 * SIZE)
    for number in (2, 0, 3, 1):
        use(cache, number)
    cache.close()
    assert held(ChunkCache(tmp_path, 2 * SIZE)) == [1, 3]


def test_a_file_that_a_reader_has_open_stays_and_counts(tmp_path: Path) -> None:
    cache = filled(tmp_path, 2, 2 * SIZE)
    opened = [cache.open(chunk) for chunk in CHUNKS[:2]]
    assert not cache.add(CHUNKS[2], PLAIN[2])
    assert held(cache) == [0, 1]
    assert path_of(tmp_path, 0).exists()
    assert opened[0] is not None
    opened[0].close()
    assert cache.add(CHUNKS[2], PLAIN[2])
    assert held(cache) == [1, 2]
    assert not cache.add(ChunkRef("0" * 64, 3 * SIZE), bytes(3 * SIZE))


def test_a_chunk_that_comes_twice_counts_once(tmp_path: Path) -> None:
    cache = filled(tmp_path, 1, 9 * SIZE)
    opened = cache.open(CHUNKS[0])
    assert cache.add(CHUNKS[0], PLAIN[0])
    assert cache.size == SIZE
    assert opened is not None
    opened.close()
    use(cache, 0)


def rewritten(path: Path) -> None:
    path.write_bytes(bytes(SIZE))


def rewritten_with_its_time(path: Path) -> None:
    before, beside = path.stat(), path.with_name("beside")
    beside.write_bytes(bytes(SIZE))
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    beside.replace(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def replaced_by_a_link(path: Path) -> None:
    beside = path.with_name("beside")
    path.rename(beside)
    path.symlink_to(beside)


@pytest.mark.parametrize("damage", [rewritten, rewritten_with_its_time, cut, replaced_by_a_link, Path.unlink])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_file_that_is_not_what_was_written_counts_as_absent(
    tmp_path: Path, damage: Callable[[Path], None], restarted: bool
) -> None:
    cache = filled(tmp_path, 2, 9 * SIZE)
    use(cache, 0)
    if restarted:
        cache.close()
    damage(path_of(tmp_path, 0))
    cache = ChunkCache(tmp_path, 9 * SIZE) if restarted else cache
    assert cache.open(CHUNKS[0]) is None
    assert held(cache) == [1]
    assert cache.size == SIZE
    assert not path_of(tmp_path, 0).is_symlink()
    assert cache.add(CHUNKS[0], PLAIN[0])
    use(cache, 0)
    use(cache, 1)


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    cache = filled(tmp_path, 1, 9 * SIZE)
    opened = cache.open(CHUNKS[0])
    assert opened is not None
    os.truncate(path_of(tmp_path, 0), 100)
    with pytest.raises(CacheError, match="was cut"):
        opened.read(0, SIZE)
    opened.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match=r"file/cache cannot be made .*: choose another"):
        ChunkCache(tmp_path / "file" / "cache", SIZE)


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0").chmod(0o777)
    with pytest.raises(CacheError, match="others may write there"):
        ChunkCache(tmp_path, SIZE)
    (tmp_path / "0").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheError, match="another user"):
        ChunkCache(tmp_path, SIZE)
