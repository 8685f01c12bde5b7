"""While a copy runs, no collector on either side deletes what is being copied."""

from __future__ import annotations

import datetime
import functools
import threading
from pathlib import Path

import cas
from cas import events
from cas.bucket import Bucket, Entry
from cas.ops.gc.collector import gc
from cas.ops.transfer.copier import copy
from cas.ops.transfer.wanted import naming
from cas.store import layout
from cas.store.layout import VersionId
from cas.store.store import Store, open_store
from tests.support.buckets import RecordingBucket
from tests.support.in_process import cas_json
from tests.support.models import read_tree, snapshot
from tests.support.transfer import FILES, NEXT, filled


def test_leases_on_both_sides_keep_collectors_away(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    target = open_store(str(tmp_path / "copy"))
    live: set[tuple[int, int]] = set()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Moved):
            live.add((len(directory_store.bucket.list(layout.LEASES)), len(target.bucket.list(layout.LEASES))))

    before = len(directory_store.bucket.list(layout.LEASES))
    copy(["m"], target, directory_store, on_event=listen)
    assert live == {(before + 1, 1)}
    for store in (directory_store, target):
        assert cas_json(store, "gc", "--grace", "0s", "--force", "--wait", "0s")["put_off"] == "", (
            "and end with the copy"
        )


def test_a_collector_that_runs_meanwhile_puts_its_sweep_off(directory_store: Store, tmp_path: Path) -> None:
    old = str(VersionId("m", filled(directory_store)))
    filled(directory_store, NEXT)
    cas_json(directory_store, "untag", "m:latest")
    collect = functools.partial(gc, directory_store, grace=datetime.timedelta(0), wait=0)
    assert collect().condemned_chunks == 16, "nothing names either version"
    put_off: list[str] = []

    first = threading.Lock()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Moved) and first.acquire(blocking=False):
            put_off.append(collect().put_off)

    target = open_store(str(tmp_path / "copy"))
    copy([old], target, directory_store, rule=naming(["prod"]), on_event=listen)
    assert "copy to" in put_off[0]
    assert read_tree(snapshot(cas.restore("m:prod", target, cache_dir=tmp_path / "hub"), "org/m")) == FILES
    assert collect().swept_chunks == 16, "what the lease protected goes once the copy is done"


class Watching(RecordingBucket):
    """A bucket that notes how many leases it holds whenever a chunk is looked up."""

    def __init__(self, inner: Bucket) -> None:
        super().__init__(inner)
        self.leases: list[int] = []

    def head(self, key: str) -> Entry:
        if key.startswith(layout.CHUNKS):
            self.leases.append(len(self._inner.list(layout.LEASES)))
        return super().head(key)


def test_the_destination_s_lease_is_there_before_the_first_look(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    target = Watching(open_store(str(tmp_path / "copy")).bucket)
    copy(["m"], Store(target), directory_store)
    target.leases.clear()
    for entry in target.list(layout.LEASES):
        target.delete(entry.key)
    copy(["m"], Store(target), directory_store)
    assert len(target.leases) == 26 and set(target.leases) == {1}, "each chunk twice, at first and before the commit"
