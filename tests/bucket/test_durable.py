"""Writing into a directory: what gets a name, what an error leaves, and what `settle` waits for."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cas.bucket import Bucket, Kind, open_bucket
from cas.bucket.directory import durable
from cas.bucket.directory.durable import DurableDirectory
from cas.errors import AccessDenied, CacheError, DiskFull, ObjectExists
from tests.support.buckets import HURRIED

Sync = Callable[[int, object], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "above" / "store"


@pytest.fixture
def bucket(root: Path) -> Bucket:
    return open_bucket(str(root), HURRIED)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of what was synced, in order."""
    paths: list[str] = []
    monkeypatch.setattr(durable, "_sync", lambda fd, _: paths.append(os.readlink(f"/proc/self/fd/{fd}")))
    return paths


def fail(monkeypatch: pytest.MonkeyPatch, function: str, number: int) -> None:
    """Make a function of `os` fail with an errno."""

    def failing(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, function, failing)


@pytest.fixture
def real_sync(monkeypatch: pytest.MonkeyPatch, directory_stores_do_not_wait_for_the_disk: Sync) -> None:
    """Directory stores sync, as they do outside tests."""
    monkeypatch.setattr(durable, "_sync", directory_stores_do_not_wait_for_the_disk)


@pytest.mark.parametrize("overwrite", [False, True])
def test_bytes_are_synced_before_they_get_their_name(
    root: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    there: list[tuple[bool, bytes]] = []

    def look(fd: int, _: object) -> None:
        there.append(((root / "a/b").exists(), Path(f"/proc/self/fd/{fd}").read_bytes()))

    monkeypatch.setattr(durable, "_sync", look)
    bucket.put("a/b", b"bytes", Kind.CHUNK, overwrite=overwrite)
    assert there == [(False, b"bytes")]
    assert (root / "a/b").read_bytes() == b"bytes"
    assert os.listdir(root / "a") == ["b"]


def test_settling_syncs_each_folder_once_and_what_leads_to_it(root: Path, bucket: Bucket, synced: list[str]) -> None:
    for key in ("a/b/1", "a/b/2", "a/c/1", "top"):
        bucket.put(key, b"", Kind.CHUNK)
    synced.clear()
    bucket.settle()
    below = sorted(path for path in synced if path.startswith(str(root)))
    assert below == [str(root), *(str(root / folder) for folder in ("a", "a/b", "a/c"))]
    assert {str(root.parent), str(root.parent.parent)} <= set(synced), "the store may be new, and what it is in, too"
    synced.clear()
    bucket.settle()
    assert synced == []
    bucket.put("a/b/3", b"", Kind.CHUNK)
    bucket.put("a/d/1", b"", Kind.CHUNK)
    synced.clear()
    bucket.settle()
    assert sorted(synced) == [str(root / folder) for folder in ("a", "a/b", "a/d")]


@pytest.mark.parametrize(
    "act",
    [
        lambda bucket: bucket.get("a/b/1", 10),
        lambda bucket: bucket.head("a/b/1"),
        lambda bucket: bucket.exists("a/b/1"),
        lambda bucket: bucket.list("a/b"),
        lambda bucket: bucket.list("a"),
        lambda bucket: bucket.list(""),
        lambda bucket: bucket.delete("a/b/1"),
        lambda bucket: bucket.put("a/b/1", b"other", Kind.CHUNK),
        lambda bucket: bucket.put("a/b/1", b"bytes", Kind.CHUNK),
    ],
)
def test_what_was_found_or_removed_is_settled_like_what_was_written(
    root: Path, bucket: Bucket, synced: list[str], act: Callable[[Bucket], object]
) -> None:
    open_bucket(str(root), HURRIED).put("a/b/1", b"bytes", Kind.CHUNK)
    act(bucket)
    synced.clear()
    bucket.settle()
    assert {str(root / "a/b"), str(root / "a"), str(root)} <= set(synced)


def test_what_is_absent_or_went_meanwhile_is_not_settled(root: Path, bucket: Bucket, synced: list[str]) -> None:
    bucket.put("a/b/1", b"", Kind.CHUNK)
    assert not bucket.exists("c/1")
    assert bucket.list("d") == []
    bucket.delete("a/b/1")
    (root / "a/b").rmdir()
    synced.clear()
    bucket.settle()
    assert not {str(root / folder) for folder in ("a/b", "c", "d")} & set(synced)
    bucket.put("a/b/1", b"", Kind.CHUNK)


def test_settling_a_store_that_is_not_there_makes_none(root: Path, bucket: Bucket) -> None:
    bucket.settle()
    assert bucket.list("") == []
    bucket.settle()
    assert not root.parent.exists()


@pytest.mark.parametrize(
    ("function", "number", "error"),
    [
        ("fsync", errno.EIO, CacheError),
        ("fsync", errno.ENOSPC, DiskFull),
        ("fsync", errno.EDQUOT, DiskFull),
        ("link", errno.ENOSPC, DiskFull),
        ("link", errno.EACCES, AccessDenied),
        ("makedirs", errno.EROFS, AccessDenied),
    ],
)
def test_a_write_that_fails_leaves_nothing(
    root: Path,
    bucket: Bucket,
    real_sync: None,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    number: int,
    error: type[Exception],
) -> None:
    bucket.put("a/1", b"", Kind.CHUNK)
    with monkeypatch.context() as broken:
        fail(broken, function, number)
        with pytest.raises(error, match=f"a/2 in {root}"):
            bucket.put("a/2", b"bytes", Kind.CHUNK)
    assert os.listdir(root / "a") == ["1"]


def test_a_settling_that_fails_is_an_error_and_is_done_the_next_time(
    root: Path, bucket: Bucket, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("a/1", b"", Kind.CHUNK)
    with monkeypatch.context() as broken:
        broken.setattr(durable, "_sync", lambda fd, _: os.fsync(1 << 30))
        with pytest.raises(CacheError, match="sync"):
            bucket.settle()
    synced.clear()
    bucket.settle()
    assert {str(root / "a"), str(root)} <= set(synced)


def test_a_file_system_without_fsync_can_hold_a_store(
    bucket: Bucket, real_sync: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, "fsync", errno.EINVAL)
    assert bucket.put("a/1", b"bytes", Kind.CHUNK)
    bucket.settle()
    assert bytes(bucket.get("a/1", 10)) == b"bytes"


def test_a_file_system_without_hard_links_can_hold_a_store(
    root: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, "link", errno.EPERM)
    assert bucket.put("a/1", b"bytes", Kind.CHUNK)
    assert not bucket.put("a/1", b"other", Kind.CHUNK)
    assert (root / "a/1").read_bytes() == b"bytes"
    assert os.listdir(root / "a") == ["1"]


def test_folders_above_the_store_that_nobody_may_open_are_left_alone(
    root: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("a/1", b"", Kind.CHUNK)
    real = os.open

    def refuse(path: str, *words: int, refused: str = str(root.parent)) -> int:
        if path == refused:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *words)

    with monkeypatch.context() as refusing:
        refusing.setattr(os, "open", refuse)
        bucket.settle()
    bucket.put("a/1", b"", Kind.CHUNK)
    monkeypatch.setattr(os, "open", lambda path, *words: refuse(path, *words, refused=str(root / "a")))
    with pytest.raises(AccessDenied, match="owner and mode"):
        bucket.settle()


@pytest.mark.parametrize("key", ["ümläut 漢字", "a b", "a/..b", "x#y", "50%"])
def test_keys_that_no_store_has_are_written_as_before(bucket: Bucket, key: str) -> None:
    assert bucket.put(key, b"bytes", Kind.DOCUMENT)
    assert bytes(bucket.get(key, 10)) == b"bytes"
    assert [entry.key for entry in bucket.list("")] in ([key], [key.replace("%", "%25").replace("#", "%23")])
    bucket.settle()


@pytest.mark.parametrize("key", ["../x", "a/../b", ".", "a/.", "a//b", "/a", "a/", ""])
def test_a_key_that_leads_elsewhere_is_no_path(key: str) -> None:
    assert not DurableDirectory.can_write(key)


def test_an_object_that_exists_stays(root: Path) -> None:
    directory = DurableDirectory(str(root))
    directory.write("a/1", b"bytes", False, threading.Event())
    with pytest.raises(ObjectExists):
        directory.write("a/1", b"other", False, threading.Event())
    assert (root / "a/1").read_bytes() == b"bytes"
    assert os.listdir(root / "a") == ["1"]
