"""A server killed during a publish: it has every chunk that it acknowledged, and the tag names a complete version."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import cas
from cas import events
from cas.bucket import RetryPolicy
from cas.errors import StoreError
from cas.ops.fsck import checker
from cas.store.store import Store, open_store
from tests.support.buckets import HURRIED
from tests.support.models import publish_tree, read_tree, snapshot, write_tree
from tools.servers.seaweed import SeaweedFS

_MIB = 1 << 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SeaweedFS]:
    """A server that a test may kill."""
    with SeaweedFS(tmp_path / "server") as server:
        yield server


@pytest.fixture
def shop(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store on the server that may be killed."""
    server.create_bucket("models")
    for name, value in server.env("models").items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return open_store("s3://models/cas", policy=HURRIED)


@pytest.mark.parametrize("after", [1, 3, 6])
def test_the_publish_fails_and_the_next_sends_only_the_other_chunks(
    server: SeaweedFS, shop: Store, tmp_path: Path, after: int
) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": b"old"})
    old = publish_tree(shop, tree).reference
    write_tree(tree, {f"{number}.bin": os.urandom(4 * _MIB) for number in range(8)})
    sent: list[events.Moved] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Moved) and event.wire:
            sent.append(event)
            if len(sent) == after:
                server.kill()

    with pytest.raises(StoreError) as failed:
        publish_tree(shop, tree, on_event=listen)
    assert failed.value.exit_code == 6
    server.start()
    checked = checker.fsck(store=shop)
    assert checked.sound
    assert checked.orphaned.count >= after, "every acknowledged chunk is stored, and complete"
    assert cas.restore("m", shop, cache_dir=tmp_path / "before").reference == old
    done = publish_tree(shop, tree)
    assert done.uploaded_chunks <= 8 - after
    assert read_tree(snapshot(cas.restore("m", shop, cache_dir=tmp_path / "after"))) == read_tree(tree)


def test_a_server_that_comes_back_in_time_is_waited_for(server: SeaweedFS, shop: Store, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {f"{number}.bin": os.urandom(4 * _MIB) for number in range(8)})
    killed = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Moved) and event.wire and not killed:
            killed.append(event)
            server.restart()

    # The default policy gives up an unreachable server after some seconds, too few to start one on a busy machine.
    patient = open_store("s3://models/cas", policy=RetryPolicy(unreachable_attempts=100))
    done = publish_tree(patient, tree, on_event=listen)
    assert killed
    assert done.moved == ("latest",)
    assert checker.fsck(store=shop).sound
    assert read_tree(snapshot(cas.restore("m", shop, cache_dir=tmp_path / "hub"))) == read_tree(tree)
