"""A directory that another user of the machine made, or may write to, is no cache directory of a worker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import cas
from tests.support.processes import Mount, run_cas
from tests.worker.station import AWAY, Station, last_message, whole_output
from worker.boot import messages, ownership
from worker.boot.directories import examine
from worker.boot.ownership import others_problem

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make directories of another user")

OTHER = 1001


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A cache directory as a worker leaves it."""
    made = tmp_path / "volume/models"
    for name in ("hub/models--a--b", ".cas-worker", "torch"):
        (made / name).mkdir(parents=True)
    return made


def give(path: Path) -> None:
    os.chown(path, OTHER, OTHER, follow_symlinks=False)


def test_one_of_ours_or_of_roots_is_used(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert others_problem(directory) == ""
    assert others_problem(directory / "not/made/yet") == ""
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o700)
    assert examine([directory])[0].problem == ""
    give(directory)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    assert others_problem(directory) == "", "of this user, below what root owns"


@pytest.mark.parametrize("name", [".", "..", "hub", ".cas-worker", "torch", "modules", "accelerate"])
def test_what_belongs_to_another_user_is_left_out(name: str, directory: Path) -> None:
    (directory / name).mkdir(exist_ok=True)
    give(directory / name)
    (found,) = examine([directory])
    where = (directory / name).resolve() if name == ".." else directory / name
    assert found.problem.startswith(
        f"{where} belongs to another user of this machine (uid 1001): chown it to yours, or"
    )
    assert "CAS_CACHE_DIRS" in found.problem
    assert list((directory / ".cas-worker").iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o770, 0o733, 0o2775])
@pytest.mark.parametrize("name", [".", "..", "hub", ".cas-worker"])
def test_what_others_may_write_to_is_left_out(name: str, mode: int, directory: Path) -> None:
    (directory / name).chmod(mode)
    assert f"(mode {mode:o}): take that away with chmod go-w" in examine([directory])[0].problem


@pytest.mark.parametrize(("name", "usable"), [("..", True), (".", True), ("hub", False), (".cas-worker", False)])
def test_the_sticky_bit_keeps_what_one_made_and_not_what_others_add(name: str, usable: bool, directory: Path) -> None:
    (directory / name).chmod(0o1777)
    assert (examine([directory])[0].problem == "") is usable


def test_a_hub_may_be_a_link_to_elsewhere(directory: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere/hub"
    elsewhere.mkdir(parents=True)
    (directory / "hub/models--a--b").rmdir()
    (directory / "hub").rmdir()
    (directory / "hub").symlink_to(elsewhere)
    elsewhere.parent.chmod(0o1777)
    assert others_problem(directory) == ""
    elsewhere.chmod(0o1777)
    assert f"write to {elsewhere}" in others_problem(directory)
    elsewhere.chmod(0o755)
    give(elsewhere.parent)
    assert f"{elsewhere.parent} belongs to another user" in others_problem(directory)


def test_nothing_is_made_below_another_users_directory(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    give(theirs)
    assert "belongs to another user" in examine([theirs / "new/models"])[0].problem
    assert list(theirs.iterdir()) == []


def test_a_directory_that_another_user_makes_at_the_same_moment_is_left_out(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, mkdir = directory / "new", Path.mkdir

    def overtaken(path: Path, *words: Any, **options: Any) -> None:
        mkdir(path, *words, **options)
        if path == made:
            give(made)

    monkeypatch.setattr(Path, "mkdir", overtaken)
    assert "belongs to another user" in examine([made])[0].problem
    assert list(made.iterdir()) == [], "nothing was written there"


@pytest.mark.parametrize("far", [False, True])
def test_a_link_of_another_user_is_not_followed(far: bool, directory: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(directory)
    assert others_problem(link) == ""
    give(link)
    asked = tmp_path / "mine"
    asked.symlink_to("link" if far else directory / "../../link")
    for path in (link, link / "below", asked, asked / "below"):
        assert f"{link} belongs to another user" in others_problem(path)
    (tmp_path / "loop").symlink_to("loop")
    assert examine([tmp_path / "loop/models"])[0].problem


def test_a_volume_that_is_open_as_a_whole_is_used(tmp_path: Path, mount: Mount) -> None:
    """As a network volume of RunPod's: everything on it is open to everybody, and belongs to root."""
    (tmp_path / "v").mkdir()
    volume = mount(tmp_path / "v", "-t", "tmpfs", "-o", "mode=777", "tmpfs")
    for path in (volume / "models", volume / "models/hub", volume / "models/.cas-worker"):
        path.mkdir()
        path.chmod(0o777)
    assert [found.problem for found in examine([volume, volume / "models"])] == ["", ""]
    give(volume / "models/hub")
    assert "models/hub belongs to another user" in others_problem(volume / "models")


@pytest.mark.parametrize("options", ["mode=755", "mode=1777"])
def test_an_open_directory_on_a_volume_that_is_not_is_left_out(options: str, tmp_path: Path, mount: Mount) -> None:
    (tmp_path / "v").mkdir()
    volume = mount(tmp_path / "v", "-t", "tmpfs", "-o", options, "tmpfs")
    (volume / "models").mkdir()
    assert others_problem(volume / "models") == ""
    (volume / "models").chmod(0o777)
    assert "other users may write to" in others_problem(volume / "models")


def test_a_volume_of_another_user_is_left_out(tmp_path: Path, mount: Mount) -> None:
    (tmp_path / "v").mkdir()
    volume = mount(tmp_path / "v", "-t", "tmpfs", "-o", f"mode=777,uid={OTHER}", "tmpfs")
    assert "belongs to another user" in others_problem(volume / "models")


def test_a_volume_that_shows_all_files_as_one_users_is_used(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS does with all_squash: what this process writes there belongs to that user, too."""
    give(directory)
    monkeypatch.setattr(ownership, "_owner_of_new_files", lambda path: OTHER)
    assert others_problem(directory) == ""


def test_a_group_of_ones_own_may_write(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import grp
    import pwd

    user = pwd.struct_passwd(("ann", "x", OTHER, 2002, "", "/", "/bin/sh"))
    members: list[str] = []
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: user)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("ann", "x", gid, members)))
    os.chown(directory, OTHER, 2002)
    directory.chmod(0o775)
    assert others_problem(directory) == ""
    members.append("bob")
    assert "other users may write" in others_problem(directory)
    members.clear()
    os.chown(directory, OTHER, 2003)
    assert "other users may write" in others_problem(directory)


def planted(station: Station) -> str:
    """The first directory of the station is another user's, with a model, its record and a note of the last version."""
    exact = station.publish()
    a, _ = station.directories
    cas.restore("f5-tts", station.store, cache_dir=a / "hub")
    words = ["--store", station.store, "lock", "f5-tts", "-o", str(a / ".cas-worker/f5-tts.json")]
    (a / ".cas-worker").mkdir()
    assert run_cas(*words).returncode == 0
    for path in (a, *a.rglob("*")):
        give(path)
    return exact


def test_a_worker_does_not_run_what_another_user_put_there(station: Station) -> None:
    exact = planted(station)
    a, b = station.directories
    before = sorted(a.rglob("*"))
    ran = station.boot(CAS_STORE="s3://b/cas", AWS_ENDPOINT_URL=AWAY, HF_ENDPOINT=AWAY, CAS_MODEL=exact)
    assert ran.code == 6, ran.err
    assert "belongs to another user of this machine" in ran.receipt["directories"][str(a)]
    again = station.boot()
    station.check(again)
    assert (again.receipt["directory"], again.receipt["version"]) == (str(b), exact)
    assert sorted(a.rglob("*")) == before
    alone = station.boot(CAS_CACHE_DIRS=str(a))
    assert alone.code == 7
    assert f"{a} belongs to another user" in alone.errors[-1]


def test_the_restoring_process_looks_again(station: Station) -> None:
    planted(station)
    a, b = station.directories
    b.mkdir()

    def restored(*paths: Path) -> Any:
        out, err = whole_output(station.start("-m", "worker.model.restore_process", *map(str, paths)))
        return last_message(out), err

    done, err = restored(a, b)
    assert isinstance(done, messages.Restored), err
    assert (done.directory, done.source) == (str(b), "store")
    assert any(f"{a} belongs to another user" in line for line in done.warnings)
    failed, err = restored(a)
    assert isinstance(failed, messages.Failed), err
    assert failed.exit_code == 7


def test_what_a_worker_makes_others_may_not_write_to(station: Station) -> None:
    station.publish()
    a, b = station.directories
    before = os.umask(0)
    try:
        first = station.boot()
    finally:
        os.umask(before)
    station.check(first)
    assert [
        oct(path.stat().st_mode) for path in (a, *a.rglob("*")) if path.is_dir() and path.stat().st_mode & 0o022
    ] == []
    second = station.boot()
    station.check(second)
    assert second.receipt["directory"] == str(a), b
