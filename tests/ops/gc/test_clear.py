"""Clearing never puts back into force what an entry ended, whichever deletion fails and wherever the run dies."""

from __future__ import annotations

import time

import pytest

from cas.bucket import Kind, Stored
from cas.errors import Transient
from cas.ops.gc import collector
from cas.refs import reflog
from cas.refs.reference import Reference, log_of
from cas.refs.reflog import RefLog
from cas.store.lease_entries import active_leases
from tests.support.collecting import Models, dangling
from tests.support.in_process import call_cas
from tests.support.processes import start_cas

TAG, PIN = Reference("m", tag="prod"), Reference("m", deployment="eu")

# The process dies before the n-th deletion of an object in the folder.
DIE = """
import os, signal, sys
from cas.bucket.object_store import ObjectBucket
erase, folder, left = ObjectBucket.erase, sys.argv.pop(1), [int(sys.argv.pop(1))]
def dying_erase(self, stored):
    if stored.key.startswith(folder):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    erase(self, stored)
ObjectBucket.erase = dying_erase
"""


def removed(models: Models, reference: Reference, moves: int = 3) -> RefLog:
    """Return the log of a ref that named two versions in turn and was removed."""
    made = [models.publish(note) for note in ("old", "new")]
    log = log_of(models.store, reference)
    for number in range(moves):
        log.append(made[number % 2], "test")
    log.append(None, "removed")
    return log


def fail(models: Models, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Make the server refuse the deletion of one object, after it had time to serve the others."""
    erase = models.store.bucket.erase

    def failing_erase(stored: Stored) -> None:
        if stored.key == key:
            time.sleep(0.2)
            raise Transient(f"delete {key}: 503 SlowDown")
        erase(stored)

    monkeypatch.setattr(models.store.bucket, "erase", failing_erase)


@pytest.mark.parametrize("reference", [TAG, PIN])
@pytest.mark.parametrize("index", range(4))
def test_a_deletion_that_fails_leaves_a_removed_ref_removed(
    local: Models, monkeypatch: pytest.MonkeyPatch, reference: Reference, index: int
) -> None:
    log = removed(local, reference)
    names = log.names()
    fail(local, monkeypatch, f"{log.ref.prefix}/{names[index]}")
    if index < 3:
        with pytest.raises(Transient):
            local.collect()
    else:
        local.collect()  # the entry of the removal is not deleted at all
    assert log.names()[-1] == names[-1]
    assert log.current_digest() is None
    monkeypatch.undo()
    local.collect()
    assert log.names() == names[-1:]
    assert log.current_digest() is None


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_run_that_dies_between_two_deletions(models: Models, number: int) -> None:
    log = removed(models, PIN)
    models.settle()
    words = ("--store", models.store.url, "gc", "--grace", "0s", "--force")
    process = start_cas(log.ref.prefix, str(number), *words, before=DIE)
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert log.current_digest() is None
    models.collect()
    assert len(log.names()) == 1
    assert log.current_digest() is None


def test_numbers_never_start_anew(local: Models) -> None:
    log = removed(local, TAG)
    local.collect()
    local.collect()
    last = log.names()[-1]
    new = local.publish("again")
    log.append(new, "put back")
    assert log.names()[0] == last
    assert log.names()[-1].startswith("00000005-"), "one more than that of the removal"
    assert log.current_digest() == new
    assert dangling(local.store) == []


def test_what_users_see_of_a_removed_ref_that_was_cleared(local: Models) -> None:
    log = removed(local, PIN)
    local.collect()
    store = ("--store", local.store.url)
    assert reflog.current(local.store, "pins") == {}
    shown = call_cas(*store, "restore", "pin:eu/m")
    assert (shown.returncode, "was removed from" in shown.stderr) == (3, True)
    assert "removed" in call_cas(*store, "history", "pin:eu/m").stdout
    assert call_cas(*store, "rollback", "pin:eu/m").returncode == 2
    assert call_cas(*store, "pin", "eu", "m").returncode == 0
    assert log.current_digest() is not None


def test_a_removed_ref_within_the_grace_period_can_be_put_back(local: Models) -> None:
    log = removed(local, TAG)
    names = log.names()
    collector.gc(local.store)
    assert log.names() == names


@pytest.mark.parametrize("folder", ["leases", "gc"])
def test_a_deletion_that_fails_leaves_a_lease_that_ended_ended(
    local: Models, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    local.publish("m")
    identity = "leases/0123456789abcdef" if folder == "leases" else "gc/20261123T120000Z-01234567-sweep"
    for number, seconds in enumerate((600, 600, 0), 1):
        document = f'{{"by":"x","purpose":"publish m","seconds":{seconds},"waits":false}}'.encode()
        local.store.bucket.put(f"{identity}-{number:06d}.json", document, Kind.DOCUMENT)
    fail(local, monkeypatch, f"{identity}-000002.json")
    with pytest.raises(Transient):
        local.collect()
    now = local.store.bucket.head("format.json").modified
    assert active_leases(local.store, local.store.bucket.list(folder), lambda: now) == []
    monkeypatch.undo()
    local.collect()
    assert [entry for entry in local.store.bucket.list(folder) if entry.key.startswith(identity)] == []
