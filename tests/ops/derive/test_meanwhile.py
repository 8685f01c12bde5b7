"""What a collector, a lapsed lease or another publisher does to a store while a variant is derived."""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path
from typing import Any

import pytest

import cas
from cas import events, refs
from cas.bucket import Kind
from cas.errors import ChunkMissing, FormatError, IntegrityError, RefMoved
from cas.formats.digest import hex_of
from cas.formats.manifest import Manifest
from cas.ops.derive import cast_units, deriver, plan
from cas.ops.fsck.checker import fsck
from cas.ops.gc import collector
from cas.refs import reflog
from cas.refs.reflog import Ref, RefLog
from cas.store.layout import chunk_key, manifest_key
from cas.store.lease_entries import LeaseLost
from cas.store.store import Store
from tests.support.buckets import RecordingBucket
from tests.support.processes import until
from tests.support.safetensors import Tensor, normal, publish_file, safetensors

MODEL = safetensors({f"w{number}": Tensor("F32", (40_000,), normal(40_000, number)) for number in range(3)})


def chunks_of_variant(folder: Path) -> list[str]:
    """Digests (64 hex) of the chunks of the variant, derived in another store."""
    other = cas.open_store(str(folder / "other"))
    publish_file(other, folder / "src", MODEL)
    cas.derive("m", other, cast="float16", tags=["fp16"])
    return sorted(refs.resolve(other, "m:fp16").manifest.chunks() - refs.resolve(other, "m").manifest.chunks().keys())


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_chunk_that_vanishes_before_the_commit_is_made_again(
    rounds: int, directory_store: Store, tmp_path: Path
) -> None:
    vanishing = chunk_key(chunks_of_variant(tmp_path)[0])
    publish_file(directory_store, tmp_path / "src", MODEL)
    seen: list[events.Event] = []

    def listen(event: events.Event) -> None:
        seen.append(event)
        rounds_begun = sum(isinstance(event, events.Phase) and event.name == "cast" for event in seen)
        if isinstance(event, events.Moved) and rounds_begun <= rounds and directory_store.bucket.exists(vanishing):
            directory_store.bucket.delete(vanishing)

    done = cas.derive("m", directory_store, cast="float16", tags=["fp16"], on_event=listen)
    assert done.created
    assert directory_store.bucket.exists(vanishing)
    assert fsck("m:fp16", directory_store).sound
    assert [event.name for event in seen if isinstance(event, events.Phase)].count("cast") == rounds + 1


def test_a_chunk_that_vanishes_each_time_ends_the_derivation(directory_store: Store, tmp_path: Path) -> None:
    vanishing = chunks_of_variant(tmp_path)[0]
    publish_file(directory_store, tmp_path / "src", MODEL)
    seen: list[events.Event] = []

    def listen(event: events.Event) -> None:
        seen.append(event)
        if isinstance(event, events.Moved) and directory_store.has_chunk(vanishing):
            directory_store.bucket.delete(chunk_key(vanishing))

    with pytest.raises(ChunkMissing, match=vanishing):
        cas.derive("m", directory_store, cast="float16", tags=["fp16"], on_event=listen)
    assert [event.name for event in seen if isinstance(event, events.Phase)].count("cast") == 3
    assert len(directory_store.digests("m")) == 1
    assert "fp16" not in reflog.tags(directory_store, "m")["m"]


def test_a_chunk_of_an_unchanged_file_that_is_gone_is_told_before_anything_is_cast(
    directory_store: Store, tmp_path: Path
) -> None:
    publish_file(directory_store, tmp_path / "src", MODEL, **{"config.json": b"{}"})
    gone = hex_of(b"{}")
    directory_store.bucket.delete(chunk_key(gone))
    seen: list[events.Event] = []
    with pytest.raises(ChunkMissing, match=gone):
        cas.derive("m", directory_store, cast="float16", tags=["fp16"], on_event=seen.append)
    assert [event.name for event in seen if isinstance(event, events.Phase)] == ["lookup", "plan"]


@pytest.mark.parametrize("asleep_at", ["cast", "commit"])
def test_who_slept_too_long_writes_no_manifest(
    asleep_at: str, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_file(directory_store, tmp_path / "src", MODEL)
    clock, slept = time.clock_gettime, [0.0]
    monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + slept[0])

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Phase) and event.name == asleep_at:
            until(lambda: directory_store.bucket.list("leases"))  # a thread acquires it
            slept[0] = 600

    with pytest.raises(LeaseLost, match=r"derive m@blake3:.* this machine slept"):
        cas.derive("m", directory_store, cast="float16", tags=["fp16"], on_event=listen)
    assert len(directory_store.digests("m")) == 1
    assert "fp16" not in reflog.tags(directory_store, "m")["m"]
    slept[0] = 0
    assert cas.derive("m", directory_store, cast="float16", tags=["fp16"]).created


def test_who_slept_while_the_tag_was_moved_is_told(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_file(directory_store, tmp_path / "src", MODEL)
    clock, slept, append = time.clock_gettime, [0.0], RefLog.append
    monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + slept[0])

    def append_slowly(log: RefLog, *words: object, **options: object) -> None:
        append(log, *words, **options)  # type: ignore[arg-type]
        slept[0] = 600

    monkeypatch.setattr(RefLog, "append", append_slowly)
    with pytest.raises(LeaseLost):
        cas.derive("m", directory_store, cast="float16", tags=["fp16"])


def test_who_slept_is_told_although_no_tag_was_to_be_moved(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = chunk_key(chunks_of_variant(tmp_path)[0])
    publish_file(directory_store, tmp_path / "src", MODEL)
    cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    directory_store.bucket.delete(lost)
    clock, slept, move = time.clock_gettime, [0.0], deriver.move
    monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + slept[0])

    def move_late(*words: Any, **options: Any) -> Any:
        slept[0] = 600
        return move(*words, **options)

    monkeypatch.setattr(deriver, "move", move_late)
    with pytest.raises(LeaseLost):
        cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    assert directory_store.bucket.exists(lost)


def test_chunks_that_were_condemned_are_sent_again_and_survive_the_sweep(
    directory_store: Store, tmp_path: Path
) -> None:
    store = directory_store
    publish_file(store, tmp_path / "src", MODEL)
    cas.derive("m", store, cast="float16", tags=["fp16"])
    variant = refs.resolve(store, "m:fp16").manifest.chunks() - refs.resolve(store, "m").manifest.chunks().keys()
    RefLog(store, Ref("tags", "m", "fp16")).append(None, "not needed")
    for path in Path(store.url).rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 7 * 86_400,) * 2)
    grace = datetime.timedelta(days=2)
    assert collector.gc(store, grace=grace, keep=1).condemned_chunks == len(variant) > 0
    condemned_at = time.time() - 3 * 86_400
    for path in Path(store.url).glob("gc/*"):
        os.utime(path, (condemned_at,) * 2)
    done = cas.derive("m", store, cast="float16", tags=["fp16"])
    assert done.uploaded_chunks == len(variant)
    for digest in variant:
        assert (Path(store.url) / chunk_key(digest)).stat().st_mtime > condemned_at
    collector.gc(store, grace=grace, keep=1)
    assert fsck("m:fp16", store).sound


def test_a_tag_that_somebody_else_moves_meanwhile_is_not_taken_from_them(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = directory_store
    publish_file(store, tmp_path / "src", MODEL)
    theirs = refs.resolve(store, "m").digest
    append = RefLog.append

    def append_too_late(log: RefLog, *words: object, **options: object) -> None:
        monkeypatch.setattr(RefLog, "append", append)
        append(log, theirs, "theirs")
        raise RefMoved(str(log.ref), theirs)

    monkeypatch.setattr(RefLog, "append", append_too_late)
    told: list[events.Event] = []
    with pytest.raises(RefMoved):
        cas.derive("m", store, cast="float16", tags=["fp16"], on_event=told.append)
    assert refs.resolve(store, "m:fp16").digest == theirs
    assert any(isinstance(event, events.Warned) and "is in the store, but m:fp16 names another" in event.text
               for event in told)  # fmt: skip


def test_who_finds_that_another_derivation_set_the_tag_to_the_same_variant_did_not_make_it(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = directory_store
    publish_file(store, tmp_path / "src", MODEL)
    put_manifest = Store.put_manifest

    def overtaken(self: Store, new: Manifest) -> str:
        digest = put_manifest(self, new)
        RefLog(self, Ref("tags", "m", "fp16")).append(digest, "derive")
        return digest

    monkeypatch.setattr(Store, "put_manifest", overtaken)
    done = cas.derive("m", store, cast="float16", tags=["fp16"])
    assert (done.reference, done.created, done.moved) == (refs.resolve(store, "m:fp16").exact, False, ())


def test_a_cast_that_goes_wrong_stores_nothing(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_file(directory_store, tmp_path / "src", MODEL)
    real = cast_units.cast

    def wrong(before: memoryview, old: str, new: str, after: memoryview) -> None:
        real(before, old, new, after)
        after[100] ^= 1

    monkeypatch.setattr(cast_units, "cast", wrong)
    watched = RecordingBucket(directory_store.bucket)
    with pytest.raises(IntegrityError, match=r"tensor 'w\d' of org/model/model.safetensors is not its original cast"):
        cas.derive("m", Store(watched), cast="float16", tags=["fp16"])
    assert [key for key in watched.written if not key.startswith("leases/")] == []


def test_a_manifest_that_does_not_come_back_as_it_was_written_gets_no_tag(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = directory_store
    publish_file(store, tmp_path / "src", MODEL)
    put_manifest = Store.put_manifest

    def put_damaged(self: Store, new: Manifest) -> str:
        digest = put_manifest(self, new)
        self.bucket.put(manifest_key("m", digest), b"damaged", Kind.MANIFEST, overwrite=True)
        return digest

    monkeypatch.setattr(Store, "put_manifest", put_damaged)
    with pytest.raises(IntegrityError, match="was altered"):
        cas.derive("m", store, cast="float16", tags=["fp16"])
    assert "fp16" not in reflog.tags(store, "m")["m"]


@pytest.mark.parametrize("files", [1, 2])
def test_more_tensors_than_any_model_has_are_refused(
    files: int, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {f"model-{number}.safetensors": MODEL.replace(b"w0", b"v%d" % number) for number in range(1, files)}
    publish_file(directory_store, tmp_path / "src", MODEL, **others)
    monkeypatch.setattr(plan, "_MAX_TENSORS", 3 * files - 1)
    with pytest.raises(FormatError, match="tensors, which is more than are cast at once"):
        cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    monkeypatch.setattr(plan, "_MAX_TENSORS", 3 * files)
    assert cas.derive("m", directory_store, cast="float16", tags=["fp16"]).tensors == 3 * files
