"""The file of a check's state: written whole, of this version only, and there until the repair is done, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cas.bucket import Kind
from cas.errors import InputError, Transient
from cas.formats.digest import Buffer, named
from cas.local.directory import Directory
from cas.ops.fsck import checkpoint
from cas.ops.fsck.checker import fsck
from cas.ops.fsck.checkpoint import Checkpoint, Progress, load_checkpoint
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.ops.fsck.test_checkpoint import FEW, Straggling, break_off, chunks_read
from tests.support.buckets import RecordingBucket
from tests.support.damage import NEW, edit, fill, flip, piece
from tests.support.models import write_tree


def test_the_file_is_on_disk_before_it_gets_its_name(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(directory_store)
    order: list[str] = []
    sync, rename = checkpoint.sync, Directory.rename

    def note_sync(fd: int) -> bool:
        order.append("sync")
        return sync(fd)

    def note_rename(*words: Any) -> None:
        order.append("rename")
        rename(*words)

    monkeypatch.setattr(checkpoint, "sync", note_sync)
    monkeypatch.setattr(Directory, "rename", note_rename)
    fsck("m", directory_store, state=tmp_path / "state.json")
    assert order == ["sync", "rename"] * (len(order) // 2)
    assert len(order) >= 4


def test_what_a_killed_check_left_half_written_is_written_over(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    (tmp_path / "state.json.tmp").write_bytes(b"{" * 100_000)
    Progress(Checkpoint(store="s", scope=None, sample=1, seed=""), state).begin([], [])
    assert load_checkpoint(state, "s", None, 1) is not None


@pytest.mark.parametrize("change", [{"version": 2}, {"later": 1}, {"versions": ["0" * 63]}, {"checked": "many"}])
def test_a_file_of_another_version_of_the_program_is_refused(
    change: dict[str, object], directory_store: Store, tmp_path: Path
) -> None:
    fill(directory_store)
    state = tmp_path / "state.json"
    break_off(directory_store, state, 5)
    state.write_text(json.dumps(json.loads(state.read_bytes()) | change))
    with pytest.raises(InputError, match="is no state of this version of `cas fsck`"):
        fsck(None, directory_store, state=state)


def test_the_file_stays_until_the_repair_is_done(directory_store: Store, tmp_path: Path) -> None:
    class Failing(RecordingBucket):
        def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
            if key.startswith("chunks/"):
                raise Transient("the network is gone")
            return super().put(key, data, kind, overwrite=overwrite)

    fill(directory_store)
    edit(directory_store, piece(NEW, 8), flip)
    source, state = str(write_tree(tmp_path / "source", NEW)), tmp_path / "state.json"
    with pytest.raises(Transient):
        fsck(None, Store(Failing(directory_store.bucket)), state=state, repair_from=[source])
    watched = RecordingBucket(directory_store.bucket)
    checked = fsck(None, Store(watched), state=state, repair_from=[source])
    assert (checked.repaired.count, chunks_read(watched)) == (1, []), "no chunk is checked twice"
    assert not state.exists()


def test_damage_that_was_healed_between_two_sittings_is_not_reported(directory_store: Store, tmp_path: Path) -> None:
    fill(directory_store)
    state = tmp_path / "state.json"
    keys = sorted(entry.key for entry in directory_store.bucket.list("chunks"))
    sound = bytes(directory_store.bucket.get(keys[6], 1 << 20))
    edit(directory_store, keys[6].rpartition("/")[2], flip)
    straggling = Straggling(directory_store.bucket)
    straggling.straggler, straggling.others = keys[4], 15
    with pytest.raises(Transient):
        fsck(None, Store(straggling), state=state, limits=FEW)
    assert list(json.loads(state.read_bytes())["found"]) == [keys[6].rpartition("/")[2]]
    directory_store.bucket.put(keys[6], sound, Kind.CHUNK, overwrite=True)
    assert fsck(None, directory_store, state=state).sound


def test_a_thread_that_an_interrupt_left_behind_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0)
    state = tmp_path / "state.json"
    progress = Progress(Checkpoint(store="s", scope=None, sample=1, seed=""), state)
    progress.begin([b"1" * 32, b"2" * 32], [])
    progress.done(0, None, 1, 1)
    progress.end()
    assert json.loads(state.read_bytes())["checked"] == 1
    progress.remove()
    progress.done(1, None, 1, 1)
    assert not state.exists()


def test_a_found_chunk_of_an_earlier_sitting_is_reported_without_a_new_fetch(
    directory_store: Store, tmp_path: Path
) -> None:
    fill(directory_store)
    state = tmp_path / "state.json"
    first = sorted(entry.key for entry in directory_store.bucket.list("chunks"))[0].rpartition("/")[2]
    edit(directory_store, first, flip)
    break_off(directory_store, state, 15)
    watched = RecordingBucket(directory_store.bucket)
    checked = fsck(None, Store(watched), state=state)
    assert [item.name for item in checked.corrupt.items] == [named(first)]
    assert chunk_key(first) not in watched.read
