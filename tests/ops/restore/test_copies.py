"""Copying beside fetching: sources that change meanwhile, a network that stalls, little memory, deaths, a full disk."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import cas
from cas.errors import CacheError, DiskFull
from cas.events import Event, Phase
from cas.formats.digest import Buffer
from cas.host import Limits
from cas.ops.restore.part_files import PartFiles
from cas.ops.restore.plan import Fetch
from cas.ops.restore.reuse import BackgroundCopies
from cas.store.fetch import Fetcher
from cas.store.layout import chunk_digest
from cas.store.store import Store
from tests.ops.restore.versions import MIB, Versions, big_file, flip, old_commit
from tests.support.buckets import slow_store
from tests.support.models import KIB, REPO, check, check_blobs, noise, put_model, read_tree, snapshot
from tests.support.processes import die_at, start_cas, until

CHANGES: dict[str, Callable[[Path], object]] = {
    "edited": lambda path: flip(path, 2 * MIB),
    "truncated": lambda path: os.truncate(path, 2 * MIB),
    "emptied": lambda path: os.truncate(path, 0),
    "deleted": Path.unlink,
    "another file": lambda path: path.write_bytes(noise(3 * MIB, 7)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_seed_that_changes_after_the_plan_is_fetched(how: str, versions: Versions) -> None:
    versions.restore("old")
    blob = big_file(versions.cache)

    def change(event: Event) -> None:
        if isinstance(event, Phase) and event.name == "fetch":
            CHANGES[how](blob)

    restored = versions.restore(on_event=change)
    assert restored.fetched > versions.added_bytes
    assert restored.fetched + restored.reused + 3 * KIB == restored.total
    assert read_tree(snapshot(restored)) == versions.new


def test_a_seed_that_is_cut_under_the_copy(versions: Versions) -> None:
    """Shorter and shorter while it is read."""
    versions.restore("old")
    blob = big_file(versions.cache)
    stop = threading.Event()

    def cut() -> None:
        size = blob.stat().st_size
        while not stop.is_set() and size > 0:
            size -= 64 * KIB
            os.truncate(blob, max(0, size))

    def begin(event: Event) -> None:
        if isinstance(event, Phase) and event.name == "fetch":
            cutting.start()

    cutting = threading.Thread(target=cut)
    restored = versions.restore(on_event=begin)
    stop.set()
    cutting.join()
    assert read_tree(snapshot(restored)) == versions.new


def test_copies_are_made_while_the_network_stalls(versions: Versions) -> None:
    versions.restore("old")
    exact = versions.restore(dry_run=True).reference
    with slow_store(versions.store, limit=0) as server:
        process = start_cas("--store", server.url, "--json", "restore", exact, "--cache-dir", str(versions.cache))
        until(lambda: server.stalling)
        until(lambda: copied(versions) > 4 * MIB)
        server.released.set()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["fetched"] == versions.added_bytes
    assert not versions.restore().changed


def copied(versions: Versions) -> int:
    parts = versions.cache.glob("models--org--model/.cas/parts/*.part")
    return sum(path.stat().st_blocks * 512 for path in parts)


def test_memory_stays_within_the_budget_together(versions: Versions) -> None:
    versions.restore("old")
    tight = Limits(budget=2 * MIB, requests=4, workers=4)
    versions.check(versions.restore(limits=tight))


def test_fetches_do_with_the_memory_that_copies_leave(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    versions.restore("old")
    budgets: list[int] = []
    copying: list[BackgroundCopies] = []
    real_fetch, real_enter = Fetcher.fetch, BackgroundCopies.__enter__

    def fetch(self: Fetcher, fetches: Sequence[Fetch], part_files: PartFiles, budget: int) -> None:
        budgets.append(budget)
        real_fetch(self, fetches, part_files, budget)

    def enter(self: BackgroundCopies) -> BackgroundCopies:
        copying.append(self)
        return real_enter(self)

    monkeypatch.setattr(Fetcher, "fetch", fetch)
    monkeypatch.setattr(BackgroundCopies, "__enter__", enter)
    versions.check(versions.restore(limits=Limits(budget=8 * MIB, requests=1, workers=2)))
    (copies,) = (copies for copies in copying if copies.buffer_bytes)
    assert copies.buffer_bytes <= 2 * MIB, "a quarter"
    assert budgets[0] == 8 * MIB - copies.buffer_bytes


def test_sigkill_at_any_step_of_an_update(versions: Versions) -> None:
    versions.restore("old", cache_dir=versions.root / "hub")
    whole = versions.root / "whole"
    shutil.copytree(versions.root / "hub", whole, symlinks=True)
    steps = int(die_at(0, versions.store, whole, "m:new").stderr.rpartition("steps ")[2])
    assert steps > 40
    for step in range(3, steps, steps // 12):
        cache = versions.root / str(step)
        shutil.copytree(versions.root / "hub", cache, symlinks=True)
        died = die_at(step, versions.store, cache, "m:new")
        assert died.returncode == -signal.SIGKILL
        check_blobs(cache / "models--org--model")
        restored = versions.restore(cache_dir=cache)
        assert restored.fetched <= versions.added_bytes
        check(restored, versions.new)
        assert read_tree(cache / "models--org--model/snapshots" / old_commit(versions)) == versions.old


def test_a_copy_that_finds_the_disk_full_ends_the_fetches_too(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.restore("old")
    real = os.pwrite

    def refuse(fd: int, data: memoryview, offset: int) -> int:
        if threading.current_thread() in copiers:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data, offset)

    copiers: set[threading.Thread] = set()
    real_copy = PartFiles.copy

    def copy(self: PartFiles, *given: Any) -> object:
        copiers.add(threading.current_thread())
        return real_copy(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refuse)
        patched.setattr(PartFiles, "copy", copy)
        with pytest.raises(DiskFull, match="free some space"):
            versions.restore()
    assert list(versions.cache.glob("models--org--model/.cas/parts/*.part")) == []
    assert read_tree(versions.cache / "models--org--model/snapshots" / old_commit(versions)) == versions.old
    assert read_tree(snapshot(versions.restore())) == versions.new
    assert set(versions.bucket.chunks) <= versions.added, "small files may have been finished"


def test_after_a_copy_failed_no_further_chunk_is_fetched(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    versions.restore("old")
    failed = threading.Event()
    real_abort, real_get = PartFiles.abort, versions.bucket.get

    def abort(self: PartFiles, error: BaseException) -> None:
        real_abort(self, error)
        failed.set()

    def get(key: str, limit: int) -> Buffer:
        if chunk_digest(key):
            assert failed.wait(60)
        return real_get(key, limit)

    def refuse(*_: object) -> object:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(PartFiles, "abort", abort)
    monkeypatch.setattr(PartFiles, "copy", refuse)
    monkeypatch.setattr(versions.bucket, "get", get)
    with pytest.raises(OSError, match="Input/output error"):
        versions.restore(limits=Limits(requests=1, workers=1))
    assert len(versions.added) > 1
    assert len(versions.bucket.chunks) == 1


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, DiskFull), (errno.EIO, CacheError)])
@pytest.mark.parametrize("where", ["a repo", "plain files"])
def test_copies_that_fail_where_nothing_is_fetched_end_the_restore(
    where: str,
    code: int,
    error: type[CacheError],
    directory_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, hub = noise(200 * KIB, 1), tmp_path / "home/hub"
    put_model(directory_store, {"org/first": {"a.bin": data}}, model="one")
    cas.restore("one", directory_store, cache_dir=hub)
    repos = {"org/first": {"a.bin": data}} | ({REPO: {"b.bin": data}} if where == "a repo" else {})
    put_model(directory_store, repos, {"torch/b.bin": data} if where == "plain files" else {})

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refuse)
        with pytest.raises(error) as caught:
            cas.restore("m", directory_store, cache_dir=hub)
    assert caught.value.exit_code == 7
    assert not [*hub.glob("models--org--model/*/**/b.bin"), *hub.glob("models--org--model/blobs/*")]
    assert not (hub.parent / "torch/b.bin").exists()
    restored = cas.restore("m", directory_store, cache_dir=hub)
    assert (restored.fetched, restored.reused) == (0, 200 * KIB)
