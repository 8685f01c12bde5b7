"""Several threads read a file once: chunks keep their order, and few of them are in memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cas
from cas.bucket import Entry
from cas.errors import CacheError, IntegrityError
from cas.events import Event, Moved, Phase
from cas.host import Limits
from cas.local.hf_cache import files_below
from cas.ops.publish.file_reader import FileReader
from cas.store.layout import chunk_digest
from cas.store.store import Store
from tests.ops.publish.numbered import CHUNK, digests, numbered, only_file
from tests.support.models import publish_tree, read_tree, sha256, snapshot, write_tree


def test_a_big_file_is_read_by_several_threads_and_its_chunks_keep_their_order(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = numbered(*range(8))
    tree = write_tree(tmp_path / "tree", {"w.bin": data})
    together = threading.Barrier(2, timeout=10)
    read = FileReader.read

    def slow(self: FileReader, number: int, into: memoryview) -> memoryview:
        plain = read(self, number, into)
        if number in (0, 1):
            together.wait()  # two threads must be here at once
        time.sleep(0.05 if number % 2 == 0 else 0)
        return plain

    monkeypatch.setattr(FileReader, "read", slow)
    publish_tree(directory_store, tree, limits=Limits(workers=2))
    file = only_file(directory_store)
    assert [chunk.digest for chunk in file.chunks] == digests(data)
    assert file.blob == sha256(tree / "w.bin")


Failure = Callable[[Path], object]
FAILURES: dict[str, Failure] = {
    "shorter": lambda path: os.truncate(path, 3 * CHUNK),
    "removed": lambda path: path.unlink(),
    "rewritten": lambda path: path.write_bytes(numbered(*range(10, 20))),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_file_that_changes_under_its_readers_ends_the_publish(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str, workers: int
) -> None:
    tree = write_tree(tmp_path / "tree", {"a.bin": numbered(*range(10)), "z.txt": b"z"})
    read = FileReader.read

    def failing(self: FileReader, number: int, into: memoryview) -> memoryview:
        if number == 3:
            time.sleep(0.1)  # the threads with later chunks wait for this chunk
            FAILURES[failure](tree / "a.bin")
        return read(self, number, into)

    monkeypatch.setattr(FileReader, "read", failing)
    with pytest.raises(CacheError, match=r"a.bin changed while it was read: publish again"):
        publish_tree(directory_store, tree, limits=Limits(workers=workers))
    assert not [entry for entry in directory_store.bucket.list("") if entry.key.startswith(("manifests", "refs"))]


def test_a_thread_that_waits_for_a_failed_chunk_is_woken(tmp_path: Path) -> None:
    path = write_tree(tmp_path, {"w.bin": numbered(1, 2)}) / "w.bin"
    file = FileReader(files_below(path.parent)[0])
    results: list[bool] = []
    waiting = threading.Thread(target=lambda: results.append(file.add(1, "0" * 64, memoryview(b"x"))))
    waiting.start()
    file.give_up()
    waiting.join(10)
    assert results == [False]


def test_a_frame_that_does_not_give_back_its_chunk_is_not_sent(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": b"w" * 100})
    from cas.formats.frame import Encoder

    encode = Encoder.encode_into
    other = lambda self, buffer, plain, width=None: encode(self, buffer, b"v" * len(plain), width)
    monkeypatch.setattr(Encoder, "encode_into", other)
    with pytest.raises(IntegrityError, match=r"w.bin does not come out of its frame as it went in"):
        publish_tree(directory_store, tree)
    assert {entry.key.split("/")[0] for entry in directory_store.bucket.list("")} == {"format.json", "leases"}


def test_each_chunk_is_looked_up_once_and_none_in_a_new_store(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []
    head = directory_store.bucket.head

    def looking_up(key: str) -> Entry:
        if digest := chunk_digest(key):
            looked_up.append(digest)
        return head(key)

    monkeypatch.setattr(directory_store.bucket, "head", looking_up)
    tree = write_tree(tmp_path / "tree", {"w.bin": numbered(1, 2)})
    publish_tree(directory_store, tree)
    assert looked_up == []
    write_tree(tree, {"v.bin": numbered(3, 4)})
    publish_tree(directory_store, tree)
    new, old = digests(numbered(3, 4)), digests(numbered(1, 2))
    assert sorted(looked_up) == sorted({*new, *old})


def test_progress_adds_up(directory_store: Store, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": numbered(1, 2, 1), "copy.bin": numbered(1, 2, 1), "e": b""})
    for phase in ("upload", "hash"):
        received: list[Event] = []
        done = publish_tree(directory_store, tree, on_event=received.append)
        assert received[0] == Phase(phase, done.total)
        moved = [event for event in received if isinstance(event, Moved)]
        assert sum(event.plain for event in moved) == done.total
        assert sum(event.plain for event in moved if event.source == "store") == done.uploaded
        assert sum(event.wire for event in moved) == done.wire


def test_few_chunks_are_in_memory_however_slow_the_store_is(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": b"first"})
    publish_tree(directory_store, tree)
    write_tree(tree, {"w.bin": numbered(*range(12))})
    read, has_chunk = FileReader.read, Store.has_chunk
    lock = threading.Lock()
    begun = answered = most = 0

    def counting_read(self: FileReader, number: int, into: memoryview) -> memoryview:
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun - answered)
        return read(self, number, into)

    def slow_lookup(self: Store, digest: str) -> bool:
        nonlocal answered
        time.sleep(0.05)
        with lock:
            answered += 1
        return has_chunk(self, digest)

    monkeypatch.setattr(FileReader, "read", counting_read)
    monkeypatch.setattr(Store, "has_chunk", slow_lookup)
    publish_tree(directory_store, tree, limits=Limits(workers=2, uploads=16))
    assert most == 4


def test_a_publish_after_an_interrupted_one_sends_only_the_other_chunks(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = numbered(*range(6))
    tree = write_tree(tmp_path / "tree", {"w.bin": data})
    put_frame, sent = Store.put_frame, []

    def dying(self: Store, digest: str, *words: Any, **options: Any) -> None:
        if len(sent) == 3:
            raise KeyboardInterrupt
        put_frame(self, digest, *words, **options)
        sent.append(digest)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "put_frame", dying)
        with pytest.raises(KeyboardInterrupt):
            publish_tree(directory_store, tree, limits=Limits(uploads=1))
    received: list[Event] = []
    done = publish_tree(directory_store, tree, on_event=received.append)
    assert done.uploaded_chunks == len(digests(data)) - 3
    assert sum(event.plain for event in received if isinstance(event, Moved) and event.source == "present") == 3 * CHUNK
    assert read_tree(snapshot(cas.restore("m", directory_store, cache_dir=tmp_path / "hub"))) == {"w.bin": data}
