"""A directory store survives a power cut: what is on the disk is recorded, or is looked at in a copy of the disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cas
from cas.errors import CacheError
from cas.store.store import Store
from tests.support.models import publish_tree, write_tree
from tests.support.processes import Mount, run_cas


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """Each fsync, link and rename in the store, in order, with the path that it concerns."""
    found: list[tuple[str, str]] = []
    fsync, link, rename = os.fsync, os.link, os.rename

    def record(kind: str, call: Callable[..., Any], path: Callable[..., str]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            told = path(*args)
            result = call(*args, **kwargs)
            if told.startswith(str(tmp_path / "store")):
                found.append((kind, os.path.relpath(told, tmp_path / "store")))
            return result

        return recorded

    monkeypatch.setattr(os, "fsync", record("sync", fsync, lambda fd: os.readlink(f"/proc/self/fd/{fd}")))
    monkeypatch.setattr(os, "link", record("name", link, lambda _, to: str(to)))
    monkeypatch.setattr(os, "rename", record("name", rename, lambda _, to: str(to)))
    return found


def test_children_are_durable_before_parents(
    steps: list[tuple[str, str]], directory_store: Store, tmp_path: Path
) -> None:
    tree = write_tree(tmp_path / "tree", {f"{name}.bin": os.urandom(9000) for name in "abcd"})
    publish_tree(directory_store, tree)
    named = [path for kind, path in steps if kind == "name"]
    assert {path.split("/")[0] for path in named} >= {"chunks", "manifests", "refs"}
    for number, (kind, path) in enumerate(steps):
        if kind == "name":
            assert any(k == "sync" and p.startswith(f"{path}#") for k, p in steps[:number]), f"{path}: bytes first"
    (manifest,) = [number for number, (kind, path) in enumerate(steps) if kind == "name" and path.startswith("manif")]
    (ref,) = [number for number, (kind, path) in enumerate(steps) if kind == "name" and path.startswith("refs/")]
    for path in (path for path in named if path.startswith("chunks/")):
        made = steps.index(("name", path))
        for folder in (os.path.dirname(path), "chunks", "."):
            assert ("sync", folder) in steps[made:manifest], f"{folder} before the manifest"
    assert ("sync", "manifests/m") in steps[manifest:ref]
    assert ("sync", "refs/tags/m/latest") in steps[ref:]


def test_a_sync_that_fails_leaves_no_object(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_tree(directory_store, write_tree(tmp_path / "tree", {"a.bin": b"a" * 5000}))
    before = {entry.key for entry in directory_store.bucket.list("chunks")}

    def failing(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(CacheError, match="Input/output error"):
        directory_store.put_frame("ab" * 32, b"frame")
    assert {entry.key for entry in directory_store.bucket.list("chunks")} == before
    assert list(Path(directory_store.url).rglob("*#*")) == []


def test_a_copy_of_the_disk_after_success_holds_the_model(tmp_path: Path, mount: Mount) -> None:
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4")
    image, copy = tmp_path / "image", tmp_path / "copy"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    for folder in ("disk", "after"):
        (tmp_path / folder).mkdir()
    disk = mount(tmp_path / "disk", "-o", "loop", image)
    tree = write_tree(tmp_path / "tree", {"weights.bin": os.urandom(3 << 20), "config.json": b"{}"})
    publish_tree(str(disk / "store"), tree)
    shutil.copyfile(image, copy)  # what the disk holds now, without what is in memory only
    after = mount(tmp_path / "after", "-o", "loop", copy)
    done = run_cas("--store", str(after / "store"), "fsck")
    assert done.returncode == 0, done.stderr
    restored = cas.restore("m", str(after / "store"), cache_dir=tmp_path / "hub")
    assert Path(*restored.snapshots.values(), "weights.bin").read_bytes() == (tree / "weights.bin").read_bytes()
