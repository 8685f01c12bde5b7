"""Forked processes, whose parent has used a store: another program makes their requests."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import cas
from cas.bucket import Kind, open_bucket
from cas.bucket.forked import ForkedBucket
from cas.errors import ChunkMissing, InputError, ObjectMissing, ObjectTooLarge, Unsupported
from cas.formats.digest import hex_of
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.models import KIB, noise, put_model, read_tree, snapshot
from tests.support.processes import until

DATA = noise(300 * KIB)


def test_no_module_comes_from_the_current_folder(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory_store.bucket.put("a/key", DATA, Kind.DOCUMENT)
    (tmp_path / "socket.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert ForkedBucket(directory_store.url).exists("a/key")


def test_it_reads_what_the_bucket_reads(store: Store) -> None:
    store.bucket.put("a/key", DATA, Kind.DOCUMENT)
    forked = ForkedBucket(store.url)
    assert forked.get("a/key", 10**6) == DATA
    assert forked.head("a/key") == store.bucket.head("a/key")
    assert forked.list("a") == store.bucket.list("a")
    assert forked.exists("a/key") and not forked.exists("a/none")
    with pytest.raises(ObjectMissing) as ours:
        store.bucket.get("a/none", 10)
    with pytest.raises(ObjectMissing) as missing:
        forked.get("a/none", 10)
    assert missing.value.key == "a/none" and str(missing.value) == str(ours.value)
    with pytest.raises(ObjectTooLarge, match="at most 10 are possible"):
        forked.get("a/key", 10)
    with pytest.raises(Unsupported, match="can only read"):
        forked.put("a/key", b"", Kind.DOCUMENT)
    with pytest.raises(Unsupported, match="can only read"):
        forked.delete("a/key")


def in_a_fork(work: Callable[[], object]) -> object:
    """Return what `work` returns, or the error that it raises, in a forked process."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def run() -> None:
        try:
            theirs.send(work())
        except Exception as error:
            theirs.send(f"{type(error).__name__}: {error}")

    child = context.Process(target=run)
    child.start()
    theirs.close()
    result = ours.recv()
    child.join(timeout=30)
    assert child.exitcode == 0
    return result


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_restores(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {"org/model": {"a": DATA}}, chunk=16 * KIB)
    assert directory_store.bucket.exists("format.json")

    def restore() -> object:
        return read_tree(snapshot(cas.restore("m", directory_store, cache_dir=tmp_path / "hub")))

    assert in_a_fork(restore) == {"a": DATA}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_open_files_and_stores_go_on_in_a_forked_process(directory_store: Store) -> None:
    put_model(directory_store, {"org/model": {"a": DATA, "b": b"b"}}, chunk=16 * KIB)
    opened = cas.open_file("m", "a", directory_store)
    assert opened.read(5) == DATA[:5]

    def read() -> object:
        rest = opened.read()
        with cas.open_file("m", "b", directory_store) as other, cas.open_file("m", "b", directory_store.url) as third:
            return rest, other.read(), third.read()

    assert in_a_fork(read) == (DATA[5:], b"b", b"b")
    assert opened.read() == DATA[5:], "the parent goes on, too"

    directory_store.bucket.delete(chunk_key(hex_of(b"b")))
    lost = in_a_fork(lambda: cas.open_file("m", "b", directory_store.url).read())
    assert str(lost).startswith(ChunkMissing.__name__) and str(lost).endswith("`cas publish --force`")


def test_the_program_ends_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    real = os.posix_spawn
    monkeypatch.setattr(os, "posix_spawn", lambda *words, **options: started.append(real(*words, **options)))
    forked = ForkedBucket(str(tmp_path))
    assert forked.list("") == []
    assert forked._connection is not None
    with socket.socket(fileno=os.dup(forked._connection.fileno())) as ours:
        ours.shutdown(socket.SHUT_RDWR)  # as the end of a process does
    (program,) = started
    until(lambda: os.waitpid(program, os.WNOHANG) == (program, 0))


def test_an_error_at_the_opening_is_told() -> None:
    with pytest.raises(InputError) as ours:
        open_bucket("ftp://host/cas")
    with pytest.raises(InputError) as theirs:
        ForkedBucket("ftp://host/cas").exists("x")
    assert str(theirs.value) == str(ours.value)
