"""A ref's log is read while others move the ref and a collector trims it; nothing of another ref gets into it."""

from __future__ import annotations

from typing import Any

import pytest

from cas.bucket import Kind
from cas.bucket.object_store import ObjectBucket
from cas.errors import FormatError, RefMoved, StoreError
from cas.refs import reflog
from cas.refs.reflog import KEPT, UNSET, Ref, RefLog
from cas.store.store import Store, open_store
from tests.refs.logs import PREFIX, A, B, latest, written

NAMES = [f"0000000{number}-{'0' * 16}.json" for number in range(1, 5)]


@pytest.fixture
def store() -> Store:
    """A store in memory."""
    return open_store("memory:")


@pytest.fixture
def log(store: Store) -> RefLog:
    """A log of four entries: A, B, A, B."""
    for name, digest in zip(NAMES, (A, B, A, B), strict=True):
        written(store, name, digest)
    return latest(store)


def trim(store: Store, *names: str) -> None:
    for name in names:
        store.bucket.delete(f"{PREFIX}/{name}")


def after_list(monkeypatch: pytest.MonkeyPatch, then: Any) -> None:
    """Call a function after each listing, with how many there were by then."""
    listing, count = ObjectBucket.list, [0]

    def hooked(self: ObjectBucket, prefix: str) -> Any:
        found = listing(self, prefix)
        count[0] += 1
        then(count[0])
        return found

    monkeypatch.setattr(ObjectBucket, "list", hooked)


def test_an_entry_that_is_trimmed_while_it_is_read_is_looked_for_again(
    store: Store, log: RefLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move_and_trim(count: int) -> None:
        if count == 1:
            trim(store, NAMES[3])
            written(store, f"00000005-{'0' * 16}.json", A)

    after_list(monkeypatch, move_and_trim)
    entry = log.current()
    assert entry is not None
    assert entry.digest == A


def test_a_log_that_was_listed_before_is_listed_again_when_its_last_entry_is_gone(store: Store, log: RefLog) -> None:
    (listed,) = reflog.logs(store)
    trim(store, NAMES[3])
    assert listed.current_digest() == A


def test_entries_that_vanish_for_ever_are_an_error(store: Store, log: RefLog, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = log.listed()[-1]._replace(key=f"{PREFIX}/00000009-{'0' * 16}.json")
    monkeypatch.setattr(RefLog, "listed", lambda self: [gone])
    with pytest.raises(StoreError, match="its entries vanish while they are read"):
        log.current()


def test_a_history_leaves_out_what_is_trimmed_meanwhile(store: Store, log: RefLog) -> None:
    (listed,) = reflog.logs(store)
    trim(store, *NAMES[:2])
    assert [move.name for move in listed.history()] == NAMES[2:]


@pytest.mark.parametrize("last", [1, 2, 3, 4, 5])
def test_a_short_history_is_of_the_newest_moves(log: RefLog, last: int) -> None:
    assert [move.name for move in log.history(last)] == NAMES[-last:]


def test_a_move_takes_the_number_after_the_last_of_this_moment(store: Store, log: RefLog) -> None:
    (listed,) = reflog.logs(store)
    written(store, f"00000005-{'f' * 16}.json", B)
    listed.append(A, "test")
    assert latest(store).current_digest() == A
    assert [name[:9] for name in latest(store).names()][-2:] == ["00000005-", "00000006-"]


def test_entries_of_refs_whose_names_begin_alike_are_not_mixed(store: Store, log: RefLog) -> None:
    written(store, f"00000009-{'0' * 16}.json", A, f"{PREFIX}/x")
    written(store, f"00000009-{'0' * 16}.json", A, "refs/tags/m/latest2")
    written(store, f"00000009-{'0' * 16}.json", A, "refs/pins/m/latest")
    assert log.names() == NAMES
    assert RefLog(store, log.ref, store.bucket.list("refs")).names() == NAMES
    assert {str(ref): digest for ref, digest in reflog.current(store, "tags").items()} == {
        "m:latest": B,
        "m:latest2": A,
    }
    assert reflog.current(store, "pins") == {Ref("pins", "m", "latest"): A}
    assert reflog.current(store, "pins", "other") == {}
    assert [str(each.ref) for each in reflog.logs(store)] == ["pin:m/latest", "m:latest", "m:latest2"]


def test_refs_that_are_removed_are_not_shown_and_those_that_cannot_be_read_are(store: Store, log: RefLog) -> None:
    log.append(None, "untag")
    store.bucket.put(f"refs/tags/m/odd/00000001-{'0' * 16}.json", b"<html>", Kind.DOCUMENT)
    assert reflog.tags(store) == {"m": {"odd": None}}
    assert log.current_digest() is None
    with pytest.raises(FormatError, match="set m:odd again"):
        RefLog(store, Ref("tags", "m", "odd")).current_digest()


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("first_of_log", [True, False])
def test_of_all_who_expect_the_same_move_one_entry_is_left(
    store: Store, monkeypatch: pytest.MonkeyPatch, conditional: bool, first_of_log: bool
) -> None:
    log = latest(store)
    expect = UNSET
    if not first_of_log:
        log.append(B, "before")
        (expect,) = log.history(1)
    monkeypatch.setattr(store.bucket, "_conditional", conditional)
    names = log.names()
    monkeypatch.setattr(RefLog, "names", lambda self: names)  # all of them look before any of them writes
    told = 0
    for number, digest in enumerate((A, B, A)):
        try:
            log.append(digest, f"mover {number}", expect=expect)
        except RefMoved:
            told += 1
    monkeypatch.undo()
    assert told == 2
    assert log.current_digest() == A
    assert len(latest(store).names()) == len(names) + 1


def test_a_write_that_was_not_made_is_no_move(store: Store, log: RefLog, monkeypatch: pytest.MonkeyPatch) -> None:
    put = ObjectBucket.put

    def refused(self: ObjectBucket, key: str, *words: Any, **options: Any) -> bool:
        put(self, key, *words, **options)
        return False  # somebody else's entry of this very name

    monkeypatch.setattr(ObjectBucket, "put", refused)
    with pytest.raises(RefMoved):
        log.append(A, "test")


@pytest.mark.parametrize("rival", ["0" * 16, "f" * 16])
def test_of_two_entries_of_one_number_the_greater_name_wins(
    store: Store, log: RefLog, monkeypatch: pytest.MonkeyPatch, rival: str
) -> None:
    put = ObjectBucket.put

    def raced(self: ObjectBucket, key: str, *words: Any, **options: Any) -> bool:
        monkeypatch.setattr(ObjectBucket, "put", put)
        written(store, f"00000005-{rival}.json", A)
        return put(self, key, *words, **options)

    monkeypatch.setattr(ObjectBucket, "put", raced)
    if rival == "0" * 16:
        log.append(B, "test")
    else:
        with pytest.raises(RefMoved, match=r"was moved to .* by somebody else"):
            log.append(B, "test")
    assert log.current_digest() == (B if rival == "0" * 16 else A)


def test_numbers_of_nine_digits_come_after_those_of_eight(store: Store) -> None:
    for number, digest in ((99_999_999, A), (100_000_000, B), (100_000_001, A)):
        written(store, f"{number:08d}-{'0' * 16}.json", digest)
    assert [int(name[:-22]) for name in latest(store).names()] == [99_999_999, 100_000_000, 100_000_001]
    latest(store).append(B, "test")
    assert latest(store).names()[-1].startswith("100000002-")


def test_who_and_why_can_always_be_read_again(store: Store) -> None:
    entry = latest(store).append(A, "bench\x1b[2J\nwas good" + "x" * 9000, by="ana\x07")
    assert latest(store).current() == entry
    assert (entry.by, entry.reason[:18], len(entry.reason)) == ("ana ", "bench [2J was good", 4096)


def test_twenty_entries_are_kept() -> None:
    assert KEPT == 20
