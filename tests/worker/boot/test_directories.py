"""Which directory a worker takes: told by writing to it, not by what it says of itself."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import pytest

import cas
from cas.local import fs
from cas.store.store import open_store
from tests.support.models import put_model
from tests.support.processes import Mount
from tests.worker.station import FILES, Station
from worker.boot.directories import Space, examine, free_space, missing, rank


def problem(path: Path) -> str:
    (found,) = examine([path])
    return found.problem


def test_a_good_directory_is_made_and_left_clean(tmp_path: Path) -> None:
    (found,) = examine([tmp_path / "new/models"])
    assert (found.problem, found.note) == ("", "")
    assert [path.name for path in (tmp_path / "new/models").rglob("*")] == [".cas-worker"]


def test_what_cannot_be_a_directory_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "Not a directory" in problem(tmp_path / "file/models")
    assert problem(tmp_path / "file")
    assert problem(Path("/proc/models"))


def refuse(monkeypatch: pytest.MonkeyPatch, call: str, code: int, below: Path) -> None:
    """Has an operating system's call fail for what lies below a folder."""
    real = getattr(os, call)

    def failing(*args: object, **kwargs: object) -> object:
        fds = [arg for arg in (*args, *kwargs.values()) if isinstance(arg, int)]
        places = [os.readlink(f"/proc/self/fd/{fd}") for fd in fds if os.path.exists(f"/proc/self/fd/{fd}")]
        if any(place.startswith(str(below)) for place in places):
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, failing)


@pytest.mark.parametrize(
    ("call", "code", "told"),
    [
        ("fsync", errno.EIO, "failed to keep a file (Input/output error)"),
        ("write", errno.ENOSPC, "no room left"),
        ("write", errno.EDQUOT, "no room left"),
        ("symlink", errno.EIO, "Input/output error"),
    ],
)
def test_a_directory_that_fails_says_so(
    call: str, code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, call, code, tmp_path / "bad")
    bad, good = examine([tmp_path / "bad", tmp_path / "good"])
    assert told in bad.problem
    assert good.problem == ""


@pytest.mark.parametrize("left", [b"", bytes(64 * 1024), bytes(range(255))], ids=["nothing", "zeros", "too little"])
def test_a_volume_that_loses_what_was_written_says_so(
    left: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def preadv(fd: int, views: list[memoryview], offset: int) -> int:
        data = left[offset:][: len(views[0])]
        views[0][: len(data)] = data
        return len(data)

    monkeypatch.setattr(os, "preadv", preadv)
    assert problem(tmp_path / "lossy") == "what was written there cannot be read back"


@pytest.mark.parametrize(
    ("call", "code", "note"),
    [
        ("fsync", errno.ENOTSUP, "no fsync"),
        ("fsync", errno.EINVAL, "no fsync"),
        ("symlink", errno.EPERM, "no symlinks"),
    ],
)
def test_what_a_directory_lacks_is_noted(
    call: str, code: int, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, call, code, tmp_path / "odd")
    (found,) = examine([tmp_path / "odd"])
    assert found.problem == ""
    assert note in found.note


def test_a_directory_that_does_not_answer_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fs, "sync", lambda fd: time.sleep(3))
    (found,) = examine([tmp_path / "hangs"], within=0.1)
    assert "did not answer in 0.1 s" in found.problem


def test_directories_that_hang_take_no_longer_than_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(fd: int) -> bool:
        if "good" not in os.readlink(f"/proc/self/fd/{fd}"):
            time.sleep(5)
        return True

    monkeypatch.setattr(fs, "sync", sync)
    begun = time.monotonic()
    found = examine([*(tmp_path / f"hangs{n}" for n in range(6)), tmp_path / "good"], within=0.5)
    assert time.monotonic() - begun < 1.5
    assert [bool(one.problem) for one in found] == [True] * 6 + [False]


def test_a_share_of_the_root_file_system_stays_free_as_the_sdk_wants(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.statvfs(small)
    free, whole = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    for given, percent in (("", 10), ("25", 25), ("0.5", 0.5), ("0", 0), ("100", 100), ("much", 10)):
        monkeypatch.setenv("RUNPOD_MIN_DISK_PERCENT", given)
        space = free_space(small / "not/yet", root=small)
        assert space == (free, int(whole * percent / 100))
        assert space.usable == max(0, free - space.kept)
    assert free_space(tmp_path, root=small).kept == 0, "another file system"


def test_what_is_kept_free_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_MIN_DISK_PERCENT", "")
    space = Space(free=24_100_000_000, kept=25_200_000_000)
    assert space.problem(2_900_000_000) == (
        "needs 2.9 GB, has 24.1 GB less 25.2 GB kept free: RunPod wants 10 % of / free (RUNPOD_MIN_DISK_PERCENT), "
        "give the container a larger disk"
    )
    assert Space(1000).problem(1001) == "needs 1.0 kB, has 1.0 kB"
    assert Space(1000).problem(1000) == Space(free=2000, kept=1000).problem(1000) == ""


def test_a_directory_without_any_room_may_hold_the_whole_model(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = put_model(open_store(station.store), FILES, model="f5-tts", chunk=64 * 1024)
    a, b = station.directories
    cas.restore("f5-tts", station.store, cache_dir=b / "hub")
    monkeypatch.setattr("worker.boot.directories.free_space", lambda *_: Space(0))
    assert [found.problem for found in examine([a, b])] == ["", ""]
    assert "no room" in examine([b])[0].note
    ranked, small = rank([a, b], manifest)
    assert [directory.path for directory in ranked] == [b]
    assert [found.path for found in small] == [a]


def test_the_one_that_holds_the_version_wins_and_no_longer_once_it_is_edited(station: Station) -> None:
    manifest = put_model(open_store(station.store), FILES, model="f5-tts", chunk=64 * 1024)
    a, b = station.directories
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HF_HOME", str(b))
        cas.restore("f5-tts", station.store, cache_dir=b / "hub")
    ranked, small = rank([a, b], manifest)
    assert [(directory.path, directory.reason) for directory in ranked] == [
        (b, "it holds this version, verified"),
        (a, "next of CAS_CACHE_DIRS"),
    ]
    assert small == []
    blob = max(b.glob("hub/models--*/blobs/*"), key=lambda path: path.stat().st_size)
    blob.chmod(blob.stat().st_mode | stat.S_IWUSR)
    blob.write_bytes(b"")
    assert missing(manifest, b) == 600_000
    assert [directory.path for directory in rank([a, b], manifest)[0]] == [a, b]


def test_a_directory_without_room_is_told_with_its_figures(station: Station, small: Path) -> None:
    manifest = put_model(open_store(station.store), FILES, model="f5-tts")
    ranked, left_out = rank([small, station.directories[0]], manifest)
    assert [directory.path for directory in ranked] == [station.directories[0]]
    assert left_out[0].problem == "needs 690.0 kB, has 524.3 kB"


@pytest.fixture
def small(mount: Mount, tmp_path: Path) -> Path:
    """A real file system of 512 KiB."""
    where = tmp_path / "small"
    where.mkdir()
    return mount(where, "-t", "tmpfs", "-o", "size=512k", "tmpfs")


def test_a_boot_goes_where_there_is_room(station: Station, small: Path) -> None:
    exact = station.publish()
    ran = station.boot(CAS_CACHE_DIRS=f"{small}:{station.directories[1]}")
    station.check(ran)
    assert (ran.receipt["directory"], ran.receipt["version"]) == (str(station.directories[1]), exact)
    (told,) = ran.warnings
    assert f"{small}: needs 690.0 kB, has " in told


def test_no_directory_with_room_is_the_end(station: Station, small: Path) -> None:
    station.publish()
    ran = station.boot(CAS_CACHE_DIRS=str(small))
    assert ran.code == 7, ran.err
    assert "no directory of CAS_CACHE_DIRS takes" in ran.errors[-1]
    unusable = station.boot(CAS_CACHE_DIRS="/proc/models:/sys/models")
    assert unusable.code == 7
    assert unusable.receipt["directories"].keys() == {"/proc/models", "/sys/models"}


# A disk that is full, or fails, only once the model is being written: as network volumes do.
LATE = """
import errno, os, runpy
def refuse(*args, real=os.{call}, **kwargs):
    if "/a/hub/" in os.readlink(f"/proc/self/fd/{{args[0]}}"):
        raise OSError(errno.{code}, os.strerror(errno.{code}))
    return real(*args, **kwargs)
os.{call} = refuse
runpy.run_module("worker.model.restore_process", run_name="__main__")
"""


@pytest.mark.parametrize(("call", "code"), [("pwrite", "ENOSPC"), ("pwrite", "EDQUOT"), ("fsync", "EIO")])
def test_a_disk_that_fails_in_the_middle_makes_way_for_the_next(call: str, code: str, station: Station) -> None:
    from tests.worker.station import last_message, whole_output
    from worker.boot import messages

    exact = station.publish()
    a, b = station.directories
    out, err = whole_output(station.start("-c", LATE.format(call=call, code=code), str(a), str(b)))
    done = last_message(out)
    assert isinstance(done, messages.Restored), err
    assert (done.directory, done.source, done.version) == (str(b), "store", exact)
    assert any(f"{a}: " in line and "trying the next directory" in line for line in err.splitlines())
    assert list(a.glob("hub/models--*/snapshots/*/*")) == []


def test_a_disk_without_fsync_is_warned_of_and_gone_on_with(station: Station) -> None:
    from tests.worker.station import last_message, whole_output
    from worker.boot import messages

    station.publish()
    a, b = station.directories
    out, err = whole_output(station.start("-c", LATE.format(call="fsync", code="ENOTSUP"), str(a), str(b)))
    done = last_message(out)
    assert isinstance(done, messages.Restored), err
    assert done.directory == str(a)
    assert any("a power cut may lose files" in line for line in done.warnings)
