"""Repair from each kind of source: what is damaged is written anew, nothing else, and a restore is right again."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

import cas
from cas import events
from cas.bucket import Entry, Kind, open_bucket
from cas.errors import InputError, Transient
from cas.formats.digest import Buffer, hex_of
from cas.formats.manifest import digest_of
from cas.ops.fsck.checker import Checked, fsck
from cas.store import layout
from cas.store.layout import chunk_key, manifest_key
from cas.store.lease_entries import LeaseLost
from cas.store.store import Store, open_store
from tests.support.buckets import RecordingBucket, slow_store
from tests.support.damage import NEW, OLD, ORPHAN, edit, fill, flip, newer, noise, piece, restored, state_of
from tests.support.in_process import call_cas
from tests.support.models import publish_tree, read_tree, snapshot, write_tree

DAMAGED = [piece(NEW, 0), piece(NEW, 4), piece(NEW, 8), piece(OLD, 9)]


def copy_of(store: Store, folder: Path) -> str:
    """A directory store with the same objects."""
    other = open_bucket(str(folder))
    for entry in store.bucket.list(""):
        other.put(entry.key, store.bucket.get(entry.key, 1 << 30), Kind.DOCUMENT)
    return str(folder)


def damage(store: Store) -> None:
    """Four chunks, each in another way."""
    edit(store, DAMAGED[0], flip)
    edit(store, DAMAGED[1], newer)
    edit(store, DAMAGED[2], lambda frame: frame[:100])
    store.bucket.delete(chunk_key(DAMAGED[3]))


def repaired(store: Store, *sources: str, scope: str | None = None, left: int = 0) -> tuple[Checked, list[str]]:
    """What a repair did, and its warnings; only chunks that were damaged have been written."""
    before = state_of(store)
    watched = RecordingBucket(store.bucket)
    told: list[str] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Warned):
            told.append(event.text)

    checked = fsck(scope, Store(watched), repair_from=sources, on_event=listen)
    assert checked.left == left
    mended = {item.name.rpartition(":")[2] for item in checked.repaired.items}
    written = [key for key in watched.written if not key.startswith("leases/")]
    assert sorted(key.rpartition("/")[2].removesuffix(".json") for key in written) == sorted(mended)
    after = state_of(store)
    assert {key: value for key, value in after.items() if key not in written} == {
        key: value for key, value in before.items() if key not in written
    }
    assert fsck(scope, store).left == left
    return checked, told


def test_from_another_store(store: Store, tmp_path: Path) -> None:
    fill(store)
    source = copy_of(store, tmp_path / "copy")
    damage(store)
    edit(store, hex_of(ORPHAN), flip)
    checked, told = repaired(store, source)
    assert (checked.repaired.count, told) == (5, [])
    assert restored(store, tmp_path / "hub") == NEW
    assert fsck(None, store).orphaned.count == 1


def test_from_another_store_that_is_only_to_be_read(directory_store: Store, tmp_path: Path) -> None:
    fill(directory_store)
    copy = copy_of(directory_store, tmp_path / "copy")
    damage(directory_store)
    with slow_store(open_store(copy), limit=1000) as served:
        checked, told = repaired(directory_store, served.url)
    assert (checked.repaired.count, told) == (4, [])


@pytest.mark.parametrize("kind", ["cache", "home", "folder"])
def test_from_files_on_this_machine(store: Store, tmp_path: Path, kind: str) -> None:
    fill(store)
    hub = tmp_path / "seed/hub"
    assert restored(store, hub) == NEW
    damage(store)
    if kind == "folder":
        shutil.rmtree(tmp_path / "seed")
        write_tree(tmp_path / "seed", {"other name.bin": NEW["model.bin"]})
    source = str(hub if kind == "cache" else tmp_path / "seed")
    checked, told = repaired(store, source, scope="m:latest")
    assert (checked.repaired.count, told) == (3, [])
    assert restored(store, tmp_path / "other/hub") == NEW


def test_a_cache_whose_bytes_are_wrong_mends_nothing(store: Store, tmp_path: Path) -> None:
    fill(store)
    restored(store, tmp_path / "hub")
    for blob in (tmp_path / "hub").glob("*/blobs/*"):
        blob.write_bytes(bytes(byte ^ 1 for byte in blob.read_bytes()))
    damage(store)
    checked, told = repaired(store, str(tmp_path / "hub"), scope="m:latest", left=3)
    assert checked.repaired.count == 0
    assert told[-1].startswith(f"{tmp_path / 'hub'} lacks 3 of 3 chunks (blake3:")


def test_sources_are_asked_in_order_until_nothing_is_lacking(store: Store, tmp_path: Path) -> None:
    fill(store)
    source = copy_of(store, tmp_path / "copy")
    for digest in DAMAGED[2:]:
        (tmp_path / "copy" / chunk_key(digest)).unlink()
    first = write_tree(tmp_path / "first", {"unrelated.bin": noise(1000, 3)})
    last = write_tree(tmp_path / "last", {"old": OLD["model.bin"], "new": NEW["model.bin"]})
    damage(store)
    checked, told = repaired(store, str(first), source, str(last))
    assert checked.repaired.count == 4
    assert [text.partition(" (")[0] for text in told] == [
        f"{first} lacks 4 of 4 chunks",
        f"{source} lacks 2 of 4 chunks",
    ]


@pytest.mark.parametrize("how", ["altered", "gone"])
@pytest.mark.parametrize("scope", [None, "m", "m:latest"])
def test_a_manifest_comes_from_another_store_with_its_chunks(
    store: Store, tmp_path: Path, how: str, scope: str | None
) -> None:
    _, latest = fill(store)
    source = copy_of(store, tmp_path / "copy")
    key = manifest_key("m", digest_of(latest))
    if how == "gone":
        store.bucket.delete(key)
    else:
        store.bucket.put(key, b"{}", Kind.MANIFEST, overwrite=True)
    # Only the damaged manifest needs these.
    store.bucket.delete(chunk_key(piece(NEW, 7)))
    edit(store, piece(NEW, 8), flip)
    folder = write_tree(tmp_path / "folder", NEW)
    assert fsck(scope, store, repair_from=[str(folder)]).left >= 1
    checked, _ = repaired(store, source, scope=scope)
    assert {item.what for item in checked.repaired.items} == {"manifest", "chunk"}
    assert checked.repaired.count == 3
    assert bytes(store.bucket.get(key, 1 << 20)) == (tmp_path / "copy" / key).read_bytes()
    assert restored(store, tmp_path / "hub") == NEW


def test_an_altered_manifest_of_the_source_is_not_taken(directory_store: Store, tmp_path: Path) -> None:
    _, latest = fill(directory_store)
    source = copy_of(directory_store, tmp_path / "copy")
    key = manifest_key("m", digest_of(latest))
    directory_store.bucket.delete(key)
    (tmp_path / "copy" / key).write_bytes((tmp_path / "copy" / key).read_bytes().replace(b"main", b"mian"))
    checked, _ = repaired(directory_store, source, left=1)
    assert checked.repaired.count == 0
    assert not directory_store.bucket.exists(key)


def test_what_was_published_is_repaired_from_its_folder_of_weights(store: Store, tmp_path: Path) -> None:
    files = {"a/weights.bin": noise(9 << 20, 4), "b.txt": b"text"}
    tree = write_tree(tmp_path / "tree", files)
    publish_tree(store, tree)
    for entry in store.bucket.list("chunks"):
        edit(store, entry.key.rpartition("/")[2], flip)
    done = call_cas("--store", store.url, "fsck", "--repair-from", str(tree))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("repaired     chunk blake3:") == 3
    assert "all sound; 3 repaired" in done.stderr
    assert read_tree(snapshot(cas.restore("m", store, cache_dir=tmp_path / "hub"))) == files


def test_a_source_that_lacks_the_bytes_leaves_exit_code_4(store: Store, tmp_path: Path) -> None:
    fill(store)
    damage(store)
    empty = write_tree(tmp_path / "empty", {"x": b"x"})
    done = call_cas("--store", store.url, "fsck", "m", "--repair-from", str(empty))
    assert done.returncode == 4
    assert f"warning: {empty} lacks 4 of 4 chunks" in done.stderr
    assert len(done.stdout.splitlines()) == 4
    assert "another --repair-from" in done.stderr


def test_sources_that_are_none_are_refused_before_any_work(directory_store: Store, tmp_path: Path) -> None:
    fill(directory_store)
    for source in (str(tmp_path / "none"), directory_store.url):
        with pytest.raises(InputError, match="--repair-from"):
            fsck(None, directory_store, repair_from=[source])


def test_no_lease_is_taken_for_what_no_source_can_mend(directory_store: Store, tmp_path: Path) -> None:
    _, latest = fill(directory_store)
    directory_store.bucket.delete(manifest_key("m", digest_of(latest)))
    watched = RecordingBucket(directory_store.bucket)
    source = write_tree(tmp_path / "source", NEW)
    assert fsck(None, Store(watched), repair_from=[str(source)]).missing.count == 1
    assert watched.written == []


def test_nothing_is_written_where_nothing_is_damaged(store: Store, tmp_path: Path) -> None:
    fill(store)
    source = copy_of(store, tmp_path / "copy")
    watched = RecordingBucket(store.bucket)
    assert fsck(None, Store(watched), repair_from=[source]).sound
    assert watched.written == []


class Failing(RecordingBucket):
    """A bucket that takes no chunk."""

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        if key.startswith("chunks/"):
            raise Transient("the network is gone")
        return super().put(key, data, kind, overwrite=overwrite)


def test_a_repair_that_is_broken_off_has_written_no_manifest_without_its_chunks(
    directory_store: Store, tmp_path: Path
) -> None:
    _, latest = fill(directory_store)
    source = copy_of(directory_store, tmp_path / "copy")
    key = manifest_key("m", digest_of(latest))
    directory_store.bucket.delete(key)
    directory_store.bucket.delete(chunk_key(piece(NEW, 7)))
    failing = Failing(directory_store.bucket)
    with pytest.raises(Transient):
        fsck(None, Store(failing), repair_from=[source])
    assert not directory_store.bucket.exists(key)
    watched = RecordingBucket(directory_store.bucket)
    assert fsck(None, Store(watched), repair_from=[source]).repaired.count == 2
    assert [name for name in watched.written if not name.startswith("leases/")] == [chunk_key(piece(NEW, 7)), key]


class Sleeping(RecordingBucket):
    """A bucket whose machine sleeps for ten minutes after the lease was acquired, once so many objects were written."""

    written_before, slept = 0, 0.0

    def list(self, prefix: str) -> list[Entry]:
        if prefix == layout.COLLECTIONS and not self.written_before:
            self.slept = 600
        return super().list(prefix)

    def put(self, key: str, data: Buffer, kind: Kind, *, overwrite: bool = False) -> bool:
        done = super().put(key, data, kind, overwrite=overwrite)
        if not key.startswith("leases/"):
            self.written_before -= 1
            self.slept = 600 if self.written_before <= 0 else 0
        return done


@pytest.mark.parametrize("lost", [("manifest",), ("chunk",), ("chunk", "manifest")])
def test_a_repair_that_slept_writes_no_more(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: tuple[str, ...]
) -> None:
    _, latest = fill(directory_store)
    source = copy_of(directory_store, tmp_path / "copy")
    keys = {"manifest": manifest_key("m", digest_of(latest)), "chunk": chunk_key(piece(NEW, 7))}
    for what in lost:
        directory_store.bucket.delete(keys[what])
    sleeping = Sleeping(directory_store.bucket)
    sleeping.written_before = len(lost) - 1
    clock = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + sleeping.slept)
    with pytest.raises(LeaseLost, match="cas fsck --repair-from: this machine slept"):
        fsck(None, Store(sleeping), repair_from=[source])
    assert [directory_store.bucket.exists(keys[what]) for what in lost] == [True] * (len(lost) - 1) + [False]
    assert fsck(None, directory_store, repair_from=[source]).repaired.count == 1
