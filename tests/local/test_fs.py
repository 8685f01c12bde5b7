"""Reads and writes that the system cuts short, syncs that fail, and the space that is free."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from cas.host import WRITE_AT_ONCE
from cas.local import fs

DATA = bytes(range(200))


def test_a_write_that_is_cut_short_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write, real_pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:7]))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real_pwrite(fd, data[:7], offset))
    for offset in (None, 0, 50):
        path = tmp_path / f"{offset}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        fs.write_all(fd, DATA, offset)
        os.close(fd)
        assert path.read_bytes() == bytes(offset or 0) + DATA


@pytest.mark.parametrize("offset", [None, 0, 50])
def test_a_large_write_is_made_in_pieces(offset: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real_write, real_pwrite = os.write, os.pwrite

    def counted(done: int) -> int:
        sizes.append(done)
        return done

    monkeypatch.setattr(os, "write", lambda fd, data: counted(real_write(fd, data)))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: counted(real_pwrite(fd, data, at)))
    data = os.urandom(2 * WRITE_AT_ONCE + 7)
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    fs.write_all(fd, data, offset)
    os.close(fd)
    assert sizes == [WRITE_AT_ONCE, WRITE_AT_ONCE, 7]
    assert (tmp_path / "file").read_bytes() == bytes(offset or 0) + data


def test_a_read_that_is_cut_short_goes_on_to_the_end_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(DATA)
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset: real(fd, [views[0][:7]], offset))
    buffer = bytearray(300)
    with fs.open_for_reading(tmp_path / "file") as fd:
        assert fs.read_at(fd, memoryview(buffer), 10) == 190
        assert buffer[:190] == DATA[10:]
        assert fs.read_at(fd, memoryview(buffer)[:50], 0) == 50
        assert buffer[:50] == DATA[:50]
        assert fs.read_at(fd, memoryview(buffer), 200) == 0


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EBADF])
def test_a_sync_that_fails_is_an_error(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(code)):
        fs.sync(0)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_sync_that_the_file_system_does_not_offer_is_told(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    assert fs.sync(0) is False
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    assert fs.sync(0) is True


def test_a_small_file_may_have_as_many_bytes_as_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    assert fs.read_bounded(path, 200) == DATA
    with pytest.raises(fs.FileTooLarge):
        fs.read_bounded(path, 199)
    fs.check_size(path, 200)
    with pytest.raises(fs.FileTooLarge):
        fs.check_size(path, 199)


def test_nothing_is_read_of_a_file_over_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(DATA)
    monkeypatch.setattr(os, "preadv", lambda *_: pytest.fail("it is read"))
    with pytest.raises(fs.FileTooLarge):
        fs.read_bounded(tmp_path / "file", 199)


def test_a_small_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    real = os.preadv

    def grow(fd: int, views: list[memoryview], offset: int) -> int:
        path.write_bytes(DATA * 2)
        return real(fd, views, offset)

    monkeypatch.setattr(os, "preadv", grow)
    assert fs.read_bounded(path, 1000) == DATA * 2
    path.write_bytes(DATA)
    with pytest.raises(fs.FileTooLarge):
        fs.read_bounded(path, 300)


def test_space_that_is_kept_for_root_is_not_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=3, f_bfree=10, f_frsize=512, f_bsize=4096))
    assert fs.free_bytes(tmp_path) == 3 * 512
