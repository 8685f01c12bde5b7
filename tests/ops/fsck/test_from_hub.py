"""Repair from the hub that a version once came from: by the real client, from a hub on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import cas
from cas.formats.manifest import Manifest
from cas.refs.reference import resolve
from cas.store.store import Store, open_store
from tests.support.damage import edit, flip, noise
from tests.support.hub import Site, WatchedHub
from tests.support.models import REPO, read_tree, snapshot, write_tree

FILES = {"config.json": b'{"a": 1}', "first.bin": noise(9 << 20, 1), "second.bin": noise(70_000, 2)}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A hub, and a store with what was published from it; the cache is gone."""
    write_tree(tmp_path / "root" / REPO, FILES)
    with WatchedHub(tmp_path / "root") as hub:
        site = Site(hub, tmp_path / "cache", tmp_path / "store")
        done = site.cas("publish", "m", "--repo", REPO)
        assert done.returncode == 0, done.stderr
        shutil.rmtree(site.cache)
        hub.requests.clear()
        hub.tokens.clear()
        yield site


def manifest(site: Site) -> Manifest:
    return resolve(open_store(str(site.store)), "m").manifest


def damage(site: Site, path: str) -> Store:
    """Flips a bit in the last chunk of a file."""
    store = open_store(str(site.store))
    (file,) = (file for file in manifest(site).repos[0].files if file.path == path)
    edit(store, file.chunks[-1].digest, flip)
    return store


def downloaded(site: Site) -> set[str]:
    return {path.rpartition("/")[2] for method, path in site.hub.requests if method == "GET" and "/resolve/" in path}


def test_only_files_with_damaged_chunks_are_downloaded(site: Site, tmp_path: Path) -> None:
    site.env |= {"HF_TOKEN": "hf_secret_of_mine", "TMPDIR": str(tmp_path / "scratch")}
    (tmp_path / "scratch").mkdir()
    store = damage(site, "first.bin")
    done = site.cas("--json", "fsck", "--repair-from", "hf")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["repaired"]["count"] == 1
    assert downloaded(site) == {"first.bin"}
    assert isinstance(site.hub, WatchedHub)
    assert site.hub.tokens == {"Bearer hf_secret_of_mine"}
    assert "hf_secret_of_mine" not in done.stdout + done.stderr
    assert not site.cache.exists()
    assert list((tmp_path / "scratch").iterdir()) == []
    assert read_tree(snapshot(cas.restore("m", store, cache_dir=tmp_path / "hub"))) == FILES


def test_a_sound_store_asks_no_hub(site: Site) -> None:
    assert site.cas("fsck", "--repair-from", "hf").returncode == 0
    assert site.hub.requests == []


@pytest.mark.parametrize("how", ["repo", "commit"])
def test_what_is_not_on_the_hub_any_more_mends_nothing(site: Site, how: str) -> None:
    if how == "repo":
        shutil.rmtree(site.hub.root / REPO)
    else:
        write_tree(site.hub.root / REPO, {"second.bin": b"changed upstream"})
    damage(site, "second.bin")
    done = site.cas("fsck", "--repair-from", "hf")
    assert done.returncode == 4, done.stderr
    assert "is not on http://" in done.stderr
    assert "hf lacks 1 of 1 chunks" in done.stderr


def test_a_hub_that_gives_other_bytes_mends_nothing(site: Site) -> None:
    site.hub.corrupt.add("second.bin")
    damage(site, "second.bin")
    done = site.cas("fsck", "--repair-from", "hf")
    assert done.returncode == 4, done.stderr
    assert site.cas("fsck").returncode == 4


@pytest.mark.parametrize("how", ["gated", "offline"])
def test_a_hub_that_refuses_or_fails_is_a_store_error(site: Site, how: str) -> None:
    damage(site, "second.bin")
    assert isinstance(site.hub, WatchedHub)
    if how == "gated":
        site.hub.gated.add(REPO)
    else:
        site.env["HF_HUB_OFFLINE"] = "1"
    done = site.cas("fsck", "--repair-from", "hf")
    assert done.returncode == 6, done.stderr
    last = done.stderr.splitlines()[-1]
    assert ("is gated" if how == "gated" else "cannot be downloaded from") in last
    assert "Traceback" not in done.stderr
