"""A publish takes condemned chunks for absent and sends them again; and tells when its lease lapsed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import cas
from cas import events
from cas.bucket.object_store import ObjectBucket
from cas.formats.digest import hex_of
from cas.formats.manifest import Manifest
from cas.refs.reflog import Ref, RefLog
from cas.store import layout
from cas.store.condemned import condemn
from cas.store.lease_entries import LeaseLost
from cas.store.store import Store
from tests.support.clock import LeaseClock
from tests.support.models import publish_tree, write_tree

RUN = "20261123T120000Z-00000001"
SHARED, OWN = hex_of(b"s" * 5000), hex_of(b"1" * 1000)


@pytest.fixture
def tree(directory_store: Store, tmp_path: Path) -> Path:
    """A folder that was published; all that the store has was written an hour ago."""
    tree = write_tree(tmp_path / "tree", {"shared.bin": b"s" * 5000, "own.bin": b"1" * 1000})
    publish_tree(directory_store, tree)
    for path in Path(directory_store.url).rglob("*"):
        os.utime(path, (0, path.stat().st_mtime - 3600))
    return tree


def condemned_at(store: Store, *digests: str) -> float:
    """Condemn chunks (64 hex); return when, by the store's clock."""
    condemn(store, RUN, [], map(bytes.fromhex, digests))
    (entry,) = store.bucket.list("gc")
    return entry.modified.timestamp()


def written(store: Store, digest: str) -> float:
    return store.bucket.head(layout.chunk_key(digest)).modified.timestamp()


def sources(received: list[events.Event]) -> list[str]:
    return sorted(event.source for event in received if isinstance(event, events.Moved))


def test_a_condemned_chunk_is_absent_from_the_first_look_on(directory_store: Store, tree: Path, tmp_path: Path) -> None:
    at = condemned_at(directory_store, OWN)
    write_tree(tmp_path / "second", {"other.bin": b"1" * 1000, "shared.bin": b"s" * 5000})
    received: list[events.Event] = []
    done = publish_tree(directory_store, tmp_path / "second", "other", on_event=received.append)
    assert sources(received) == ["present", "store"], "each chunk is read once"
    assert done.uploaded_chunks == 1
    assert [event for event in received if isinstance(event, events.Phase) and event.name == "upload"][1:] == []
    assert written(directory_store, OWN) > at, "a sweep spares what is younger than its condemnation"
    assert written(directory_store, SHARED) < at


def test_a_condemned_chunk_of_the_parent_is_sent_again(directory_store: Store, tree: Path) -> None:
    at = condemned_at(directory_store, SHARED, OWN)  # before a rollback made their version the parent again
    write_tree(tree, {"own.bin": b"2" * 1000})
    done = publish_tree(directory_store, tree)
    assert done.uploaded_chunks == 2
    assert written(directory_store, SHARED) > at
    assert written(directory_store, OWN) < at, "the new version does not need it"


def test_an_unchanged_publish_sends_nothing_again(directory_store: Store, tree: Path) -> None:
    condemned_at(directory_store, SHARED, OWN)
    assert publish_tree(directory_store, tree).uploaded_chunks == 0


def test_a_forced_publish_sends_condemned_chunks_too(directory_store: Store, tree: Path) -> None:
    at = condemned_at(directory_store, SHARED)
    assert publish_tree(directory_store, tree, force=True).uploaded_chunks == 2
    assert written(directory_store, SHARED) > at


def test_chunks_that_a_collector_condemns_meanwhile_are_not_missed(
    directory_store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is read once, by the first look, and after the lease is there: a later condemning sees the lease."""
    order: list[str] = []
    put, listing = ObjectBucket.put, ObjectBucket.list

    def recording(self: ObjectBucket, key: str, *words: Any, **options: Any) -> bool:
        order.append(f"put {key.partition('/')[0]}")
        return put(self, key, *words, **options)

    def listed(self: ObjectBucket, prefix: str) -> Any:
        order.append(f"list {prefix.partition('/')[0]}")
        return listing(self, prefix)

    monkeypatch.setattr(ObjectBucket, "put", recording)
    monkeypatch.setattr(ObjectBucket, "list", listed)
    write_tree(tree, {"own.bin": b"2" * 1000})
    publish_tree(directory_store, tree)
    lease = order.index("put leases")
    assert "list gc" not in order[:lease]
    assert order[lease:].count("list gc") == 2, "for sweeps, and for what is condemned"
    writes = [step for step in order if step.startswith("put")]
    assert writes == ["put leases", "put chunks", "put manifests", "put refs", "put leases"]


class TestALapsedLease:
    @pytest.mark.parametrize("folder", ["chunks/", "manifests/", "refs/"])
    def test_is_told_whatever_was_written_last(
        self, directory_store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock, folder: str
    ) -> None:
        put = ObjectBucket.put

        def slept(self: ObjectBucket, key: str, *words: Any, **options: Any) -> bool:
            done = put(self, key, *words, **options)
            clock.now += 600 * key.startswith(folder)
            return done

        log = RefLog(directory_store, Ref("tags", "m", "latest"))
        old = log.current_digest()
        monkeypatch.setattr(ObjectBucket, "put", slept)
        write_tree(tree, {"own.bin": b"2" * 1000})
        with pytest.raises(LeaseLost, match="run the same command again"):
            publish_tree(directory_store, tree)
        assert len(directory_store.digests("m")) == (1 if folder == "chunks/" else 2), "no manifest without its chunks"
        assert (log.current_digest() == old) is (folder != "refs/")
        monkeypatch.setattr(ObjectBucket, "put", put)
        publish_tree(directory_store, tree)
        assert cas.restore("m", directory_store, cache_dir=tree.parent / "hub").total == 6000

    def test_of_a_forced_publish_is_told_though_no_tag_was_moved(
        self, directory_store: Store, tree: Path, clock: LeaseClock
    ) -> None:
        def listen(event: events.Event) -> None:
            clock.now += 600 * (event == events.Phase("commit"))

        with pytest.raises(LeaseLost):
            publish_tree(directory_store, tree, force=True, on_event=listen)

    def test_is_told_before_a_manifest_is_written(
        self, directory_store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock
    ) -> None:
        def refused(self: Store, new: Manifest) -> str:
            raise AssertionError("a manifest whose chunks may be gone")

        def listen(event: events.Event) -> None:
            clock.now += 600 * (event == events.Phase("commit"))

        monkeypatch.setattr(Store, "put_manifest", refused)
        write_tree(tree, {"own.bin": b"2" * 1000})
        with pytest.raises(LeaseLost):
            publish_tree(directory_store, tree, on_event=listen)
