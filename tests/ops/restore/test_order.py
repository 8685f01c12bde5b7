"""The order in which a restore makes its files durable and visible, as the disk sees it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cas
from cas.store.store import Store
from tests.support.models import KIB, REPO, noise, put_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="paths of descriptors are read as Linux shows them")

FILES = {"model.bin": noise(200 * KIB, 1), "sub/copy.bin": noise(200 * KIB, 1), "config.json": b"{}", "empty": b""}
PLAIN = {"torch/x.pth": noise(70 * KIB, 2), "torch/deep/y.pth": b"y"}


class Disk:
    """Records what happens to the directory entries of one cache, in order.

    Attributes:
        steps: `("sync", path)` for each fsync, `("name", path)` for each rename, with paths relative to HF_HOME.
        unsynced: files that got a new name without an fsync before.
    """

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, str]] = []
        self.unsynced: list[str] = []
        self._home = home.resolve()
        self._synced: set[int] = set()
        for name, wrap in (("fsync", self._fsync), ("rename", self._rename)):
            monkeypatch.setattr(os, name, wrap(getattr(os, name)))

    def _path(self, fd: int) -> Path:
        return Path(os.readlink(f"/proc/self/fd/{fd}")).relative_to(self._home)

    def _fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(fd: int) -> None:
            real(fd)
            self._synced.add(os.fstat(fd).st_ino)
            self.steps.append(("sync", self._path(fd).as_posix()))

        return fsync

    def _rename(self, real: Callable[..., None]) -> Callable[..., None]:
        def rename(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
            stats = os.stat(old, dir_fd=src_dir_fd, follow_symlinks=False)
            real(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            path = (self._path(dst_dir_fd) / new).as_posix()
            if stats.st_ino not in self._synced and not os.path.islink(self._home / path):
                self.unsynced.append(path)
            self.steps.append(("name", path))

        return rename

    def at(self, step: str, *parts: str) -> list[int]:
        """Return when this kind of step happened to paths that contain all of `parts`."""
        return [
            at for at, (kind, path) in enumerate(self.steps) if kind == step and all(part in path for part in parts)
        ]


@pytest.fixture
def disk(directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The record of a restore of a repo and of plain files."""
    put_model(directory_store, {REPO: FILES}, PLAIN)
    (tmp_path / "home").mkdir()
    with monkeypatch.context() as patched:
        disk = Disk(tmp_path / "home", patched)
        cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    return disk


def test_every_file_is_durable_before_it_gets_its_name(disk: Disk) -> None:
    assert disk.unsynced == []
    for name in ("blobs/", "snapshots/", "refs/main", "trees/", "torch/x.pth", "verified.json", "chunks.json"):
        assert disk.at("name", name), f"the restore names {name}"


def test_without_links_copies_are_durable_before_they_get_their_names(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(directory_store, {REPO: FILES}, PLAIN)
    (tmp_path / "home").mkdir()

    def refuse(*_: object, **where: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patched:
        disk = Disk(tmp_path / "home", patched)
        patched.setattr(os, "symlink", refuse)
        patched.setattr(os, "link", refuse)
        cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    assert len(disk.at("name", "/snapshots/")) == len(FILES)
    assert disk.unsynced == []


@pytest.mark.parametrize(("folder", "files"), [("/blobs", "/blobs/"), ("torch", "torch/x"), ("torch/deep", "/deep/y")])
def test_final_names_are_durable_before_anything_depends_on_them(disk: Disk, folder: str, files: str) -> None:
    synced = [at for at in disk.at("sync", folder) if disk.steps[at][1].endswith(folder)]
    assert max(disk.at("name", files)) < min(synced)
    dependent = [*disk.at("name", "/snapshots/"), *disk.at("name", "/trees/"), *disk.at("name", "/refs/")]
    records = [max(disk.at("name", "verified.json", *within)) for within in (["hub/"], [])]
    assert max(synced) < min(*dependent, *records)


def test_links_come_before_listings_and_refs_and_the_record_last(disk: Disk) -> None:
    links, listings, refs = (disk.at("name", f"/{folder}/") for folder in ("snapshots", "trees", "refs"))
    assert len(links) == len(FILES)
    assert max(links) < min(listings) <= max(listings) < min(refs)
    assert max(refs) < max(disk.at("name", "hub/", "verified.json"))


def test_an_update_moves_a_ref_after_all_that_it_names(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(directory_store, {REPO: FILES}, model="old", commit="d" * 40)
    put_model(directory_store, {REPO: {**FILES, "config.json": b"{1}"}})
    cas.restore("old", directory_store, cache_dir=tmp_path / "home/hub")
    seen: list[dict[str, Any]] = []
    real = os.rename

    def rename(old: str, new: str, **where: Any) -> None:
        real(old, new, **where)
        if new == "main":
            snapshot = tmp_path / "home/hub/models--org--model/snapshots" / ("c" * 40)
            seen.append({name: (snapshot / name).exists() for name in FILES})

    monkeypatch.setattr(os, "rename", rename)
    cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    assert seen == [dict.fromkeys(FILES, True)]
