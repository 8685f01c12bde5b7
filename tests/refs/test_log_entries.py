"""The entries of a ref's log: none is overwritten, and the last one by number and name is in force."""

from __future__ import annotations

import json

import pytest

from cas import host
from cas.bucket import Kind
from cas.errors import FormatError, RefMoved
from cas.formats.digest import named
from cas.refs import reflog
from cas.store.store import Store
from tests.refs.logs import PREFIX, A, B, latest, written

ENTRY = {"manifest": named(A), "created": "2026-11-23T03:00:00Z", "by": "x", "reason": "y"}


def test_a_log_keeps_every_entry_and_the_last_is_in_force(store: Store) -> None:
    log = latest(store)
    assert log.current() is None
    for digest, reason in ((A, "publish"), (B, "publish"), (A, "rollback")):
        log.append(digest, reason)
    entries = [log.read(name) for name in log.names()]
    assert [(entry.manifest, entry.reason) for entry in entries] == [
        (named(A), "publish"),
        (named(B), "publish"),
        (named(A), "rollback"),
    ]
    assert [name[:9] for name in log.names()] == ["00000001-", "00000002-", "00000003-"]
    assert log.current_digest() == A
    assert entries[0].by == host.whoami()


def test_of_two_entries_with_one_number_the_greater_name_is_in_force(store: Store) -> None:
    for name, digest in (("00000001-ffffffffffffffff.json", A), ("00000001-0000000000000000.json", B)):
        written(store, name, digest)
    assert latest(store).current_digest() == A
    assert reflog.tags(store) == {"m": {"latest": A}}
    written(store, "00000002-0000000000000000.json", B)
    assert latest(store).current_digest() == B


@pytest.mark.parametrize(("rival", "lost"), [("f" * 16, True), ("0" * 16, False)])
def test_who_loses_a_race_is_told_who_won(
    store: Store, monkeypatch: pytest.MonkeyPatch, rival: str, lost: bool
) -> None:
    log = latest(store)
    log.append(A, "publish")
    monkeypatch.setattr(reflog.os, "urandom", lambda size: b"\x88" * size)
    put = store.bucket.put

    def racing(key: str, data: bytes, kind: Kind) -> bool:
        done = put(key, data, kind)
        put(key.replace("8" * 16, rival), data.replace(B.encode(), A.encode()), kind)
        return done

    monkeypatch.setattr(store.bucket, "put", racing)
    if lost:
        with pytest.raises(RefMoved, match=f"m:latest was moved to {named(A)}"):
            log.append(B, "publish")
    else:
        log.append(B, "publish")
    assert log.current_digest() == (A if lost else B)
    assert len(log.names()) == 3


def test_numbers_beyond_eight_digits_stay_in_order(store: Store) -> None:
    written(store, f"99999999-{'f' * 16}.json", A)
    latest(store).append(B, "publish")
    assert latest(store).current_digest() == B
    assert reflog.tags(store) == {"m": {"latest": B}}


@pytest.mark.parametrize(
    "name",
    [
        "note",
        "00000009-x.json",
        f"9-{A[:16]}.json",
        f"00000009-{A[:16]}.json.tmp",
        f"x/00000009-{A[:16]}.json",
        f"٠٠٠٠٠٠٠٩-{A[:16]}.json",
    ],
)
def test_what_is_no_entry_is_overlooked(store: Store, name: str) -> None:
    latest(store).append(A, "publish")
    written(store, name, B)
    assert latest(store).current_digest() == A
    assert reflog.tags(store) == {"m": {"latest": A}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b'{"x":' + b"[" * 60_000,
        json.dumps({**ENTRY, "endpoint": "https://example.com"}).encode(),
        json.dumps({**ENTRY, "manifest": A}).encode(),
        json.dumps({**ENTRY, "manifest": named(A) + "\n"}).encode(),
        json.dumps({**ENTRY, "by": "\x1b[2J"}).encode(),
        json.dumps({**ENTRY, "by": "x" * 100_000}).encode(),
        json.dumps({**ENTRY, "reason": None}).encode(),
    ],
    ids=range(10),
)
def test_a_malformed_entry_is_refused_and_healed_by_the_next(store: Store, data: bytes) -> None:
    store.bucket.put(f"{PREFIX}/00000001-{'0' * 16}.json", data, Kind.DOCUMENT)
    with pytest.raises(FormatError):
        latest(store).current()
    latest(store).append(A, "tag")
    assert latest(store).current_digest() == A


def test_who_and_why_are_written_as_they_can_be_read(store: Store) -> None:
    entry = latest(store).append(A, "line\nfeed \x1b[2J" + "x" * 5000, by="caf\udcc3 host")
    read = latest(store).current()
    assert read == entry
    assert read.by == "caf? host"
    assert read.reason.startswith("line feed  [2Jx")
    assert len(read.reason) == 4096
