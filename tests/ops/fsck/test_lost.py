"""A store that lost everything is filled again from another one, with the tags and pins that name its versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas import events
from cas.errors import StoreError, StoreMissing
from cas.formats.digest import hex_of
from cas.ops.fsck.checker import Checked, fsck
from cas.ops.transfer.exporter import export
from cas.refs import reflog
from cas.store.layout import FORMAT_KEY, chunk_key
from cas.store.store import Store, open_store
from tests.ops.fsck.test_repair import copy_of
from tests.support.buckets import RecordingBucket, slow_store
from tests.support.damage import NEW, ORPHAN, fill, piece, restored
from tests.support.in_process import call_cas, cas_json
from tests.support.transfer import objects


def lose(store: Store, *, but: str = "nothing") -> None:
    """Delete every object of a store, but for those below a folder."""
    for entry in store.bucket.list(""):
        if not entry.key.startswith(but):
            store.bucket.delete(entry.key)


def refilled(store: Store, source: str, scope: str | None = None, left: int = 0) -> tuple[Checked, list[str]]:
    """What a repair did, by a process that knows nothing of the store yet, and its warnings."""
    told: list[str] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Warned):
            told.append(event.text)

    checked = fsck(scope, store.url, repair_from=[source], on_event=listen)
    assert checked.left == left
    return checked, told


def named(store: Store) -> dict[str, str | None]:
    return {str(ref): digest for kind in ("tags", "pins") for ref, digest in reflog.current(store, kind).items()}  # type: ignore[arg-type]


def test_what_refs_named_comes_back_with_them(store: Store, tmp_path: Path) -> None:
    comes_back(store, tmp_path, "nothing")


@pytest.mark.parametrize("but", ["chunks/", "manifests/"])
def test_what_is_left_is_used(directory_store: Store, tmp_path: Path, but: str) -> None:
    comes_back(directory_store, tmp_path, but)


def comes_back(store: Store, tmp_path: Path, but: str) -> None:
    fill(store)
    cas_json(store, "pin", "eu", "m")
    source = copy_of(store, tmp_path / "copy")
    lose(store, but=but)
    checked, told = refilled(store, source)
    assert told[:2] == [
        f"there was no store at {store.where}: made a new one",
        f"{store.where} has no tag and no pin: what those of {source} name is brought back, and named",
    ]
    assert named(store) == named(open_store(source))
    assert {item.name for item in checked.repaired.items if item.what == "ref"} == set(named(store))
    assert restored(store, tmp_path / "hub") == NEW
    assert fsck(None, store).sound
    assert chunk_key(hex_of(ORPHAN)) not in objects(store) or but == "chunks/", "what nothing names stays away"


def test_only_what_is_in_the_scope(directory_store: Store, tmp_path: Path) -> None:
    fill(directory_store)
    cas_json(directory_store, "tag", "m", "prod")
    source = copy_of(directory_store, tmp_path / "copy")
    for scope, names in (("m:prod", {"m:prod"}), ("m", {"m:prod", "m:latest"}), ("other", {"other:latest"})):
        lose(directory_store)
        refilled(directory_store, source, scope)
        assert named(directory_store).keys() == names
    version = cas_json(source, "show", "m")["digest"]
    lose(directory_store)
    checked, _ = refilled(directory_store, source, f"m@{version}")
    assert (named(directory_store), checked.repaired.count) == ({}, 14)


def test_a_version_that_cannot_be_made_whole_is_not_named(directory_store: Store, tmp_path: Path) -> None:
    fill(directory_store)
    source = copy_of(directory_store, tmp_path / "copy")
    (tmp_path / "copy" / chunk_key(piece(NEW, 3))).unlink()
    lose(directory_store)
    checked, told = refilled(directory_store, source, left=1)
    assert named(directory_store).keys() == {"other:latest"}
    assert [text for text in told if text.startswith("m:latest is not set again, as m@blake3:")]
    assert checked.missing.items[0].name.endswith(piece(NEW, 3))


def test_refs_that_a_first_repair_did_not_come_to_set(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(directory_store)
    cas_json(directory_store, "pin", "eu", "m")
    whole = copy_of(directory_store, tmp_path / "copy")
    wanted = named(directory_store)
    (tmp_path / "part").mkdir()
    part = copy_of(directory_store, tmp_path / "part/copy")
    (tmp_path / "part/copy" / chunk_key(piece(NEW, 3))).unlink()
    lose(directory_store)
    refilled(directory_store, part, left=1)
    refilled(directory_store, whole)
    assert named(directory_store) == wanted, "another source had what the first one lacked"
    lose(directory_store)
    append, count = reflog.RefLog.append, iter(range(2))

    def interrupted(*arguments: object, **options: object) -> object:
        if next(count):
            raise StoreError("the network is gone")
        return append(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(StoreError, match="is gone"):
        patch.setattr(reflog.RefLog, "append", interrupted)
        refilled(directory_store, whole)
    assert len(named(directory_store)) == 1
    checked, _ = refilled(directory_store, whole)
    assert named(directory_store) == wanted, "the first one was interrupted"
    assert {item.what for item in checked.repaired.items} == {"ref"}
    cas_json(whole, "tag", "m", "theirs")
    cas_json(directory_store, "untag", "m:latest")
    refilled(directory_store, whole)
    assert named(directory_store).keys() == wanted.keys() - {"m:latest"}, "refs are moved again: nothing is lost"


def test_a_repaired_store_is_repaired_from_a_web_server_too(directory_store: Store, tmp_path: Path) -> None:
    fill(directory_store)
    source = copy_of(directory_store, tmp_path / "copy")
    lose(directory_store)
    refilled(directory_store, source)
    directory_store.bucket.delete(chunk_key(piece(NEW, 3)))
    with slow_store(open_store(source), 100) as server:
        refilled(directory_store, server.url)
        for entry in directory_store.bucket.list("refs"):
            directory_store.bucket.delete(entry.key)
        directory_store.bucket.delete(chunk_key(piece(NEW, 3)))
        checked, _ = refilled(directory_store, server.url)
    assert checked.repaired.count == 1, "a store of versions that nothing names"


def test_a_store_with_a_ref_takes_nothing_that_it_does_not_name(directory_store: Store, tmp_path: Path) -> None:
    fill(directory_store)
    source = copy_of(directory_store, tmp_path / "copy")
    cas_json(source, "tag", "m", "theirs")
    watched = RecordingBucket(directory_store.bucket)
    assert fsck(None, Store(watched), repair_from=[source]).repaired.count == 0
    assert watched.written == []


def test_no_store_is_made_where_it_would_be_wrong(directory_store: Store, tmp_path: Path) -> None:
    fill(directory_store)
    (tmp_path / "weights").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/letter.txt").write_text("Dear Sir")
    with pytest.raises(StoreMissing, match="no store at"):
        fsck(None, str(tmp_path / "none"), repair_from=[str(tmp_path / "weights")])
    with pytest.raises(StoreMissing, match="letter"):
        fsck(None, str(tmp_path / "other"), repair_from=[directory_store.url])
    with pytest.raises(StoreMissing):
        fsck(None, str(tmp_path / "none"))
    assert not (tmp_path / "none").exists() and not (tmp_path / "other" / FORMAT_KEY).exists()


def test_from_an_archive_by_the_command(directory_store: Store, tmp_path: Path) -> None:
    fill(directory_store)
    export(["m"], tmp_path / "model.cas", directory_store)
    lose(directory_store)
    done = call_cas("--store", directory_store.url, "fsck", "--repair-from", str(tmp_path / "model.cas"))
    assert done.returncode == 0, done.stderr
    assert "repaired     ref m:latest" in done.stdout and "has no tag and no pin" in done.stderr
    assert restored(directory_store, tmp_path / "hub") == NEW
