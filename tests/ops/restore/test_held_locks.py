"""The locks that a restore holds: of its directories, all of them or not, and of few blobs at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

import cas
from cas.config import cache_dirs
from cas.events import Event
from cas.local import locks
from cas.local.locks import Lock
from cas.local.targets import Target, targets_of
from cas.ops.restore.blob_locks import BlobLocks
from cas.ops.restore.root_locks import hold_root_locks
from cas.store.store import Store
from tests.support.models import REPO, put_model

FILES = {f"{number}.bin": b"%d" % number for number in range(20)}


@pytest.fixture
def targets(directory_store: Store, tmp_path: Path) -> tuple[Target, ...]:
    """Those of twenty files of a repo, and of a plain file."""
    return targets_of(put_model(directory_store, {REPO: FILES}, {"torch/x": b"x"}), cache_dirs(tmp_path / "home/hub"))


def blob_lock(target: Target) -> Lock:
    assert target.repo
    return Lock(target.repo.blob_lock(target.components[-1]))


def is_free(lock: Lock) -> bool:
    acquired = lock.try_acquire()
    lock.release()
    return bool(acquired)


def test_sixteen_blobs_are_locked_at_a_time(targets: tuple[Target, ...]) -> None:
    held = BlobLocks(locks_work=True)
    for target in targets:
        held.try_acquire(target)
    blobs = [target for target in targets if target.repo]
    assert [is_free(blob_lock(target)) for target in blobs] == [False] * 16 + [True] * 4
    held.release(blobs[3])
    held.try_acquire(blobs[18])
    assert [is_free(blob_lock(blobs[number])) for number in (3, 18)] == [True, False]
    held.release_all()
    assert all(is_free(blob_lock(target)) for target in blobs)


def test_locks_that_hang_are_tried_once(targets: tuple[Target, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Lock] = []

    def hang(self: Lock) -> None:
        tried.append(self)

    monkeypatch.setattr(Lock, "try_acquire", hang)
    held = BlobLocks(locks_work=True)
    for target in targets:
        held.try_acquire(target)
    assert len(tried) == 1
    BlobLocks(locks_work=False).try_acquire(targets[0])
    assert len(tried) == 1


def test_a_restore_locks_each_blob_while_it_writes_it(
    directory_store: Store, targets: tuple[Target, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquired: list[str] = []
    real = Lock.try_acquire

    def try_acquire(self: Lock) -> bool | None:
        acquired.append(self._components[-1])
        return real(self)

    monkeypatch.setattr(Lock, "try_acquire", try_acquire)
    cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    wanted = [f"{target.components[-1]}.lock" for target in targets if target.repo]
    assert sorted(acquired) == sorted([*wanted, "cas.lock", "cas.lock"])


@pytest.mark.parametrize("other", ["nobody", "another restore", "broken locks"])
@pytest.mark.parametrize("where", [0, 1])
def test_all_locks_are_held_or_not(
    other: str, where: int, targets: tuple[Target, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_STUCK_AFTER", 0)
    repo, plain_file = targets[0], targets[-1]
    assert repo.repo and not plain_file.repo
    path = (repo.repo.restore_lock(), plain_file.root / ".cas/cas.lock")[where]
    holder, real, heard = Lock(path), Lock.try_acquire, list[Event]()

    def broken(self: Lock) -> bool | None:
        return None if self._root.joinpath(*self._components) == path else real(self)

    if other == "another restore":
        assert holder.try_acquire()
    if other == "broken locks":
        monkeypatch.setattr(Lock, "try_acquire", broken)
    with hold_root_locks(targets, heard.append) as held:
        assert held == (other == "nobody", other != "broken locks")
    assert len(heard) == (other == "another restore")
