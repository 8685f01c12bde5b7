"""Part files that killed restores left: which of them a restore removes, and when."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import cas
from cas.config import cache_dirs
from cas.local.locks import Lock
from cas.local.targets import targets_of
from cas.ops.restore.plan import part_file_name
from cas.store.store import Store
from tests.support.models import KIB, REPO, noise, put_model

FILES = {"a.bin": noise(100 * KIB, 1)}
HOUR = 3600


def leave(directory: Path, content: str, hours: float) -> Path:
    """Leave an empty part file of that age."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / part_file_name(content, "they", f"{hours:g}")
    path.touch()
    at = time.time() - hours * HOUR
    os.utime(path, (at, at))
    return path


def test_part_files_of_the_version_go_at_once_and_others_after_a_day(directory_store: Store, tmp_path: Path) -> None:
    (target,) = targets_of(put_model(directory_store, {REPO: FILES}), cache_dirs(tmp_path))
    parts = tmp_path / "models--org--model/.cas/parts"
    left = {
        (content, hours): leave(parts, content, hours)
        for content in (target.content, "f" * 64)
        for hours in (1, 23, 25)
    }
    cas.restore("m", directory_store, cache_dir=tmp_path)
    assert {key for key, path in left.items() if path.exists()} == {("f" * 64, 1), ("f" * 64, 23)}


def test_no_part_file_is_removed_without_the_lock(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target,) = targets_of(put_model(directory_store, {REPO: FILES}), cache_dirs(tmp_path))
    parts = tmp_path / "models--org--model/.cas/parts"
    left = [leave(parts, content, 25) for content in (target.content, "f" * 64)]
    monkeypatch.setattr(Lock, "try_acquire", lambda self: None)
    assert cas.restore("m", directory_store, cache_dir=tmp_path).fetched == 100 * KIB
    assert all(path.exists() for path in left)
