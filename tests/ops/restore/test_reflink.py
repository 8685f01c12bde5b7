"""Where files can share their bytes, an update writes and needs room for only what changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import cas
from cas.errors import DiskFull
from cas.local import fs
from tests.ops.restore.versions import MIB, Versions, big_file, flip
from tests.support.models import KIB, check, read_tree, snapshot
from tests.support.processes import Mount
from tools.models.safetensors import write_safetensors
from tools.models.weights import Recipe, Weights


@pytest.fixture(params=["xfs", "btrfs"])
def sharing(request: pytest.FixtureRequest, mount: Mount, tmp_path: Path) -> Path:
    """A real file system whose files can share their bytes."""
    maker = shutil.which(f"mkfs.{request.param}")
    if maker is None:
        pytest.skip(f"needs mkfs.{request.param}")
    image, where = tmp_path / "image", tmp_path / "mount"
    with image.open("wb") as file:
        file.truncate(320 * MIB)
    where.mkdir()
    subprocess.run([maker, "-q", str(image)], check=True, capture_output=True)
    return mount(where, "-o", "loop", image)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every write to a part file."""
    seen: list[int] = []
    real = os.pwrite

    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        done = real(fd, data, offset)
        seen.append(done)
        return done

    monkeypatch.setattr(os, "pwrite", pwrite)
    return seen


def test_where_files_can_share_bytes_an_update_writes_what_changed(
    sharing: Path, versions: Versions, written: list[int]
) -> None:
    versions.cache = sharing / "hub"
    versions.restore("old")
    written.clear()
    restored = versions.restore()
    assert sum(written) == versions.added_bytes
    assert restored.reused > 4 * MIB
    versions.check(restored)
    check(versions.restore("old"), versions.old)


def test_a_shared_byte_that_is_wrong_is_fetched_over(sharing: Path, versions: Versions) -> None:
    versions.cache = sharing / "hub"
    versions.restore("old")
    blob = big_file(versions.cache)
    before = blob.stat()
    flip(blob, 2 * MIB)
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    restored = versions.restore()
    assert restored.fetched == versions.added_bytes + 1280 * KIB
    assert read_tree(snapshot(restored)) == versions.new
    damaged = blob.read_bytes()
    assert damaged != versions.old["model.safetensors"], "the older version is not ours to heal here"


def test_a_damaged_file_is_healed_by_sharing_what_is_good(
    sharing: Path, versions: Versions, written: list[int]
) -> None:
    versions.cache = sharing / "hub"
    versions.restore("new")
    flip(big_file(versions.cache), 2 * MIB)
    written.clear()
    restored = versions.restore(verify=True)
    assert restored.fetched == sum(written) == 1280 * KIB
    check(restored, versions.new)


@pytest.mark.parametrize("sharing", ["xfs"], indirect=True)
def test_shared_bytes_need_no_room(sharing: Path, tmp_path: Path) -> None:
    big = {f"w{at}": ("F32", (1280, 256)) for at in range(100)}
    files = []
    for changed in (0.0, 0.05):
        write_safetensors(tmp_path / "big", Weights(big, Recipe(0, changed)))
        files.append({"big.safetensors": (tmp_path / "big").read_bytes()})
    versions = Versions(tmp_path, *files)
    versions.cache = sharing / "hub"
    versions.restore("old")
    with (sharing / "ballast").open("wb") as file:
        while fs.free_bytes(sharing) > 40 * MIB:
            file.write(bytes(4 * MIB))
            file.flush()
            os.fsync(file.fileno())
    planned = versions.restore(dry_run=True)
    assert planned.fetched == versions.added_bytes
    versions.check(versions.restore())
    with pytest.raises(DiskFull):
        versions.restore("new", cache_dir=sharing / "elsewhere")


def test_the_files_of_a_folder_can_be_clones_of_those_in_the_cache(
    sharing: Path, versions: Versions, written: list[int]
) -> None:
    folder = cas.Folder(sharing / "folder", link="reflink")
    done = versions.restore(cache_dir=sharing / "hub", to=folder)
    assert done.linked == sum(map(len, versions.new.values()))
    assert sum(written) == done.fetched, "the bytes were written once, into the cache"
    assert {path: (sharing / "folder" / path).read_bytes() for path in versions.new} == versions.new
    flip(sharing / "folder/model.safetensors", 4 * MIB)
    assert not versions.restore(cache_dir=sharing / "hub", verify=True).changed, "a clone is a file of its own"
    assert not any((sharing / "folder" / path).samefile(snapshot(done) / path) for path in versions.new)
