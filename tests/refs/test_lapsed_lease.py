"""A move whose lease lapses is refused before the entry is written, and confirmed or taken back after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cas.bucket import Kind
from cas.bucket.object_store import ObjectBucket
from cas.errors import StoreError, Transient
from cas.formats.digest import hex_of
from cas.refs.move import move
from cas.refs.reflog import Ref, RefLog
from cas.store import layout
from cas.store.lease_entries import LeaseLost
from cas.store.store import Store
from tests.refs.conftest import Desk
from tests.support.clock import LeaseClock
from tests.support.collecting import dangling

LATEST, NEW = Ref("tags", "m", "latest"), Ref("pins", "eu", "m")


def on_put(monkeypatch: pytest.MonkeyPatch, folder: str, then: Callable[[str], None], *, number: int = 1) -> None:
    """Call a function after the n-th write below a folder."""
    put, left = ObjectBucket.put, [number]

    def hooked(self: ObjectBucket, key: str, *words: Any, **options: Any) -> bool:
        done = put(self, key, *words, **options)
        if key.startswith(folder):
            left[0] -= 1
            if left[0] == 0:
                then(key)
        return done

    monkeypatch.setattr(ObjectBucket, "put", hooked)


def swept(desk: Desk, *numbers: int) -> None:
    """Delete manifests and the chunk that each has for itself, as a collector does that does not see the new entry."""
    for number in numbers:
        desk.store.bucket.delete(layout.manifest_key("m", desk.versions[number]))
        desk.store.bucket.delete(layout.chunk_key(hex_of(b"%d" % number)))


@pytest.mark.parametrize("ref", [LATEST, NEW])
def test_a_lease_that_lapsed_before_the_entry_is_written_moves_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock, ref: Ref
) -> None:
    read = Store.get_manifest

    def slept(self: Store, *words: Any) -> Any:
        found = read(self, *words)
        clock.now += 600
        return found

    monkeypatch.setattr(Store, "get_manifest", slept)
    names = RefLog(desk.store, ref).names()
    with pytest.raises(LeaseLost, match="run the same command again"):
        move(desk.store, {ref: None}, desk.versions[0], "test")
    assert RefLog(desk.store, ref).names() == names


def test_of_two_refs_the_second_is_not_moved_when_the_lease_lapsed_between_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock
) -> None:
    read, reads = Store.get_manifest, [0]

    def slept(self: Store, *words: Any) -> Any:
        reads[0] += 1
        clock.now += 600 * (reads[0] == 2)
        return read(self, *words)

    monkeypatch.setattr(Store, "get_manifest", slept)
    with pytest.raises(LeaseLost):
        move(desk.store, {LATEST: None, NEW: None}, desk.versions[0], "test")
    assert desk.names("m") == desk.versions[0]
    assert RefLog(desk.store, NEW).names() == []


@pytest.mark.parametrize("ref", [LATEST, NEW])
def test_a_lease_that_lapsed_while_the_entry_was_written_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock, ref: Ref
) -> None:
    def sleep(_: str) -> None:
        clock.now += 600

    on_put(monkeypatch, "refs/", sleep)
    with pytest.raises(LeaseLost, match="run the same command again"):
        move(desk.store, {ref: None}, desk.versions[0], "test")
    assert RefLog(desk.store, ref).current_digest() == desk.versions[0], "it is whole, and named now"


def test_a_removal_under_a_lease_that_lapsed_is_told_and_stays(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock
) -> None:
    def sleep(_: str) -> None:
        clock.now += 600

    on_put(monkeypatch, "refs/", sleep)
    with pytest.raises(LeaseLost):
        move(desk.store, {LATEST: None}, None, "untag")
    assert desk.names("m") is None


@pytest.mark.parametrize(
    ("ref", "gone", "left"), [(LATEST, (0,), 2), (LATEST, (0, 2), None), (NEW, (0,), None)], ids=str
)
@pytest.mark.parametrize("fails", [False, True])
def test_a_version_that_was_swept_meanwhile_is_not_named(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    clock: LeaseClock,
    ref: Ref,
    gone: tuple[int, ...],
    left: int | None,
    fails: bool,
) -> None:
    def sleep(key: str) -> None:
        clock.now += 600
        swept(desk, *gone)
        if fails:
            raise Transient(f"put {key}: the connection broke")  # the entry is written all the same

    on_put(monkeypatch, "refs/", sleep)
    with pytest.raises(LeaseLost, match="which a collector had deleted while this machine slept"):
        move(desk.store, {ref: None}, desk.versions[0], "test", "ana")
    log = RefLog(desk.store, ref)
    assert log.current_digest() == (None if left is None else desk.versions[left])
    entry = log.current()
    assert entry is not None
    assert (entry.by, entry.reason) == ("ana", f"{desk.versions[0][:12]} was swept before it was named")
    assert desk.versions[0] not in desk.store.digests("m"), "no manifest without its chunks"


def test_a_version_of_which_a_chunk_was_swept_is_not_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock
) -> None:
    def sleep(_: str) -> None:
        clock.now += 600
        desk.store.bucket.delete(layout.chunk_key(hex_of(b"0")))

    on_put(monkeypatch, "refs/", sleep)
    with pytest.raises(LeaseLost, match="had deleted while this machine slept"):
        move(desk.store, {LATEST: None}, desk.versions[0], "test")
    assert desk.names("m") == desk.versions[2]


@pytest.mark.parametrize("ref", [LATEST, NEW])
def test_a_version_whose_chunks_others_need_is_made_whole_from_what_was_read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock, ref: Ref
) -> None:
    def sleep(_: str) -> None:
        clock.now += 600
        desk.store.bucket.delete(layout.manifest_key("m", desk.versions[0]))

    on_put(monkeypatch, "refs/", sleep)
    with pytest.raises(LeaseLost, match="run the same command again"):
        move(desk.store, {ref: None}, desk.versions[0], "test")
    assert RefLog(desk.store, ref).current_digest() == desk.versions[0]
    assert dangling(desk.store, keep=1) == []
    assert move(desk.store, {ref: None}, desk.versions[0], "test") == ()


def test_a_manifest_that_is_damaged_is_not_mended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock
) -> None:
    key = layout.manifest_key("m", desk.versions[0])

    def sleep(_: str) -> None:
        clock.now += 600
        desk.store.bucket.put(key, b"{}", Kind.MANIFEST, overwrite=True)

    on_put(monkeypatch, "refs/", sleep)
    with pytest.raises(LeaseLost, match=r"m:latest names .* now"):
        move(desk.store, {LATEST: None}, desk.versions[0], "test")
    assert desk.names("m") == desk.versions[2]
    assert bytes(desk.store.bucket.get(key, 100)) == b"{}", "`cas fsck` shows it"


def test_what_somebody_else_named_meanwhile_is_not_taken_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock
) -> None:
    def sleep(_: str) -> None:
        clock.now += 600
        swept(desk, 0)
        RefLog(desk.store, LATEST).append(desk.versions[1], "theirs")

    on_put(monkeypatch, "refs/", sleep)
    with pytest.raises(StoreError):
        move(desk.store, {LATEST: None}, desk.versions[0], "test")
    assert desk.names("m") == desk.versions[1]


def test_what_somebody_else_named_meanwhile_is_taken_back_when_it_was_swept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock
) -> None:
    def sleep(_: str) -> None:
        clock.now += 600
        RefLog(desk.store, LATEST).append(desk.versions[1], "theirs")
        desk.store.bucket.delete(layout.manifest_key("m", desk.versions[1]))

    on_put(monkeypatch, "refs/", sleep)
    with pytest.raises(StoreError):
        move(desk.store, {LATEST: None}, desk.versions[0], "test")
    assert desk.names("m") != desk.versions[1]
    assert dangling(desk.store, keep=1) == []


def test_what_somebody_names_during_the_look_is_not_taken_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock
) -> None:
    read = Store.get_manifest

    def overtaken(self: Store, *words: Any) -> Any:
        monkeypatch.setattr(Store, "get_manifest", read)
        RefLog(self, LATEST).append(desk.versions[1], "theirs")
        return read(self, *words)

    def sleep(_: str) -> None:
        clock.now += 600
        swept(desk, 0)
        monkeypatch.setattr(Store, "get_manifest", overtaken)

    on_put(monkeypatch, "refs/", sleep)
    with pytest.raises(LeaseLost, match="run the same command again"):
        move(desk.store, {LATEST: None}, desk.versions[0], "test")
    assert desk.names("m") == desk.versions[1]


def test_a_machine_that_sleeps_again_and_again_says_that_it_does_not_know(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, clock: LeaseClock
) -> None:
    listing = ObjectBucket.list

    def slow(self: ObjectBucket, prefix: str) -> Any:
        clock.now += 600
        return listing(self, prefix)

    def sleep(_: str) -> None:
        clock.now += 600
        monkeypatch.setattr(ObjectBucket, "list", slow)

    on_put(monkeypatch, "refs/", sleep)
    with pytest.raises(LeaseLost, match=r"could not be found out \(m:latest was moved, or this machine slept, 5 times"):
        move(desk.store, {LATEST: None}, desk.versions[0], "test")
