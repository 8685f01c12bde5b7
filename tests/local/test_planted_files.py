"""Whatever stands where a small file is expected costs a reader neither time nor memory."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from cas.errors import CacheError, NotFoundError
from cas.local.directory import Directory
from cas.local.fs import FileTooLarge, NotAFile, open_binary, open_for_reading, read_bounded
from cas.local.hf_cache import RepoCache, names_commit
from cas.local.locks import Lock
from cas.local.small_files import check_before_download
from cas.local.verified import VerifiedFiles
from tests.support.models import COMMIT
from tests.support.planted import NO_FILES, PLANTS, plant

# Reading /dev/zero or a terabyte to its end would take as much.
_MEMORY = 64 * 1024 * 1024


@pytest.fixture(autouse=True)
def bounded_memory() -> object:
    """Fail a test that allocates much, even if it frees it again."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < _MEMORY


@pytest.fixture
def cache(tmp_path: Path) -> RepoCache:
    """A repo in a hub cache whose folder has nothing in it."""
    return RepoCache(tmp_path, "model", "org/model")


@pytest.mark.parametrize("what", NO_FILES)
def test_what_is_no_file_is_not_opened(what: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    plant(what, path)
    with pytest.raises(OSError) as caught:
        read_bounded(path, 100)
    assert isinstance(caught.value, NotAFile) or what == "a link in a circle"
    for opening in (open_for_reading, open_binary):
        with pytest.raises(OSError), opening(path):
            pass


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for size in (0, 1, 99, 100):
        path.write_bytes(b"a" * size)
        assert read_bounded(path, 100) == b"a" * size
    path.write_bytes(b"a" * 101)
    with pytest.raises(FileTooLarge, match="larger than 100 bytes"):
        read_bounded(path, 100)
    (tmp_path / "link").symlink_to("x")
    assert len(read_bounded(tmp_path / "link", 101)) == 101
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "y", 100)


def test_a_file_without_a_size_is_bounded_as_well() -> None:
    assert b"processor" in read_bounded(Path("/proc/cpuinfo"), 1 << 20)
    with pytest.raises(FileTooLarge):
        read_bounded(Path("/proc/cpuinfo"), 100)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_TRUNC])
@pytest.mark.parametrize("what", NO_FILES)
def test_a_directory_opens_regular_files_alone(what: str, flags: int, tmp_path: Path) -> None:
    plant(what, tmp_path / "x")
    with (
        Directory.open(tmp_path) as directory,
        pytest.raises(CacheError, match=r"is in the way|is a symlink"),
        directory.file("x", flags),
    ):
        pass


@pytest.mark.parametrize("what", NO_FILES)
def test_a_lock_file_that_is_none_does_not_lock(what: str, tmp_path: Path) -> None:
    plant(what, tmp_path / "x.lock")
    assert Lock(tmp_path / "x.lock").try_acquire() is None


@pytest.mark.parametrize("what", PLANTS)
def test_a_ref_is_refused_by_its_path(what: str, cache: RepoCache) -> None:
    ref = cache.root / "refs/main"
    plant(what, ref)
    assert not names_commit(ref)
    with pytest.raises((CacheError, NotFoundError)) as caught:
        cache.commit_of("main")
    assert str(ref) in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("what", PLANTS)
def test_a_tree_listing_that_cannot_be_read_counts_as_absent(what: str, cache: RepoCache) -> None:
    plant(what, cache.root / f"trees/{COMMIT}.json")
    assert cache.tree_listing(COMMIT) == {}


@pytest.mark.parametrize("what", PLANTS)
@pytest.mark.parametrize("name", ["verified.json", "chunks.json"])
def test_a_record_that_cannot_be_read_counts_as_absent(name: str, what: str, tmp_path: Path) -> None:
    plant(what, tmp_path / ".cas" / name)
    record = VerifiedFiles(tmp_path)
    assert list(record.unchanged_files()) == []
    assert not record.names(("x",))


@pytest.mark.parametrize("what", [*NO_FILES, "a terabyte"])
@pytest.mark.parametrize("name", ["refs/main", f"trees/{COMMIT}.json", "trees/x", f"blobs/{'a' * 64}.incomplete"])
def test_a_download_does_not_begin_where_a_client_would_hang(name: str, what: str, cache: RepoCache) -> None:
    path = cache.root / name
    check_before_download(cache, "main")
    plant(what, path)
    if what == "a terabyte" and name.startswith("blobs"):
        check_before_download(cache, "main")  # a large file may be under download
        return
    with pytest.raises(CacheError) as caught:
        check_before_download(cache, "main")
    assert str(path) in str(caught.value)
