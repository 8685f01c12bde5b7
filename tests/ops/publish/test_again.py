"""Publishing again: unchanged, changed, after a rollback, as a dry run, and over a damaged store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import cas
from cas import refs
from cas.bucket import Kind
from cas.errors import ChunkMissing, IntegrityError, NotFoundError
from cas.events import Warned
from cas.formats.digest import hex_of
from cas.refs import history, reflog
from cas.refs.reference import Reference
from cas.store.layout import chunk_key, manifest_key
from cas.store.store import Store
from tests.support.hub import Site
from tests.support.models import REPO, publish_tree, read_tree, snapshot, write_tree

CHUNK = 8 * 1024 * 1024


def big(seed: int, chunks: int = 3) -> bytes:
    """The content of a file: some whole chunks that compress well, and a short last chunk."""
    return b"".join(bytes([seed, number]) * (CHUNK // 2) for number in range(chunks)) + bytes([seed]) * 1000


def objects(store: Store) -> dict[str, Any]:
    return {entry.key: (entry.size, entry.modified) for entry in store.bucket.list("")}


def from_cache(site: Site, store: Store, **options: Any) -> cas.Published:
    source = cas.Source.from_repos([REPO])
    return cas.publish("m", source, store, cache_dir=site.cache, download=False, **options)


def test_an_unchanged_publish_writes_nothing_and_reads_no_file(full: Site, store: Store, reads: list[int]) -> None:
    first = from_cache(full, store)
    assert (first.created, first.moved) == (True, ("latest",))
    assert sum(reads) == first.total  # sent from memory as soon as it was hashed
    reads.clear()
    before = objects(store)
    begun = time.monotonic()
    again = from_cache(full, store)
    assert time.monotonic() - begun < 2
    assert objects(store) == before
    assert reads == []
    assert (again.created, again.uploaded, again.wire, again.uploaded_chunks, again.moved) == (False, 0, 0, 0, ())
    assert again.reference == first.reference


def test_an_unchanged_publish_gives_another_tag_the_same_version(full: Site, directory_store: Store) -> None:
    first = from_cache(full, directory_store)
    again = from_cache(full, directory_store, tags=["latest", "v1"])
    assert (again.reference, again.moved, again.created) == (first.reference, ("v1",), False)


def test_a_blob_under_many_names_is_read_once(directory_store: Store, tmp_path: Path, reads: list[int]) -> None:
    tree = write_tree(tmp_path / "tree", {"a.bin": b"a" * 5000})
    for name in ("b.bin", "c.bin"):
        (tree / name).symlink_to("a.bin")
    assert publish_tree(directory_store, tree).total == 15000
    assert reads == [5000]


def test_a_changed_publish_uploads_the_new_chunks_and_comes_after_the_first(store: Store, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": big(1), "same.txt": b"same"})
    first = publish_tree(store, tree)
    assert (first.chunks, first.uploaded_chunks, first.uploaded) == (5, 5, first.total)
    changed = bytearray(big(1))
    changed[CHUNK + 5] ^= 1
    write_tree(tree, {"w.bin": bytes(changed)})
    second = publish_tree(store, tree)
    assert (second.created, second.uploaded_chunks, second.uploaded) == (True, 1, CHUNK)
    assert 0 < second.wire < CHUNK
    moves = refs.log_of(store, Reference("m", tag="latest")).history()
    assert [f"m@{move.entry.manifest}" for move in moves] == [first.reference, second.reference]
    assert read_tree(snapshot(cas.restore("m", store, cache_dir=tmp_path / "hub"))) == read_tree(tree)
    assert len(store.digests("m")) == 2


def test_publishing_after_a_rollback_moves_the_tag_to_the_version_that_is_there(
    directory_store: Store, tmp_path: Path
) -> None:
    store, tree = directory_store, write_tree(tmp_path / "tree", {"w.bin": b"1" * 100})
    first = publish_tree(store, tree)
    write_tree(tree, {"w.bin": b"2" * 100})
    second = publish_tree(store, tree)
    log = refs.log_of(store, Reference("m", tag="latest"))
    log.append(refs.resolve(store, first.reference).digest, reason="rollback")
    third = publish_tree(store, tree)
    assert (third.created, third.uploaded, third.moved) == (True, 0, ("latest",))
    assert third.reference == second.reference
    assert len(store.digests("m")) == 2
    assert len(log.names()) == 4


def test_a_rollback_after_old_content_was_published_again_goes_back_to_what_was_before(
    directory_store: Store, tmp_path: Path
) -> None:
    tree, made = tmp_path / "tree", []
    for content in (b"1", b"2", b"1"):
        made.append(publish_tree(directory_store, write_tree(tree, {"w.bin": content * 100})).reference[-64:])
    assert made[0] == made[2]
    assert history.rollback(directory_store, "m").after == made[1]
    assert history.rollback(directory_store, "m").after == made[0]


def test_a_dry_run_writes_nothing_and_predicts_what_the_publish_uploads(store: Store, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": big(1), "a.txt": b"a"})
    for step in ("new store", "known model"):
        before = objects(store)
        dry = publish_tree(store, tree, dry_run=True)
        assert objects(store) == before, step
        assert (dry.reference, dry.wire, dry.moved) == ("", 0, ()), step
        real = publish_tree(store, tree)
        assert (dry.uploaded, dry.uploaded_chunks, dry.total) == (real.uploaded, real.uploaded_chunks, real.total)
        assert real.uploaded > 0
        write_tree(tree, {"w.bin": big(1, chunks=2) + b"end", "b.txt": b"b"})
    tree_again = publish_tree(store, tree)
    unchanged = publish_tree(store, tree, dry_run=True)
    assert (unchanged.uploaded, unchanged.reference) == (0, tree_again.reference)


def test_a_dry_run_makes_no_directory(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"a.txt": b"a"})
    dry = publish_tree(str(tmp_path / "store"), tree, dry_run=True)
    assert (dry.uploaded, dry.uploaded_chunks) == (1, 1)
    assert not (tmp_path / "store").exists()


def a_chunk(store: Store) -> str:
    return max(refs.resolve(store, "m").manifest.chunks().items(), key=lambda chunk: chunk[1])[0]


def test_a_deleted_chunk_is_uploaded_again_by_an_unchanged_publish(full: Site, store: Store, tmp_path: Path) -> None:
    from_cache(full, store)
    store.bucket.delete(chunk_key(a_chunk(store)))
    with pytest.raises(ChunkMissing):
        cas.restore("m", store, cache_dir=tmp_path / "one")
    healed = from_cache(full, store)
    assert (healed.created, healed.uploaded_chunks, healed.moved) == (False, 1, ())
    cas.restore("m", store, cache_dir=tmp_path / "two")


def test_a_chunk_that_goes_while_another_is_sent_again_is_sent_too(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree", {"a.bin": b"a" * 1000, "b.bin": b"b" * 1000})
    publish_tree(directory_store, tree)
    first, second = (chunk_key(hex_of(letter * 1000)) for letter in (b"a", b"b"))
    directory_store.bucket.delete(first)
    put = Store.put_frame

    def losing(self: Store, *words: Any, **options: Any) -> Any:
        monkeypatch.setattr(Store, "put_frame", put)
        self.bucket.delete(second)
        return put(self, *words, **options)

    monkeypatch.setattr(Store, "put_frame", losing)
    assert publish_tree(directory_store, tree).uploaded_chunks == 2
    assert directory_store.bucket.exists(first)
    assert directory_store.bucket.exists(second)


def test_force_replaces_a_damaged_chunk_and_nothing_else_does(full: Site, store: Store, tmp_path: Path) -> None:
    first = from_cache(full, store)
    key = chunk_key(a_chunk(store))
    frame = bytearray(store.bucket.get(key, limit=2 * CHUNK))
    frame[len(frame) // 2] ^= 1
    store.bucket.put(key, bytes(frame), Kind.CHUNK, overwrite=True)
    assert from_cache(full, store).uploaded == 0
    with pytest.raises(IntegrityError, match="--force"):
        cas.restore("m", store, cache_dir=tmp_path / "one")
    forced = from_cache(full, store, force=True)
    assert (forced.reference, forced.created, forced.uploaded) == (first.reference, False, first.total)
    cas.restore("m", store, cache_dir=tmp_path / "two")


@pytest.mark.parametrize("damage", ["altered", "deleted"])
def test_a_damaged_manifest_is_no_parent_and_a_warning_says_so(
    full: Site, directory_store: Store, tmp_path: Path, damage: str
) -> None:
    store = directory_store
    first = from_cache(full, store)
    key = manifest_key("m", first.reference[-64:])
    if damage == "altered":
        store.bucket.put(key, b'{"version": 1}', Kind.MANIFEST, overwrite=True)
    else:
        store.bucket.delete(key)
    with pytest.raises((IntegrityError, NotFoundError)):
        refs.resolve(store, "m")
    received: list[object] = []
    healed = from_cache(full, store, force=True, on_event=received.append)
    assert any(isinstance(event, Warned) and "is not built upon" in event.text for event in received)
    assert (healed.reference, healed.created, healed.moved) == (first.reference, True, ())
    cas.restore("m", store, cache_dir=tmp_path / "hub")


def test_a_tag_whose_version_is_damaged_was_not_moved_by_somebody_else(directory_store: Store, tmp_path: Path) -> None:
    store, tree = directory_store, write_tree(tmp_path / "tree", {"w.bin": b"1"})
    store.bucket.delete(manifest_key("m", publish_tree(store, tree).reference[-64:]))
    received: list[object] = []
    publish_tree(store, write_tree(tree, {"w.bin": b"2"}), on_event=received.append)
    assert [event.text.partition(": ")[0] for event in received if isinstance(event, Warned)] == [
        "the version that m:latest names cannot be read and is not built upon"
    ]


def test_damaged_bytes_that_have_the_name_of_a_manifest_are_replaced(
    full: Site, directory_store: Store, tmp_path: Path
) -> None:
    first = from_cache(full, directory_store, tags=["other"])
    key = manifest_key("m", first.reference[-64:])
    directory_store.bucket.put(key, b"damaged", Kind.MANIFEST, overwrite=True)
    again = from_cache(full, directory_store)
    assert (again.reference, again.created, again.moved) == (first.reference, True, ("latest",))
    assert reflog.tags(directory_store)["m"].keys() == {"other", "latest"}
    cas.restore("m:other", directory_store, cache_dir=tmp_path / "hub")


def test_a_ref_entry_that_cannot_be_read_is_superseded(full: Site, directory_store: Store) -> None:
    store = directory_store
    from_cache(full, store)
    store.bucket.put("refs/tags/m/latest/00000002-ffffffffffffffff.json", b"nonsense", Kind.DOCUMENT)
    healed = from_cache(full, store)
    assert healed.moved == ("latest",)
    assert refs.resolve(store, "m").exact == healed.reference
