"""What others delete or write while a store is checked, and stores and sources of another version of the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas import events
from cas.bucket import Kind
from cas.errors import FormatError, ObjectMissing
from cas.formats.digest import Buffer, hex_of, named
from cas.formats.manifest import digest_of
from cas.host import Limits
from cas.ops.fsck.checker import fsck
from cas.refs.reflog import Ref, RefLog
from cas.store.layout import FORMAT_KEY, chunk_key, manifest_key
from cas.store.store import Store, open_store
from tests.ops.fsck.test_refusals import Collecting
from tests.ops.fsck.test_repair import copy_of
from tests.support.buckets import RecordingBucket
from tests.support.damage import NEW, OLD, ORPHAN, edit, fill, flip, newer, piece

ONE = Limits(requests=1, workers=1)


class Vanishing(RecordingBucket):
    """A bucket in which one object is deleted after it was listed."""

    vanishing = ""

    def get(self, key: str, limit: int) -> Buffer:
        if key == self.vanishing:
            raise ObjectMissing(key, self.url)
        return super().get(key, limit)


def test_a_chunk_that_nothing_needs_and_that_is_deleted_meanwhile_is_neither_missing_nor_counted(
    directory_store: Store,
) -> None:
    fill(directory_store)
    vanishing = Vanishing(directory_store.bucket)
    vanishing.vanishing = chunk_key(hex_of(ORPHAN))
    checked = fsck(None, Store(vanishing))
    assert (checked.left, checked.orphaned.count) == (0, 0)


def test_a_version_that_is_deleted_after_it_was_listed_is_no_damage(directory_store: Store) -> None:
    old, _ = fill(directory_store)
    vanishing = Vanishing(directory_store.bucket)
    vanishing.vanishing = manifest_key("m", digest_of(old))
    checked = fsck(None, Store(vanishing))
    assert (checked.left, checked.versions) == (0, 2)


def test_an_entry_of_a_ref_that_is_trimmed_after_it_was_listed_is_no_damage(directory_store: Store) -> None:
    fill(directory_store)
    log = RefLog(directory_store, Ref("tags", "m", "latest"))
    first, _ = log.names()
    vanishing = Vanishing(directory_store.bucket)
    vanishing.vanishing = f"refs/tags/m/latest/{first}"
    assert fsck(None, Store(vanishing)).sound


def test_what_a_ref_names_is_missing_whoever_deleted_it(directory_store: Store) -> None:
    _, latest = fill(directory_store)
    collecting = Collecting(directory_store.bucket)
    collecting.doomed = (manifest_key("m", digest_of(latest)), chunk_key(piece(NEW, 8)))
    checked = fsck(None, Store(collecting), limits=ONE)
    assert [item.name for item in checked.missing.items] == [named(piece(NEW, 8))]


def test_a_version_that_a_source_gives_back_gets_its_chunks_although_its_manifest_was_deleted_meanwhile(
    directory_store: Store, tmp_path: Path
) -> None:
    old, _ = fill(directory_store)
    source = copy_of(directory_store, tmp_path / "copy")
    key = manifest_key("m", digest_of(old))
    directory_store.bucket.put(key, b"{}", Kind.MANIFEST, overwrite=True)
    collecting = Collecting(directory_store.bucket)
    collecting.doomed = (key, chunk_key(piece(OLD, 8)))
    checked = fsck(None, Store(collecting), limits=ONE, repair_from=[source])
    assert {item.what for item in checked.repaired.items} == {"chunk", "manifest"}
    assert fsck("m", directory_store).sound


def test_a_store_or_a_source_of_a_newer_version_is_not_read(directory_store: Store, tmp_path: Path) -> None:
    fill(directory_store)
    source = copy_of(directory_store, tmp_path / "copy")
    Path(source, FORMAT_KEY).write_bytes(b'{"format":"cas","version":2}')
    watched = RecordingBucket(directory_store.bucket)
    with pytest.raises(FormatError, match="upgrade"):
        fsck(None, Store(watched), repair_from=[source])
    assert not any(key.startswith("chunks/") for key in watched.read)
    with pytest.raises(FormatError, match="upgrade"):
        fsck(None, source)


@pytest.mark.parametrize("how", ["flipped", "newer", "cut", "empty", "absent"])
def test_a_source_whose_chunk_is_damaged_too_makes_way_for_the_next(
    how: str, directory_store: Store, tmp_path: Path
) -> None:
    fill(directory_store)
    first, second = (copy_of(directory_store, tmp_path / name) for name in ("first", "second"))
    edit(directory_store, piece(NEW, 8), flip)
    if how == "absent":
        open_store(first).bucket.delete(chunk_key(piece(NEW, 8)))
    else:
        changes = {"flipped": flip, "newer": newer, "cut": lambda frame: frame[:100], "empty": lambda frame: b""}
        edit(open_store(first), piece(NEW, 8), changes[how])  # type: ignore[arg-type]
    told: list[events.Event] = []
    assert fsck(None, directory_store, repair_from=[first, second], on_event=told.append).repaired.count == 1
    (warned,) = (event.text for event in told if isinstance(event, events.Warned))
    assert warned.startswith(f"{first} lacks 1 of 1 chunks")
    assert fsck(None, directory_store).sound


def test_a_manifest_of_another_model_does_not_take_the_place_of_one(directory_store: Store, tmp_path: Path) -> None:
    """The source has bytes of the right digest under the right name, and they tell of another model."""
    fill(directory_store)
    (other,) = directory_store.digests("other")
    source = copy_of(directory_store, tmp_path / "copy")
    data = bytes(directory_store.bucket.get(manifest_key("other", other), 1 << 20))
    open_store(source).bucket.put(manifest_key("m", other), data, Kind.MANIFEST)
    RefLog(directory_store, Ref("tags", "m", "odd")).append(other, "test")
    checked = fsck(None, directory_store, repair_from=[source])
    assert (checked.repaired.count, checked.missing.count) == (0, 1)
    assert not directory_store.bucket.exists(manifest_key("m", other))
