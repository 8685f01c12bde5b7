"""Several threads read a file once: chunks keep their order, and the sha256 is computed unless the parent tells it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cas
from cas import refs
from cas.config import MIB, Limits
from cas.errors import CacheError, IntegrityError
from cas.events import Event, Moved, Phase
from cas.formats.digest import hex_of
from cas.formats.manifest import ChunkRef, RepoFile
from cas.local.hf_cache import blob_hash, files_below
from cas.ops.publish import file_reader
from cas.ops.publish.file_reader import FileReader
from cas.store.store import Store, open_store
from tests.support.hub import Site
from tests.support.models import REPO, publish_tree, read_tree, sha256, snapshot, write_tree

CHUNK = 8 * MIB


def numbered(*numbers: int) -> bytes:
    """The content of a file: a whole chunk for each number, which repeats it, and a short last chunk."""
    return b"".join(number.to_bytes(4, "little") * (CHUNK // 4) for number in numbers) + b"end"


def digests(data: bytes) -> list[str]:
    return [hex_of(data[at : at + CHUNK]) for at in range(0, len(data), CHUNK)]


def only_file(store: Store) -> RepoFile:
    ((file,),) = (repo.files for repo in refs.resolve(store, "m").manifest.repos)
    return file


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the files whose blob names were computed."""
    seen: list[int] = []

    def counting(blob: str, size: int) -> Any:
        seen.append(size)
        return blob_hash(blob, size)

    monkeypatch.setattr(file_reader, "blob_hash", counting)
    return seen


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the chunks whose digests a publish computed."""
    seen: list[int] = []

    def counting(data: memoryview) -> str:
        seen.append(len(data))
        return hex_of(data)

    monkeypatch.setattr("cas.ops.publish.upload.hex_of", counting)
    return seen


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


def test_a_name_is_not_computed_for_chunks_that_the_parent_has_named(
    directory_store: Store, tmp_path: Path, named: list[int], hashed: list[int]
) -> None:
    data = numbered(1, 2, 3)
    tree = write_tree(tmp_path / "tree", {"w.bin": data})
    first = publish_tree(directory_store, tree)
    assert (named, sum(hashed)) == ([len(data)], len(data))
    named.clear()
    hashed.clear()
    assert publish_tree(directory_store, tree).reference == first.reference
    assert (named, sum(hashed)) == ([], len(data))  # the chunks are hashed all the same
    os.rename(tree / "w.bin", tree / "renamed.bin")
    publish_tree(directory_store, tree)
    assert named == []
    assert only_file(directory_store).blob == sha256(tree / "renamed.bin")
    publish_tree(directory_store, tree, force=True)  # a forced publish trusts no parent
    assert named == [len(data)]


@pytest.mark.parametrize("changed", [(9, 2, 3), (1, 9, 3), (1, 2, 9), (2, 1, 3), (1, 2), (1, 2, 3, 4)])
def test_a_name_is_computed_when_any_chunk_differs(
    directory_store: Store, tmp_path: Path, named: list[int], changed: tuple[int, ...]
) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": numbered(1, 2, 3)})
    publish_tree(directory_store, tree)
    named.clear()
    write_tree(tree, {"w.bin": numbered(*changed)})
    publish_tree(directory_store, tree)
    assert named == [len(numbered(*changed))]
    assert only_file(directory_store).blob == sha256(tree / "w.bin")
    assert read_tree(snapshot(cas.restore("m", directory_store, cache_dir=tmp_path / "hub"))) == read_tree(tree)


def test_of_several_parent_files_that_begin_alike_the_right_one_gives_its_name(
    directory_store: Store, tmp_path: Path, named: list[int]
) -> None:
    files = {f"{number}.bin": numbered(1, number) for number in range(3)}
    tree = write_tree(tmp_path / "tree", files)
    publish_tree(directory_store, tree)
    named.clear()
    for name in files:
        (tree / name).unlink()
    write_tree(tree, {"moved.bin": files["2.bin"]})
    publish_tree(directory_store, tree)
    assert named == []
    assert only_file(directory_store).blob == sha256(tree / "moved.bin")


def test_one_blob_in_two_repos_is_one_content(full: Site, directory_store: Store) -> None:
    other = full.cache / "models--org--other"
    shutil.copytree(full.repo, other, symlinks=True)
    source = cas.Source.from_repos([REPO, "org/other"])
    done = cas.publish("m", source, directory_store, cache_dir=full.cache, download=False)
    first, second = refs.resolve(directory_store, "m").manifest.repos
    assert first.files == second.files
    assert done.uploaded * 2 == done.total
    blob = max((other / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes() + b"more")
    with pytest.raises(IntegrityError, match="its content is"):
        cas.publish("m", source, directory_store, cache_dir=full.cache, download=False, force=True)


def test_a_git_sha1_in_the_parent_does_not_name_a_file_of_a_folder(tmp_path: Path, named: list[int]) -> None:
    path = write_tree(tmp_path, {"a.txt": b"abc"}) / "a.txt"
    git = RepoFile("a.txt", 3, "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", (ChunkRef(hex_of(b"abc"), 3),))
    file = FileReader(files_below(path.parent)[0], [git])
    file.add(0, hex_of(b"abc"), memoryview(b"abc"))
    assert (file.blob, named) == (sha256(path), [3])


def test_files_outside_repos_get_no_name(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: list[int]
) -> None:
    write_tree(tmp_path / "home", {"torch/hub/x.pth": b"x" * 100})
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    cas.publish("m", cas.Source(files=("torch/hub/*.pth",)), directory_store)
    assert named == []
    assert refs.resolve(directory_store, "m").manifest.files[0].chunks == (ChunkRef(hex_of(b"x" * 100), 100),)


def test_bytes_that_change_unnoticed_before_the_name_is_computed_end_the_publish(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": numbered(1, 2, 3)})
    first = publish_tree(directory_store, tree)
    write_tree(tree, {"w.bin": numbered(1, 2, 9)})
    before = (tree / "w.bin").stat()
    hash_recorded = FileReader._hash_recorded

    def changing(self: FileReader) -> Any:
        with (tree / "w.bin").open("r+b") as file:
            file.write(b"other")
        os.utime(tree / "w.bin", ns=(before.st_atime_ns, before.st_mtime_ns))
        return hash_recorded(self)

    monkeypatch.setattr(FileReader, "_hash_recorded", changing)
    with pytest.raises(CacheError, match="changed while it was read"):
        publish_tree(directory_store, tree)
    assert refs.resolve(directory_store, "m").exact == first.reference


def test_a_damaged_blob_is_found_though_its_chunks_are_sent(site: Site) -> None:
    data = os.urandom(20 * MIB)
    write_tree(site.hub.root / REPO, {"weights.bin": data})
    site.hub.corrupt.add("weights.bin")
    done = site.cas("publish", "m", "--repo", REPO)
    assert done.returncode == 4, done.stderr
    assert "it is damaged; remove it and download it again" in done.stderr
    store = open_store(str(site.store))
    stored = {entry.key.split("/")[0] for entry in store.bucket.list("")}
    assert stored == {"format.json", "chunks", "leases"}
    site.hub.corrupt.clear()
    next(path for path in (site.repo / "blobs").iterdir() if path.stat().st_size == len(data)).unlink()
    done = site.cas("--json", "publish", "m", "--repo", REPO)
    assert done.returncode == 0, done.stderr
    assert read_tree(snapshot(cas.restore("m", store, cache_dir=site.cache.parent / "other")))["weights.bin"] == data


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

    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, plain, width=None: encode(self, b"v" * len(plain), width))
    with pytest.raises(IntegrityError, match=r"w.bin does not come out of its frame as it went in"):
        publish_tree(directory_store, tree)
    assert {entry.key.split("/")[0] for entry in directory_store.bucket.list("")} == {"format.json", "leases"}


def test_each_chunk_is_looked_up_once_and_none_in_a_new_store(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []
    has_chunk = Store.has_chunk

    def looking_up(self: Store, digest: str) -> bool:
        looked_up.append(digest)
        return has_chunk(self, digest)

    monkeypatch.setattr(Store, "has_chunk", looking_up)
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
