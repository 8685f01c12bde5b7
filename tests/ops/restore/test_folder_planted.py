"""Symlinks and records that somebody put into a folder lead no restore out of it, and make nothing ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cas
from cas.errors import CacheError, CasError
from cas.local.folder_record import FolderRecord
from cas.ops.restore import execution
from cas.store.store import Store
from tests.ops.restore.folders import FILES, OTHER, files_in, refused, restore
from tests.support.models import REPO, put_model, read_tree
from tests.support.planted import NO_FILES, PLANTS, plant


@pytest.mark.parametrize("where", ["sub", ".cas", "sub/deeper"])
def test_a_planted_symlink_leads_nowhere(where: str, directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: {"sub/deeper/x": b"1", "sub/y": b"2"}})
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    outside.mkdir()
    (folder / where).parent.mkdir(parents=True)
    (folder / where).symlink_to(outside)
    assert f"{folder / where} is a symlink or a file where a directory" in refused(directory_store, folder, "m", code=7)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("stamped", [True, False], ids=["as verified", "as claimed"])
def test_a_record_that_somebody_wrote_removes_nothing_outside(
    stamped: bool, folder: Path, directory_store: Store
) -> None:
    restore(directory_store, folder)
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"{}")
    (folder / "way").symlink_to(outside)
    (folder / "link").symlink_to(outside / "x")
    (folder / "inside").symlink_to("config.json")
    names = ["../outside/x", str(outside / "x"), "way/x", "link", "inside", ".cas/verified.json", "sub"]
    (folder / ".cas/folder.json").write_text(json.dumps({"version": 1, "files": names, "directories": ["way", ".."]}))
    stats = (outside / "x").stat()
    verified = json.loads((folder / ".cas/verified.json").read_text())
    times = (stats.st_size, stats.st_mtime_ns) if stamped else (-1, -1)
    stamp = [verified["files"]["config.json"][0], *times]
    verified["files"] |= dict.fromkeys(names, stamp)
    (folder / ".cas/verified.json").write_text(json.dumps(verified))
    before = read_tree(folder)
    done = restore(directory_store, cas.Folder(folder, delete=True))
    assert done.removed == ()
    assert {**read_tree(folder), **before}.keys() == before.keys()
    assert (outside / "x").read_bytes() == b"{}"
    assert (folder / "link").is_symlink()
    assert (folder / "inside").is_symlink()
    assert (folder / "way").is_symlink()


@pytest.mark.parametrize("what", [*PLANTS, '{"version": 2, "files": ["model.bin"]}', ""])
def test_a_record_that_cannot_be_read_makes_nothing_ours(what: str, folder: Path, directory_store: Store) -> None:
    restore(directory_store, folder)
    record = folder / ".cas/folder.json"
    if what in PLANTS:
        plant(what, record)
    else:
        record.write_text(what)
    for to in (folder, cas.Folder(folder, delete=True)):
        with pytest.raises(CacheError, match="is in the way: no restore wrote it"):
            restore(directory_store, to, "other")
    if what not in NO_FILES:
        restore(directory_store, cas.Folder(folder, delete=True), "other", include=["README.md"])
        assert {path: (folder / path).read_bytes() for path in FILES} == FILES


def test_what_another_restore_made_meanwhile_is_no_file_of_the_users(
    folder: Path, directory_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hold_after_the_other(*arguments: Any, real: Any = execution.hold_root_locks) -> Any:
        monkeypatch.undo()
        restore(directory_store, folder, "other")
        return real(*arguments)

    monkeypatch.setattr(execution, "hold_root_locks", hold_after_the_other)
    restore(directory_store, folder)
    assert files_in(folder) == {**OTHER, **FILES}


@pytest.mark.parametrize("end", ["failed", "killed"])
def test_what_a_restore_that_did_not_end_has_not_made_is_the_users(
    end: str, folder: Path, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = max((tmp_path / "store").rglob("chunks/*/*"), key=lambda path: path.stat().st_size)
    chunk.rename(tmp_path / "lost")
    with monkeypatch.context() as patch, pytest.raises(CasError):
        if end == "killed":
            patch.setattr(FolderRecord, "settle", lambda _: None)
        restore(directory_store, folder)
    (tmp_path / "lost").rename(chunk)
    (missing,) = FILES.keys() - {path for path in read_tree(folder) if not path.startswith(".cas/")}
    (folder / missing).write_bytes(b"by the user")
    refused(directory_store, folder, "m", code=7)
    assert (folder / missing).read_bytes() == b"by the user"
