"""Files are read once, by several threads: chunks keep their order, and names are computed where nobody knows them."""

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
    """A file of whole chunks, each of one number, and a short one."""
    return b"".join(number.to_bytes(4, "little") * (CHUNK // 4) for number in numbers) + b"end"


def digests(data: bytes) -> list[str]:
    return [hex_of(data[at : at + CHUNK]) for at in range(0, len(data), CHUNK)]


def only_file(store: Store) -> RepoFile:
    ((file,),) = (repo.files for repo in refs.resolve(store, "m").manifest.repos)
    return file


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the files whose names were computed."""
    seen: list[int] = []

    def counting(blob: str, size: int) -> Any:
        seen.append(size)
        return blob_hash(blob, size)

    monkeypatch.setattr(file_reader, "blob_hash", counting)
    return seen


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what publish took digests of."""
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
            together.wait()  # nobody gets past this alone
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
    assert (named, sum(hashed)) == ([], len(data))  # the chunks are looked at all the same
    os.rename(tree / "w.bin", tree / "renamed.bin")
    publish_tree(directory_store, tree)
    assert named == []
    assert only_file(directory_store).blob == sha256(tree / "renamed.bin")
    publish_tree(directory_store, tree, force=True)  # takes nobody's word
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


def test_of_several_alike_files_the_right_one_gives_its_name(
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


def test_a_name_of_another_kind_is_nobodys(tmp_path: Path, named: list[int]) -> None:
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


def test_bytes_that_change_unseen_before_the_name_is_computed(
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
    kept = {entry.key.split("/")[0] for entry in store.bucket.list("")}
    assert kept == {"format.json", "chunks", "leases"}
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
            time.sleep(0.1)  # the threads at later chunks are waiting for this one
            FAILURES[failure](tree / "a.bin")
        return read(self, number, into)

    monkeypatch.setattr(FileReader, "read", failing)
    with pytest.raises(CacheError, match=r"a.bin changed while it was read: publish again"):
        publish_tree(directory_store, tree, limits=Limits(workers=workers))
    assert not [entry for entry in directory_store.bucket.list("") if entry.key.startswith(("manifests", "refs"))]


def test_whoever_waits_for_a_chunk_that_fails_is_let_go(tmp_path: Path) -> None:
    path = write_tree(tmp_path, {"w.bin": numbered(1, 2)}) / "w.bin"
    file = FileReader(files_below(path.parent)[0])
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(file.add(1, "0" * 64, memoryview(b"x"))))
    waiting.start()
    file.give_up()
    waiting.join(10)
    assert answers == [False]


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


def test_a_store_is_asked_for_each_new_chunk_once_and_a_new_one_not_at_all(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    has_chunk = Store.has_chunk

    def asking(self: Store, digest: str) -> bool:
        asked.append(digest)
        return has_chunk(self, digest)

    monkeypatch.setattr(Store, "has_chunk", asking)
    tree = write_tree(tmp_path / "tree", {"w.bin": numbered(1, 2)})
    publish_tree(directory_store, tree)
    assert asked == []
    write_tree(tree, {"v.bin": numbered(3, 4)})
    publish_tree(directory_store, tree)
    new, old = digests(numbered(3, 4)), digests(numbered(1, 2))
    assert sorted(asked) == sorted({*new, *old})


def test_progress_adds_up(directory_store: Store, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": numbered(1, 2, 1), "copy.bin": numbered(1, 2, 1), "e": b""})
    for phase in ("upload", "hash"):
        told: list[Event] = []
        done = publish_tree(directory_store, tree, on_event=told.append)
        assert told[0] == Phase(phase, done.total)
        moved = [event for event in told if isinstance(event, Moved)]
        assert sum(event.plain for event in moved) == done.total
        assert sum(event.plain for event in moved if event.source == "store") == done.uploaded
        assert sum(event.wire for event in moved) == done.wire


def test_chunks_in_memory_are_few_however_slow_the_store_answers(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": b"first"})
    publish_tree(directory_store, tree)
    write_tree(tree, {"w.bin": numbered(*range(12))})
    read, has_chunk = FileReader.read, Store.has_chunk
    lock = threading.Lock()
    begun = answered = most = 0

    def reading_one(self: FileReader, number: int, into: memoryview) -> memoryview:
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun - answered)
        return read(self, number, into)

    def asking(self: Store, digest: str) -> bool:
        nonlocal answered
        time.sleep(0.05)
        with lock:
            answered += 1
        return has_chunk(self, digest)

    monkeypatch.setattr(FileReader, "read", reading_one)
    monkeypatch.setattr(Store, "has_chunk", asking)
    publish_tree(directory_store, tree, limits=Limits(workers=2, uploads=16))
    assert most == 4


def test_a_publish_that_was_cut_short_goes_on_where_it_was(
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
    told: list[Event] = []
    done = publish_tree(directory_store, tree, on_event=told.append)
    assert done.uploaded_chunks == len(digests(data)) - 3
    assert sum(event.plain for event in told if isinstance(event, Moved) and event.source == "present") == 3 * CHUNK
    assert read_tree(snapshot(cas.restore("m", directory_store, cache_dir=tmp_path / "hub"))) == {"w.bin": data}
