"""Who publishes and who sweeps see each other, whatever the order, and neither is fooled by the dead."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import cas
from cas import events
from cas.bucket import Kind
from cas.errors import StoreError
from cas.ops.gc import collector
from cas.store import lease_entries, leases
from cas.store.lease_entries import Lease, LeaseLost
from cas.store.leases import hold_lease
from cas.store.store import Store
from tests.support.collecting import AT_ONCE, Models, dangling
from tests.support.models import publish_tree

SWEEP = "gc/20261123T120000Z-01234567-sweep"


def condemned(models: Models) -> None:
    """Publish two versions and condemn the first, so that the next run has something to sweep."""
    models.publish("old")
    models.publish("new")
    assert models.collect(keep=1).condemned_versions == 1


def test_a_sweep_is_put_off_while_somebody_publishes(models: Models) -> None:
    condemned(models)
    before = models.chunks()
    with hold_lease(models.store, "publish something large"):
        done = models.collect(keep=1, wait=0)
        assert "publish something large" in done.put_off
        assert (done.swept_versions, models.chunks()) == (0, before)
    assert models.collect(keep=1).swept_versions == 1


def test_a_sweep_waits_for_who_ends_soon(local: Models) -> None:
    condemned(local)
    holding, ended = threading.Event(), threading.Event()

    def publisher() -> None:
        with hold_lease(local.store, "publish m"):
            holding.set()
            time.sleep(1.5)
            ended.set()

    thread = threading.Thread(target=publisher)
    thread.start()
    holding.wait()
    done = collector.gc(local.store, grace=AT_ONCE, keep=1, wait=30)
    assert ended.is_set()
    assert (done.swept_versions, done.put_off) == (1, "")
    thread.join()


def test_a_publish_waits_for_a_sweep(local: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_POLL", 0.05)
    local.publish("first")
    told: list[events.Event] = []
    with Lease(local.store, SWEEP, "cas gc"):
        (local.folder / "tree" / "own.bin").write_bytes(b"second" * 1000)
        words = ("m", cas.Source.from_folder(local.folder / "tree", "org/model"), local.store)
        thread = threading.Thread(target=lambda: cas.publish(*words, on_event=told.append))
        thread.start()
        deadline = time.monotonic() + 20
        while not any(
            one.waits for one in lease_entries.active_leases(local.store, local.store.bucket.list("leases"), _now)
        ):
            assert time.monotonic() < deadline, "a collector that sees its lease knows that it need not wait for it"
            time.sleep(0.02)
        time.sleep(0.2)
        assert thread.is_alive()
        assert len(local.versions()) == 1
    thread.join(timeout=20)
    assert len(local.versions()) == 2
    assert any(isinstance(event, events.Noted) and "waiting for cas gc" in event.text for event in told)


def test_an_interrupted_publish_does_not_wait_for_a_sweep(local: Models) -> None:
    local.publish("first")
    (local.folder / "tree" / "own.bin").write_bytes(b"second" * 1000)
    words = [sys.executable, "-m", "cas", "--store", local.store.url, "-v", "publish", "m", "--as", "org/model"]
    with (
        Lease(local.store, SWEEP, "cas gc"),
        subprocess.Popen([*words, "--dir", str(local.folder / "tree")], stderr=subprocess.PIPE, text=True) as publisher,
    ):
        assert publisher.stderr is not None
        told = iter(publisher.stderr.readline, "")
        assert any("waiting for cas gc" in line for line in told)
        publisher.send_signal(signal.SIGINT)
        assert publisher.wait(timeout=20) == 130
    assert lease_entries.active_leases(local.store, local.store.bucket.list("leases"), _now) == []


def test_an_unchanged_publish_and_a_restore_take_no_lease(local: Models) -> None:
    local.publish("a")
    local.collect()
    with Lease(local.store, SWEEP, "cas gc"):
        assert not publish_tree(local.store, local.folder / "tree").created
        assert local.restored("m") == b"a" * 1000
    assert local.store.bucket.list("leases") == []


def test_a_dead_publisher_is_believed_for_a_while(local: Models) -> None:
    condemned(local)
    lease = Lease(local.store, "leases/0123456789abcdef", "publish m", 60)
    key = lease.write()
    assert local.collect(keep=1, wait=0).put_off
    _age(local.store, key, 30)
    assert local.collect(keep=1, wait=0).put_off
    _age(local.store, key, 31)
    done = local.collect(keep=1, wait=0)
    assert (done.swept_versions, done.put_off) == (1, "")
    assert local.store.bucket.list("leases") == [], "stale ones are cleared away"


def test_a_lease_that_cannot_be_read_counts(local: Models) -> None:
    condemned(local)
    local.store.bucket.put("leases/0123456789abcdef-000001.json", b"<html>", Kind.DOCUMENT)
    assert "somebody" in local.collect(keep=1, wait=0).put_off


def test_a_lease_is_renewed(local: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    local.store.create()
    monkeypatch.setenv("CAS_LEASE_SECONDS", "6")
    with hold_lease(local.store, "a long publish") as held:
        time.sleep(7)
        (one,) = lease_entries.active_leases(local.store, local.store.bucket.list("leases"), _now)
        assert one.purpose == "a long publish"
        held.check()
    assert lease_entries.active_leases(local.store, local.store.bucket.list("leases"), _now) == []


def test_who_slept_too_long_is_told_before_anything_depends_on_it(
    local: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.publish("first")
    clock, slept = time.clock_gettime, [0.0]
    monkeypatch.setattr(lease_entries.time, "clock_gettime", lambda which: clock(which) + slept[0])

    def listen(event: events.Event) -> None:
        if event == events.Phase("commit"):
            slept[0] = 600  # as when a machine is suspended when all chunks are there

    (local.folder / "tree" / "own.bin").write_bytes(b"second" * 1000)
    source = cas.Source.from_folder(local.folder / "tree", "org/model")
    with pytest.raises(LeaseLost, match=r"publish m: this machine slept, .*: run the same command again"):
        cas.publish("m", source, local.store, on_event=listen)
    assert len(local.versions()) == 1, "the tag still names the first"
    slept[0] = 0
    assert cas.publish("m", source, local.store).moved == ("latest",)


def test_a_sweep_that_slept_deletes_no_more(local: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    condemned(local)
    before = local.objects()
    clock, slept = time.clock_gettime, [0.0]
    monkeypatch.setattr(lease_entries.time, "clock_gettime", lambda which: clock(which) + slept[0])

    def listen(event: events.Event) -> None:
        if event == events.Phase("sweep"):
            slept[0] = 600

    with pytest.raises(LeaseLost):
        local.collect(keep=1, on_event=listen)
    assert local.objects() == before


def test_two_collectors_that_begin_together_delete_nothing_twice(local: Models) -> None:
    condemned(local)
    outcomes: list[object] = []

    def collect() -> None:
        try:
            outcomes.append(collector.gc(Store(local.store.bucket), grace=AT_ONCE, keep=1).swept_versions)
        except StoreError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=collect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    swept = [one for one in outcomes if isinstance(one, int)]
    assert sum(swept) <= 1
    assert all("is collecting" in str(one) for one in outcomes if not isinstance(one, int))
    local.collect(keep=1)
    local.collect(keep=1)
    assert len(local.versions()) == 1
    assert dangling(local.store, keep=1) == []


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _age(store: Store, key: str, seconds: float) -> None:
    path = Path(store.url, key)
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
