"""The folder for files of a known version from Hugging Face: it is removed at the end, and made only where it fits."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cas.errors import CacheError
from tests.support.models import put_model
from tests.worker.station import FILES, TOTAL
from worker.boot import directories
from worker.model import hub_bytes


def aged(folder: Path, seconds: float) -> Path:
    """A folder with a file, made so many seconds ago."""
    folder.mkdir(parents=True)
    (folder / "file").write_text("")
    os.utime(folder, (time.time() - seconds,) * 2)
    return folder


def test_what_killed_processes_left_is_removed_and_what_others_are_filling_stays(tmp_path: Path) -> None:
    own = tmp_path / directories.OWN
    old, live, other = aged(own / "download-old", 7300), aged(own / "download-live", 7000), aged(own / "notes", 99_999)
    with hub_bytes._scratch_folder(tmp_path) as folder:
        assert folder.parent == own
        assert [path.exists() for path in (folder, old, live, other)] == [True, False, True, True]
    assert [path.exists() for path in (folder, live)] == [False, True]
    with pytest.raises(ZeroDivisionError), hub_bytes._scratch_folder(tmp_path) as folder:
        raise ZeroDivisionError
    assert not folder.exists()


def test_a_link_in_place_of_such_a_folder_has_nothing_removed_elsewhere(tmp_path: Path) -> None:
    precious = aged(tmp_path / "elsewhere", 99_999)
    (tmp_path / directories.OWN).mkdir()
    (tmp_path / directories.OWN / "download-x").symlink_to(precious)
    os.utime(tmp_path / directories.OWN / "download-x", (0, 0), follow_symlinks=False)
    with hub_bytes._scratch_folder(tmp_path):
        assert (precious / "file").exists()


def test_what_is_downloaded_has_to_fit_beside_what_is_restored_from_it(
    directory_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = put_model(directory_store, FILES)
    missing: Any = SimpleNamespace(size=1000)
    monkeypatch.setattr(directories, "free_space", lambda path: directories.Space(TOTAL + 1000))
    hub_bytes._check_space(manifest, missing, tmp_path)
    monkeypatch.setattr(directories, "free_space", lambda path: directories.Space(TOTAL + 999))
    with pytest.raises(CacheError, match=r"^needs 691.0 kB, has 691.0 kB$"):
        hub_bytes._check_space(manifest, missing, tmp_path)
