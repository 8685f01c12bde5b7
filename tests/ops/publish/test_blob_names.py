"""A file's sha256 is computed unless the parent has it; a blob's content must be what its name says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import cas
from cas import refs
from cas.errors import CacheError, IntegrityError
from cas.formats.digest import hex_of
from cas.formats.manifest import ChunkRef, RepoFile
from cas.host import MIB
from cas.local.hf_cache import RepoCache, blob_hash, files_below, git_sha1
from cas.ops.publish import file_reader
from cas.ops.publish.file_reader import FileReader
from cas.store.store import Store, open_store
from tests.ops.publish.numbered import numbered, only_file
from tests.support.hub import Site
from tests.support.models import COMMIT, REPO, publish_tree, read_tree, sha256, snapshot, write_tree


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the files whose blob names were computed."""
    seen: list[int] = []

    def counting(blob: str, size: int) -> Any:
        seen.append(size)
        return blob_hash(blob, size)

    monkeypatch.setattr(file_reader, "blob_hash", counting)
    return seen


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the chunks whose digests a publish computed."""
    seen: list[int] = []

    def counting(data: memoryview) -> str:
        seen.append(len(data))
        return hex_of(data)

    monkeypatch.setattr("cas.ops.publish.upload.hex_of", counting)
    return seen


def test_a_name_is_not_computed_for_chunks_that_the_parent_has_named(
    directory_store: Store, tmp_path: Path, named: list[int], hashed: list[int]
) -> None:
    data = numbered(1, 2, 3)
    tree = write_tree(tmp_path / "tree", {"w.bin": data})
    first = publish_tree(directory_store, tree)
    assert (named, sum(hashed)) == ([len(data)], len(data))
    named.clear()
    hashed.clear()
    assert publish_tree(directory_store, tree).reference == first.reference
    assert (named, sum(hashed)) == ([], len(data))  # the chunks are hashed all the same
    os.rename(tree / "w.bin", tree / "renamed.bin")
    publish_tree(directory_store, tree)
    assert named == []
    assert only_file(directory_store).blob == sha256(tree / "renamed.bin")
    publish_tree(directory_store, tree, force=True)  # a forced publish trusts no parent
    assert named == [len(data)]


def test_a_blob_named_by_its_git_sha1_is_not_given_the_sha256_of_the_parents_file(
    directory_store: Store, tmp_path: Path
) -> None:
    """Small files of a repo have git's name on the hub, and were named by their sha256 when a folder was published."""
    data = b"{}" * 50
    publish_tree(directory_store, write_tree(tmp_path / "tree", {"config.json": data}))
    cache = RepoCache(tmp_path / "hub", "model", REPO)
    write_tree(cache.root, {f"blobs/{git_sha1(data)}": data, "refs/main": COMMIT.encode()})
    (cache.root / "snapshots" / COMMIT).mkdir(parents=True)
    (cache.root / "snapshots" / COMMIT / "config.json").symlink_to(f"../../blobs/{git_sha1(data)}")
    source = cas.Source.from_repos([REPO])
    cas.publish("m", source, directory_store, cache_dir=tmp_path / "hub", download=False)
    assert only_file(directory_store).blob == git_sha1(data)


@pytest.mark.parametrize("changed", [(9, 2, 3), (1, 9, 3), (1, 2, 9), (2, 1, 3), (1, 2), (1, 2, 3, 4)])
def test_a_name_is_computed_when_any_chunk_differs(
    directory_store: Store, tmp_path: Path, named: list[int], changed: tuple[int, ...]
) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": numbered(1, 2, 3)})
    publish_tree(directory_store, tree)
    named.clear()
    write_tree(tree, {"w.bin": numbered(*changed)})
    publish_tree(directory_store, tree)
    assert named == [len(numbered(*changed))]
    assert only_file(directory_store).blob == sha256(tree / "w.bin")
    assert read_tree(snapshot(cas.restore("m", directory_store, cache_dir=tmp_path / "hub"))) == read_tree(tree)


def test_of_several_parent_files_that_begin_alike_the_right_one_gives_its_name(
    directory_store: Store, tmp_path: Path, named: list[int]
) -> None:
    files = {f"{number}.bin": numbered(1, number) for number in range(3)}
    tree = write_tree(tmp_path / "tree", files)
    publish_tree(directory_store, tree)
    named.clear()
    for name in files:
        (tree / name).unlink()
    write_tree(tree, {"moved.bin": files["2.bin"]})
    publish_tree(directory_store, tree)
    assert named == []
    assert only_file(directory_store).blob == sha256(tree / "moved.bin")


def test_one_blob_in_two_repos_is_one_content(full: Site, directory_store: Store) -> None:
    other = full.cache / "models--org--other"
    shutil.copytree(full.repo, other, symlinks=True)
    source = cas.Source.from_repos([REPO, "org/other"])
    done = cas.publish("m", source, directory_store, cache_dir=full.cache, download=False)
    first, second = refs.resolve(directory_store, "m").manifest.repos
    assert first.files == second.files
    assert done.uploaded * 2 == done.total
    blob = max((other / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes() + b"more")
    with pytest.raises(IntegrityError, match="its content is"):
        cas.publish("m", source, directory_store, cache_dir=full.cache, download=False, force=True)


def test_a_git_sha1_in_the_parent_does_not_name_a_file_of_a_folder(tmp_path: Path, named: list[int]) -> None:
    path = write_tree(tmp_path, {"a.txt": b"abc"}) / "a.txt"
    git = RepoFile("a.txt", 3, "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", (ChunkRef(hex_of(b"abc"), 3),))
    file = FileReader(files_below(path.parent)[0], [git])
    file.add(0, hex_of(b"abc"), memoryview(b"abc"))
    assert (file.blob, named) == (sha256(path), [3])


def test_files_outside_repos_get_no_name(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: list[int]
) -> None:
    write_tree(tmp_path / "home", {"torch/hub/x.pth": b"x" * 100})
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    cas.publish("m", cas.Source(files=("torch/hub/*.pth",)), directory_store)
    assert named == []
    assert refs.resolve(directory_store, "m").manifest.files[0].chunks == (ChunkRef(hex_of(b"x" * 100), 100),)


def test_bytes_that_change_unnoticed_before_the_name_is_computed_end_the_publish(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": numbered(1, 2, 3)})
    first = publish_tree(directory_store, tree)
    write_tree(tree, {"w.bin": numbered(1, 2, 9)})
    before = (tree / "w.bin").stat()
    hash_recorded = FileReader._hash_recorded

    def changing(self: FileReader) -> Any:
        with (tree / "w.bin").open("r+b") as file:
            file.write(b"other")
        os.utime(tree / "w.bin", ns=(before.st_atime_ns, before.st_mtime_ns))
        return hash_recorded(self)

    monkeypatch.setattr(FileReader, "_hash_recorded", changing)
    with pytest.raises(CacheError, match="changed while it was read"):
        publish_tree(directory_store, tree)
    assert refs.resolve(directory_store, "m").exact == first.reference


def test_a_damaged_blob_is_found_though_its_chunks_are_sent(site: Site) -> None:
    data = os.urandom(20 * MIB)
    write_tree(site.hub.root / REPO, {"weights.bin": data})
    site.hub.corrupt.add("weights.bin")
    done = site.cas("publish", "m", "--repo", REPO)
    assert done.returncode == 4, done.stderr
    assert "it is damaged; remove it and download it again" in done.stderr
    store = open_store(str(site.store))
    stored = {entry.key.split("/")[0] for entry in store.bucket.list("")}
    assert stored == {"format.json", "chunks", "leases"}
    site.hub.corrupt.clear()
    next(path for path in (site.repo / "blobs").iterdir() if path.stat().st_size == len(data)).unlink()
    done = site.cas("--json", "publish", "m", "--repo", REPO)
    assert done.returncode == 0, done.stderr
    assert read_tree(snapshot(cas.restore("m", store, cache_dir=site.cache.parent / "other")))["weights.bin"] == data
