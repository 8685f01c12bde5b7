"""Into a cache that huggingface_hub made and goes on using: nothing of its is harmed, nothing is downloaded twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cas
from cas import refs
from cas.local.hf_cache import tree_entries
from cas.store.store import Store
from tests.support.hub import HUBS, ask_hub, check_offline, start_hub
from tests.support.models import KIB, REPO, check_blobs, noise, read_tree, snapshot, write_tree
from tools.servers.hub import Hub

OLD = {"config.json": b"{}", "model.safetensors": noise(300 * KIB, 1), "README.md": b"old"}
NEW = {"config.json": b"{}", "model.safetensors": noise(300 * KIB, 2), "sub/more.bin": noise(70 * KIB, 3)}
OTHER = {"weights.bin": noise(9 * KIB, 4)}


def download(version: str, repo: str, cache: Path, endpoint: str) -> Path:
    out, err = start_hub(version, repo, cache, endpoint).communicate(timeout=60)
    assert out, err
    return Path(out.strip())


def downloads(hub: Hub) -> list[str]:
    return [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]


def publish_new(hub_root: Path, store: Store, version: str, tmp_path: Path) -> None:
    """Publishes what the hub's repo consists of now, from a cache of its own."""
    with Hub(hub_root) as hub:
        download(version, REPO, tmp_path / "publisher", hub.url)
    source = cas.Source.from_repos([REPO])
    cas.publish("m", source, store, cache_dir=tmp_path / "publisher", download=False)


@pytest.mark.parametrize("version", HUBS)
def test_a_version_beside_what_the_client_downloaded(version: str, directory_store: Store, tmp_path: Path) -> None:
    root, cache = tmp_path / "hub", tmp_path / "cache"
    write_tree(root / REPO, OLD)
    write_tree(root / "org/other", OTHER)
    with Hub(root) as hub:
        older = download(version, REPO, cache, hub.url)
        other = download(version, "org/other", cache, hub.url)
    (root / REPO / "README.md").unlink()
    write_tree(root / REPO, NEW)
    publish_new(root, directory_store, version, tmp_path)
    repo = cache / "models--org--model"
    before = {path: path.lstat().st_mtime_ns for path in repo.glob("blobs/*")}

    restored = cas.restore("m", directory_store, cache_dir=cache)
    newer = snapshot(restored)
    assert newer != older
    assert restored.fetched == (300 + 70) * KIB, "config.json was there"
    assert read_tree(newer) == NEW
    assert read_tree(older) == OLD
    assert read_tree(other) == OTHER
    assert (repo / "refs/main").read_text() == newer.name
    assert {path: path.lstat().st_mtime_ns for path in before} == before
    check_blobs(repo)
    check_offline(cache, NEW, versions=(version,))
    found = ask_hub(version, f"found = tree(snapshot_download({REPO!r}, revision={older.name!r}))", cache,
                    HF_HUB_OFFLINE="1")  # fmt: skip
    assert found == {path: data.hex() for path, data in OLD.items()}
    with Hub(root) as hub:
        assert download(version, REPO, cache, hub.url) == newer
        assert downloads(hub) == []
    assert not cas.restore("m", directory_store, cache_dir=cache).changed


@pytest.mark.parametrize("version", HUBS)
def test_a_part_of_a_snapshot_the_client_has_more_of(version: str, directory_store: Store, tmp_path: Path) -> None:
    """The client's other files of the same commit stay, and stay listed."""
    root, cache = tmp_path / "hub", tmp_path / "cache"
    write_tree(root / REPO, NEW)
    with Hub(root) as hub:
        whole = download(version, REPO, cache, hub.url)
    source = cas.Source.from_repos([REPO], include=["sub/*"])
    cas.publish("m", source, directory_store, cache_dir=cache, download=False)
    listings = {path: path.read_bytes() for path in cache.glob("*/trees/*")}
    restored = cas.restore("m", directory_store, cache_dir=cache)
    assert restored.fetched == 0
    assert snapshot(restored) == whole
    assert read_tree(whole) == NEW
    if listings:
        assert {path: path.read_bytes() for path in cache.glob("*/trees/*")} == listings
        check_offline(cache, NEW, versions=(version,))
    with Hub(root) as hub:
        assert download(version, REPO, cache, hub.url) == whole
        assert downloads(hub) == []


def test_a_listing_names_exactly_what_is_there(directory_store: Store, tmp_path: Path) -> None:
    root, cache = tmp_path / "hub", tmp_path / "cache"
    write_tree(root / REPO, NEW)
    with Hub(root) as hub:
        folder = download("2.4", REPO, cache, hub.url)
    cas.publish("m", cas.Source.from_repos([REPO]), directory_store, cache_dir=cache, download=False)
    listing = folder.parent.parent / "trees" / f"{folder.name}.json"
    theirs = json.loads(listing.read_text())
    theirs["files"]["model.safetensors"]["xet_hash"] = "a" * 64
    listing.write_text(json.dumps({**theirs, "files": {**theirs["files"], "gone.txt": theirs["files"]["config.json"]}}))
    cas.restore("m", directory_store, cache_dir=cache)
    assert json.loads(listing.read_text()) == theirs

    listing.unlink()
    cas.restore("m", directory_store, cache_dir=cache)
    del theirs["files"]["model.safetensors"]["xet_hash"]
    assert json.loads(listing.read_text()) == theirs, "what is written is what the client writes"
    (repo,) = refs.resolve(directory_store, "m").manifest.repos
    assert tree_entries({file.path: (file.size, file.blob) for file in repo.files}) == theirs["files"]


def test_a_cache_of_shared_blobs_is_read_and_kept(directory_store: Store, tmp_path: Path) -> None:
    """huggingface_hub 2.4 may keep a blob's bytes in <hub>/blobs, and a link to them in the repo."""
    root, cache = tmp_path / "hub", tmp_path / "cache"
    write_tree(root / REPO, OLD)
    with Hub(root) as hub:
        folder = download("2.4", REPO, cache, hub.url)
    cas.publish("m", cas.Source.from_repos([REPO]), directory_store, cache_dir=cache, download=False)
    shared = []
    for name in ("model.safetensors", "config.json"):
        blob = (folder / name).resolve()
        shared.append(cache / "blobs" / "ab" / ("ab" + blob.name.rjust(64, "0")[2:]))
        shared[-1].parent.mkdir(parents=True, exist_ok=True)
        blob.rename(shared[-1])
        blob.symlink_to(f"../../blobs/ab/{shared[-1].name}")
    (cache / "blobs/.huggingface-shared-blobs").write_text("1\n")
    before = {path: (path.lstat().st_mtime_ns, path.read_bytes()) for path in cache.glob("**/*") if path.is_file()}

    assert cas.restore("m", directory_store, cache_dir=cache).fetched == 0
    assert {path: (path.lstat().st_mtime_ns, path.read_bytes()) for path in before} == before
    check_offline(cache, OLD, versions=("2.4",))
    assert not cas.restore("m", directory_store, cache_dir=cache).changed

    damaged = OLD["model.safetensors"][:-1] + b"!"
    shared[0].write_bytes(damaged)
    restored = cas.restore("m", directory_store, cache_dir=cache)
    assert restored.fetched == 300 * KIB
    assert read_tree(snapshot(restored)) == OLD
    assert shared[0].read_bytes() == damaged, "what other repos may share is not ours to replace"
    check_offline(cache, OLD, versions=("2.4",))
