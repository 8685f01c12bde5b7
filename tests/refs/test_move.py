"""The one function that moves refs: under which lease, from where, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from cas import events
from cas.bucket.object_store import ObjectBucket
from cas.errors import RefMoved
from cas.refs.move import MoveOn, expected_move, move
from cas.refs.reflog import UNSET, Move, Ref, RefLog
from cas.store.leases import LazyLease
from cas.store.store import Store
from tests.refs.conftest import Desk

LATEST, NEW = Ref("tags", "m", "latest"), Ref("pins", "eu", "m")


def test_only_the_first_digits_of_a_version_say_what_is_expected(desk: Desk) -> None:
    digest = desk.versions[2]
    assert expected_move(desk.store, LATEST, digest[:8]).entry.digest == digest
    for expect in (digest[1:], digest[8:16], digest[:8] + "0" * 56):
        with pytest.raises(RefMoved):
            expected_move(desk.store, LATEST, expect)


def test_an_operation_reads_the_version_under_its_lease(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    put, read = ObjectBucket.put, Store.get_manifest

    def recording(self: ObjectBucket, key: str, *words: Any, **options: Any) -> bool:
        done = put(self, key, *words, **options)
        order.append(key.partition("/")[0])
        return done

    def reading(self: Store, *words: Any) -> Any:
        order.append("manifest")
        return read(self, *words)

    monkeypatch.setattr(ObjectBucket, "put", recording)
    monkeypatch.setattr(Store, "get_manifest", reading)
    with LazyLease(desk.store, "publish m", events.ignore) as lease:
        moved = move(desk.store, {NEW: None}, desk.versions[0], "publish", meanwhile=MoveOn({}, lease))
    assert moved == (NEW,)
    assert order == ["leases", "manifest", "refs", "leases"]


@pytest.mark.parametrize("expect", ["by hand", "by an operation"])
def test_a_ref_that_somebody_moves_at_the_last_moment_is_not_moved_when_it_must_be_as_expected(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, expect: str
) -> None:
    (last,) = RefLog(desk.store, LATEST).history(1)
    read = Store.get_manifest

    def overtaken(self: Store, *words: Any) -> Any:
        monkeypatch.setattr(Store, "get_manifest", read)
        RefLog(desk.store, LATEST).append(desk.versions[1], "theirs")
        return read(self, *words)

    monkeypatch.setattr(Store, "get_manifest", overtaken)
    with LazyLease(desk.store, "publish m", events.ignore) as lease:
        meanwhile = MoveOn({LATEST: desk.versions[2]}, lease) if expect == "by an operation" else None
        expected: dict[Ref, Move | None] = {NEW: UNSET if meanwhile else None, LATEST: last}
        told: list[events.Event] = []
        with pytest.raises(RefMoved, match="m:latest was moved"):
            move(desk.store, expected, desk.versions[0], "test", listen=told.append, meanwhile=meanwhile)
    assert desk.names("m") == desk.versions[1]
    assert desk.names("pin:eu/m") == desk.versions[0]
    warned = [event.text for event in told if isinstance(event, events.Warned)]
    assert warned == ([] if meanwhile else ["pin:eu/m had been moved by then"])
