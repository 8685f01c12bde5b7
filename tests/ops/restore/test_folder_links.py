"""Files of a folder as hard links to those in the cache, or as clones of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cas
from cas.errors import CacheError, IntegrityError
from cas.local import fs
from cas.ops.prune.pruner import prune
from cas.ops.restore import folder_links
from cas.store.store import Store
from tests.ops.restore.folders import FILES, files_in, refused, restore
from tests.support.in_process import call_cas
from tests.support.models import KIB, REPO, read_tree


def test_hard_links_to_the_cache_take_no_space_twice(folder: Path, directory_store: Store, tmp_path: Path) -> None:
    words = ("--store", directory_store.url, "restore", "m", "--to", str(folder), "--link", "hardlink", "--json")
    words += ("--cache-dir", str(tmp_path / "hub"))
    would = json.loads(call_cas(*words, "--dry-run").stdout)
    assert (would["linked"], would["fetched"]) == (700 * KIB + 2, 500 * KIB + 2)
    assert not folder.exists()
    ran = call_cas(*words)
    assert ran.returncode == 0, ran.stderr
    done = json.loads(ran.stdout)
    assert done["linked"] == 700 * KIB + 2
    assert files_in(folder) == FILES
    snapshot = Path(done["snapshots"][REPO])
    assert all((folder / path).samefile(snapshot / path) for path in FILES)
    again = json.loads(call_cas(*words).stdout)
    assert (again["changed"], again["linked"]) == (False, 0)
    (folder / "model.bin").unlink()
    assert json.loads(call_cas(*words).stdout)["linked"] == 300 * KIB
    assert cas.restore("other", directory_store, to=cas.Folder(folder, delete=True)).removed
    assert read_tree(snapshot) == FILES, "the cache keeps what the folder loses"


def test_a_link_replaces_nothing_of_the_users(folder: Path, directory_store: Store, tmp_path: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_bytes(b"mine")
    line = refused(directory_store, folder, "m", "--link", "hardlink", "--cache-dir", str(tmp_path / "hub"), code=7)
    assert "config.json is in the way" in line
    assert not (tmp_path / "hub").exists(), "nothing was fetched"


def test_a_file_of_the_cache_that_changes_meanwhile_is_not_taken_for_right(
    folder: Path, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: str, target: str, real: Callable[..., None] = os.link, **options: int) -> None:
        real(source, target, **options)
        path = tmp_path / "hub/models--org--model/blobs" / source
        path.write_bytes(bytes(path.stat().st_size))

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(IntegrityError, match="changed while it was linked"):
        restore(directory_store, cas.Folder(folder, link="hardlink"), cache_dir=tmp_path / "hub")
    monkeypatch.undo()
    restore(directory_store, cas.Folder(folder, link="hardlink"), cache_dir=tmp_path / "hub")
    assert files_in(folder) == FILES


def test_a_cache_that_is_pruned_before_the_links_are_made(
    folder: Path, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hold_after_a_prune(*arguments: Any, real: Any = folder_links.hold_root_locks) -> Any:
        prune(cache_dir=tmp_path / "hub")
        return real(*arguments)

    monkeypatch.setattr(folder_links, "hold_root_locks", hold_after_a_prune)
    with pytest.raises(CacheError, match=r"vanished before it was linked: .* restore again"):
        restore(directory_store, cas.Folder(folder, link="hardlink"), cache_dir=tmp_path / "hub")
    assert files_in(folder) == {}


def test_what_cannot_be_linked_is_refused_first(
    folder: Path, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fs, "clone", lambda source, target: False)
    with pytest.raises(CacheError, match="has no clones"):
        restore(directory_store, cas.Folder(folder, link="reflink"), cache_dir=tmp_path / "hub")
    with pytest.raises(CacheError, match="two file systems"):
        restore(directory_store, cas.Folder(folder, link="hardlink"), cache_dir="/proc/self/hub")
    assert not folder.exists()
    assert not (tmp_path / "hub").exists()
