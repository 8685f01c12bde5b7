"""File systems with fewer kinds of links, and links planted to lead a restore astray."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import cas
from cas.config import cache_dirs
from cas.errors import CacheError, IntegrityError
from cas.local.targets import targets_of
from cas.ops.verify import verify
from cas.store.store import Store
from tests.support.hub import check_offline
from tests.support.in_process import call_cas
from tests.support.models import COMMIT, KIB, REPO, check, noise, put_model, read_tree, snapshot

FILES = {"sub/a.bin": noise(200 * KIB, 1), "twin.bin": noise(200 * KIB, 1), "b.json": b"{}", "empty": b""}


def refuse(code: int) -> Callable[..., None]:
    def call(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    return call


@pytest.fixture(params=["hard links", "copies"])
def poor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A volume without symlinks (as vfat says it), or without any links."""
    monkeypatch.setattr(os, "symlink", refuse(errno.EPERM))
    if request.param == "copies":
        monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    return str(request.param)


def test_without_symlinks_every_client_finds_its_files(
    poor: str, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(directory_store, {REPO: FILES})
    seen: list[cas.Event] = []
    restored = cas.restore("m", directory_store, cache_dir=tmp_path / "cache", on_event=seen.append)
    folder = snapshot(restored)
    assert read_tree(folder) == FILES
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    names = {path.stat().st_ino for path in (folder / "sub/a.bin", folder / "twin.bin")}
    blobs = list((folder.parent.parent / "blobs").iterdir())
    assert (len(names), len(blobs)) == ((1, 3) if poor == "hard links" else (2, 0))
    assert len([event for event in seen if "no symlinks" in str(event)]) == 1
    check_offline(tmp_path / "cache", FILES)

    def unread(fd: int, view: memoryview, offset: int) -> int:
        raise AssertionError("a warm restore reads no model byte")

    with monkeypatch.context() as patched:
        patched.setattr("cas.local.scan.read_at", unread)
        again = cas.restore("m", directory_store, cache_dir=tmp_path / "cache")
    assert (again.changed, again.fetched) == (False, 0)
    assert verify("m", directory_store, cache_dir=tmp_path / "cache").sound


def test_without_links_damage_is_named_and_healed(poor: str, directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    folder = snapshot(cas.restore("m", directory_store, cache_dir=tmp_path / "cache"))
    (folder / "b.json").write_bytes(b"{]")
    (folder / "sub/a.bin").write_bytes(FILES["sub/a.bin"][:-1] + b"!")
    report = verify("m", directory_store, cache_dir=tmp_path / "cache")
    assert {str(folder / "b.json"), str(folder / "sub/a.bin")} <= set(report.damaged)
    healed = cas.restore("m", directory_store, cache_dir=tmp_path / "cache")
    assert healed.fetched == (8 * KIB + 2 if poor == "hard links" else 2), "the twin has what a copy lost"
    assert read_tree(folder) == FILES
    assert not cas.restore("m", directory_store, cache_dir=tmp_path / "cache", verify=True).changed


def test_a_cache_of_copies_becomes_links_where_links_work(
    poor: str, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(directory_store, {REPO: FILES})
    cas.restore("m", directory_store, cache_dir=tmp_path / "cache")
    monkeypatch.undo()
    restored = cas.restore("m", directory_store, cache_dir=tmp_path / "cache")
    assert (restored.changed, restored.fetched) == (False, 0)
    assert read_tree(snapshot(restored)) == FILES


def test_without_symlinks_a_file_that_is_written_to_once_it_has_its_name_is_not_believed(
    poor: str, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(directory_store, {REPO: FILES})
    real = os.rename

    def rename(old: str, new: str, **where: int) -> None:
        real(old, new, **where)
        for path in tmp_path.glob(f"cache/models--org--model/snapshots/*/{new}"):
            path.write_bytes(path.read_bytes()[:-1] + b"!")
            os.utime(path, (1, 1))

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", rename)
        folder = snapshot(cas.restore("m", directory_store, cache_dir=tmp_path / "cache"))
    assert read_tree(folder) != FILES
    assert cas.restore("m", directory_store, cache_dir=tmp_path / "cache").changed
    assert read_tree(folder) == FILES


@pytest.mark.parametrize("poor", ["copies"], indirect=True)
def test_a_second_copy_is_made_of_verified_bytes_only(poor: str, directory_store: Store, tmp_path: Path) -> None:
    """The record vouches for a file by its size and time: bytes that changed beneath those are not copied."""
    put_model(directory_store, {REPO: FILES})
    folder = snapshot(cas.restore("m", directory_store, cache_dir=tmp_path / "cache"))
    first, second = folder / "sub/a.bin", folder / "twin.bin"
    before = first.stat()
    first.write_bytes(FILES["sub/a.bin"][:-1] + b"!")
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    second.unlink()
    with pytest.raises(IntegrityError, match=r"a\.bin changed while it was copied: restore again"):
        cas.restore("m", directory_store, cache_dir=tmp_path / "cache")
    assert not second.exists()
    cas.restore("m", directory_store, cache_dir=tmp_path / "cache", verify=True)
    assert read_tree(folder) == FILES


def test_a_cache_that_is_cleared_while_links_are_made_is_told(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(directory_store, {REPO: FILES})
    real = os.symlink

    def clear(*words: str, **where: int) -> None:
        shutil.rmtree(tmp_path / "models--org--model")
        real(*words, **where)

    with monkeypatch.context() as patched:
        patched.setattr(os, "symlink", clear)
        with pytest.raises(
            CacheError, match="vanished while its links were made: another program is clearing the cache"
        ):
            cas.restore("m", directory_store, cache_dir=tmp_path)
    check(cas.restore("m", directory_store, cache_dir=tmp_path), FILES)


# Where a symlink is planted, below the repo's folder.
PLACES = (
    "blobs",
    "snapshots",
    f"snapshots/{COMMIT}",
    f"snapshots/{COMMIT}/sub",
    "refs",
    "trees",
    ".cas",
    ".cas/parts",
)


@pytest.mark.parametrize("place", PLACES)
def test_a_planted_folder_link_leads_nothing_outside(place: str, directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    outside = tmp_path / "outside"
    outside.mkdir()
    planted = tmp_path / "cache/models--org--model" / place
    planted.parent.mkdir(parents=True)
    planted.symlink_to(outside)
    ran = call_cas("--store", directory_store.url, "restore", "m", "--cache-dir", str(tmp_path / "cache"))
    assert ran.returncode == 7
    assert ran.stderr == (
        f"cas: {planted} is a symlink or a file where a directory belongs: remove it and restore again\n"
    )
    assert list(outside.iterdir()) == []
    planted.unlink()
    check(cas.restore("m", directory_store, cache_dir=tmp_path / "cache"), FILES)


@pytest.mark.parametrize("place", ["torch", ".cas", ".cas/parts", "torch/x"])
def test_a_planted_link_below_hf_home_leads_nothing_outside(place: str, directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {}, {"torch/x/y.pth": b"plain"})
    outside = tmp_path / "outside"
    outside.mkdir()
    planted = tmp_path / "home" / place
    planted.parent.mkdir(parents=True)
    planted.symlink_to(outside)
    with pytest.raises(CacheError, match="is a symlink or a file where a directory belongs"):
        cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    assert list(outside.iterdir()) == []


def test_planted_lock_links_lead_nothing_outside(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    outside = tmp_path / "outside"
    outside.mkdir()
    for number, place in enumerate((".locks", ".locks/models--org--model", ".locks/models--org--model/cas.lock")):
        planted = tmp_path / str(number) / place
        planted.parent.mkdir(parents=True)
        planted.symlink_to(outside / "new" if place.endswith(".lock") else outside)
        check(cas.restore("m", directory_store, cache_dir=tmp_path / str(number)), FILES)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("victim", ["file", "folder", "nothing"])
def test_a_planted_link_at_a_files_name_is_replaced(victim: str, directory_store: Store, tmp_path: Path) -> None:
    made = put_model(directory_store, {REPO: FILES})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    aim = {"file": outside / "precious", "folder": outside, "nothing": outside / "new"}[victim]
    cache = tmp_path / "cache"
    wanted = targets_of(made, cache_dirs(cache))
    root = wanted[0].root
    names = [target.path for target in wanted] + [root / "snapshots" / COMMIT / name for name in FILES]
    parts = [root / ".cas/parts" / f"{target.content}.they.1.part" for target in wanted]
    for path in (*names, *parts, root / "refs/main", root / f"trees/{COMMIT}.json", root / ".cas/verified.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(aim)
    check(cas.restore("m", directory_store, cache_dir=cache), FILES)
    assert read_tree(outside) == {"precious": b"precious"}
    assert (root / ".cas/verified.json").is_symlink() is False
    assert not any(path.is_symlink() for path in (root / "blobs").iterdir())


def test_a_part_file_that_is_another_name_of_a_file_is_not_written_to(directory_store: Store, tmp_path: Path) -> None:
    made = put_model(directory_store, {REPO: FILES})
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (target, *_) = targets_of(made, cache_dirs(tmp_path))
    part = target.root / ".cas/parts" / f"{target.content}.they.1.part"
    part.parent.mkdir(parents=True)
    os.link(precious, part)
    check(cas.restore("m", directory_store, cache_dir=tmp_path), FILES)
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize("place", ["blobs/{blob}", "snapshots/{commit}/b.json", "refs/main", "trees/{commit}.json"])
def test_a_folder_at_a_files_name_is_told_in_one_line(place: str, directory_store: Store, tmp_path: Path) -> None:
    made = put_model(directory_store, {REPO: FILES})
    root = tmp_path / "models--org--model"
    path = root / place.format(blob=made.repos[0].files[0].blob, commit=COMMIT)
    (path / "inside").mkdir(parents=True)
    ran = call_cas("--store", directory_store.url, "restore", "m", "--cache-dir", str(tmp_path))
    assert ran.returncode == 7
    assert ran.stderr == f"cas: {path} is in the way, and is not what belongs there: remove it and restore again\n"
    (path / "inside").rmdir()
    path.rmdir()
    check(cas.restore("m", directory_store, cache_dir=tmp_path), FILES)
