"""Whatever an examination writes is gone when it ends, however it ends; what a killed one leaves, `cas gc` erases."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cas.bucket import Kind
from cas.bucket.object_store import ObjectBucket
from cas.ops.gc.collector import gc
from cas.store import layout
from cas.store.store import Store
from tests.ops.doctor.conftest import Examine
from tests.support.processes import start_cas, until
from tools.servers.habits import HabitServer, Seen

URL = "s3://bucket/cas"


@pytest.mark.parametrize("name", ["small", "page-0", "page-4", "chunk"])
def test_an_interrupt_after_a_write_leaves_nothing(
    odd: HabitServer, examined: Examine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    put = ObjectBucket.put

    def interrupted(self: ObjectBucket, key: str, *words: Any, **options: Any) -> bool:
        put(self, key, *words, **options)
        if key.endswith(name):
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(ObjectBucket, "put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        examined(URL)
    assert odd.objects == {}
    assert odd.count("PUT", f"/{name}") == 1


@pytest.mark.parametrize(("reading", "name"), [("get", "small"), ("get_range", "small"), ("get_into", "chunk")])
def test_an_interrupt_of_a_read_leaves_nothing(
    odd: HabitServer, examined: Examine, monkeypatch: pytest.MonkeyPatch, reading: str, name: str
) -> None:
    read = getattr(ObjectBucket, reading)

    def interrupted(self: ObjectBucket, key: str, *words: Any, **options: Any) -> Any:
        if key.endswith(name):
            raise KeyboardInterrupt
        return read(self, key, *words, **options)

    monkeypatch.setattr(ObjectBucket, reading, interrupted)
    with pytest.raises(KeyboardInterrupt):
        examined(URL)
    assert odd.objects == {}
    assert odd.count("PUT", f"/{name}") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(odd: HabitServer, number: signal.Signals) -> None:
    met, go_on = threading.Event(), threading.Event()

    def wait(seen: Seen) -> None:
        if seen.method == "PUT" and seen.key.endswith("page-2"):
            met.set()
            go_on.wait(30)

    odd.before = wait
    process = start_cas("doctor", "--store", URL, env={"HF_HUB_OFFLINE": "1"})
    try:
        until(met.is_set)
        os.kill(process.pid, number)
    finally:
        go_on.set()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert [key for key in odd.objects if not key.endswith("page-2")] == []


def test_a_key_that_may_not_delete_leaves_two_small_objects(odd: HabitServer, examined: Examine) -> None:
    refuse_deletes(odd)
    found = examined(URL, "publisher")
    assert found.status("delete") == "ok"
    assert found.status("clear") == "ok"
    assert "cas gc" in found["clear"].found
    assert [len(left.data) for left in odd.objects.values()] == [256, 256]


def refuse_deletes(odd: HabitServer) -> None:
    """Make the server refuse every deletion, single or bulk."""

    def before(seen: Seen) -> None:
        deleting = seen.method == "DELETE" or "delete" in seen.query
        odd.habits.refusal = "403 AccessDenied" if deleting else ""

    odd.before = before


def test_gc_erases_what_a_killed_examination_left(directory_store: Store) -> None:
    directory_store.create()
    old, young = (f"{layout.examination_folder(identity)}/small" for identity in ("0" * 16, "1" * 16))
    for key in (old, young):
        directory_store.bucket.put(key, b"{}", Kind.DOCUMENT)
    past = time.time() - 2 * 3600
    os.utime(Path(directory_store.url) / old, (past, past))
    assert gc(directory_store).cleared == 1
    assert [entry.key for entry in directory_store.bucket.list(layout.EXAMINATIONS)] == [young]
