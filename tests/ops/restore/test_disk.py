"""A disk that is full, over quota, or fails: said clearly, nothing half done, the room given back."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest

import cas
from cas.config import cache_dirs
from cas.errors import CacheError, DiskFull, IntegrityError
from cas.events import Warned
from cas.host import Limits
from cas.local.targets import targets_of
from cas.ops.restore.plan import part_file_name
from cas.store.store import Store
from tests.support.buckets import slow_store
from tests.support.in_process import call_cas
from tests.support.models import KIB, REPO, check, check_blobs, noise, put_model
from tests.support.processes import Mount, start_cas, until

FILES = {"a.bin": noise(600 * KIB, 1), "b.bin": noise(600 * KIB, 2), "c.bin": noise(1500 * KIB, 3)}


@pytest.fixture
def small(mount: Mount, tmp_path: Path) -> Path:
    """A real file system of 4 MiB."""
    where = tmp_path / "small"
    where.mkdir()
    return mount(where, "-t", "tmpfs", "-o", "size=4m", "tmpfs")


def parts(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("models--*/.cas/parts/*"))


def fill(mount: Path, leave: int) -> Path:
    """Leaves that many free bytes, or fewer where a process writes there at the same time."""
    ballast = mount / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while (free := os.statvfs(mount).f_bavail * os.statvfs(mount).f_frsize) > leave:
            with contextlib.suppress(OSError):  # the process took the room first: look again
                file.write(bytes(min(free - leave, 64 * KIB)))
    return ballast


def test_too_little_room_is_told_before_the_first_byte(directory_store: Store, small: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    ballast = fill(small, 1024 * KIB)
    for words in ((), ("--dry-run",)):
        ran = call_cas("--store", directory_store.url, "restore", "m", "--cache-dir", str(small / "cache"), *words)
        assert ran.returncode == 7
        assert ran.stderr.startswith(f"cas: restore needs {2700 * KIB:,} bytes and {small}")
        assert ran.stderr.endswith(f" has {1024 * KIB:,} free: free some space, or choose another --cache-dir\n")
        assert parts(small / "cache") == []
    ballast.unlink()
    check(cas.restore("m", directory_store, cache_dir=small / "cache"), FILES)


def test_a_disk_that_fills_up_meanwhile_gets_its_room_back(directory_store: Store, small: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    cache = small / "cache"
    exact = cas.restore("m", directory_store, cache_dir=cache, dry_run=True).reference
    with slow_store(directory_store, limit=4) as server:
        process = start_cas("--store", server.url, "restore", exact, "--cache-dir", str(cache))
        until(lambda: server.stalling and parts(cache))
        ballast = fill(small, 100 * KIB)
        server.released.set()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 7
    assert err.startswith(f"cas: no room left for {cache}/models--org--model/.cas/parts/")
    assert err.endswith("(No space left on device): free some space, or choose another --cache-dir\n")
    assert err.count("\n") == 1
    assert parts(cache) == []
    check_blobs(cache / "models--org--model")
    ballast.unlink()
    check(cas.restore("m", directory_store, cache_dir=cache), FILES)


def test_no_room_for_what_a_killed_restore_left_to_do(directory_store: Store, small: Path) -> None:
    """What is there counts: a restore goes on where only the rest has room."""
    put_model(directory_store, {REPO: FILES})
    cache = small / "cache"
    exact = cas.restore("m", directory_store, cache_dir=cache, dry_run=True).reference
    with slow_store(directory_store, limit=30) as server:
        process = start_cas("--store", server.url, "restore", exact, "--cache-dir", str(cache))
        until(lambda: server.stalling)
        process.kill()
        process.communicate()
    held = sum(path.stat().st_blocks * 512 for path in cache.rglob("*") if path.is_file() and not path.is_symlink())
    fill(small, 2700 * KIB - held + 200 * KIB)
    check(cas.restore("m", directory_store, cache_dir=cache), FILES)


@pytest.mark.parametrize("call", ["pwrite", "ftruncate", "fsync", "mkdir", "symlink", "rename"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_quota_is_a_full_disk(
    call: str, code: int, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(directory_store, {REPO: FILES})

    def refuse(*args: object, **kwargs: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        with pytest.raises(DiskFull, match="free some space, or choose another --cache-dir"):
            cas.restore("m", directory_store, cache_dir=tmp_path)
    assert [name for name in parts(tmp_path) if name.endswith(".part")] == []
    check(cas.restore("m", directory_store, cache_dir=tmp_path), FILES)


def test_a_full_disk_gets_the_room_of_part_files_that_were_to_be_resumed(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = put_model(directory_store, {REPO: FILES})
    content = {target.size: target.content for target in targets_of(made, cache_dirs(tmp_path))}[1500 * KIB]
    part = tmp_path / "models--org--model/.cas/parts" / part_file_name(content, "they", "1")
    part.parent.mkdir(parents=True)
    part.write_bytes(FILES["c.bin"][: 700 * KIB])

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refuse)
        with pytest.raises(DiskFull):
            cas.restore("m", directory_store, cache_dir=tmp_path, limits=Limits(requests=1, workers=1))
    assert parts(tmp_path) == []


def test_a_disk_that_fails_to_keep_a_file_is_not_believed(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(directory_store, {REPO: FILES})

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(CacheError, match=r"the disk failed to keep it \(Input/output error\)"):
            cas.restore("m", directory_store, cache_dir=tmp_path)
    root = tmp_path / "models--org--model"
    assert list(root.glob("blobs/*")) == []
    restored = cas.restore("m", directory_store, cache_dir=tmp_path)
    check(restored, FILES)
    assert restored.fetched > 0, "what memory still shows of a failed file is no proof of the disk"


def test_a_part_file_that_the_disk_failed_to_keep_is_not_resumed(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(directory_store, {REPO: {"a.bin": FILES["a.bin"]}})

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(CacheError, match="the disk failed to keep it"):
            cas.restore("m", directory_store, cache_dir=tmp_path)
    assert parts(tmp_path) == []
    assert cas.restore("m", directory_store, cache_dir=tmp_path).fetched == 600 * KIB


@pytest.mark.parametrize("change", [-1, 1, -600 * KIB], ids=["shorter", "longer", "emptied"])
def test_a_part_file_that_another_program_resizes_gets_no_name(
    change: int, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(directory_store, {REPO: {"a.bin": FILES["a.bin"]}})
    real = os.fsync

    def resize(fd: int) -> None:
        for part in tmp_path.glob("models--*/.cas/parts/*.part"):
            os.truncate(part, part.stat().st_size + change)
        real(fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", resize)
        with pytest.raises(IntegrityError, match=r"\.part was changed by another program: restore again"):
            cas.restore("m", directory_store, cache_dir=tmp_path)
    root = tmp_path / "models--org--model"
    assert [*root.glob("blobs/*"), *root.glob("snapshots/*/*"), *root.glob(".cas/verified.json")] == []
    check(cas.restore("m", directory_store, cache_dir=tmp_path), {"a.bin": FILES["a.bin"]})


@pytest.mark.parametrize("code", [errno.ENOTSUP, errno.EINVAL])
def test_a_file_system_without_fsync_is_warned_of_once(
    code: int, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(directory_store, {REPO: FILES})

    def unsupported(fd: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", unsupported)
    seen: list[cas.Event] = []
    check(cas.restore("m", directory_store, cache_dir=tmp_path, on_event=seen.append), FILES)
    (warned,) = [event for event in seen if isinstance(event, Warned)]
    assert "a power cut may lose files" in warned.text


def test_a_receipt_that_cannot_be_written_is_no_failure(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    (tmp_path / "models--org--model/.cas/verified.json/in/the/way").mkdir(parents=True)
    seen: list[cas.Event] = []
    check(cas.restore("m", directory_store, cache_dir=tmp_path, on_event=seen.append), FILES)
    (warned,) = [event for event in seen if isinstance(event, Warned)]
    assert "no record was written" in warned.text
    assert cas.restore("m", directory_store, cache_dir=tmp_path).fetched == 0
