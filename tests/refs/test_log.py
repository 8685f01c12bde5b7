"""The log behind a ref: removals, histories, and moves that expect where they start from."""

from __future__ import annotations

import re

import pytest

from cas.bucket import Kind
from cas.errors import FormatError, NotFoundError, RefMoved
from cas.formats.digest import named
from cas.formats.manifest import Manifest
from cas.host import whoami
from cas.refs import reflog
from cas.refs.reference import Reference, log_of, resolve
from cas.refs.reflog import UNSET
from cas.store.store import Store
from tests.refs.logs import PREFIX, A, B, latest


def test_a_removed_ref_names_nothing_and_its_history_stays(store: Store) -> None:
    digest = store.put_manifest(Manifest(model="m", repos=(), annotations={}))
    log = latest(store)
    log.append(digest, "publish")
    log.append(None, "untag", by="ana")
    assert log.current_digest() is None
    assert reflog.tags(store) == {}
    assert reflog.current(store, "tags") == {}
    assert [move.entry.digest for move in log.history()] == [digest, None]
    with pytest.raises(
        NotFoundError, match=r"m:latest was removed from .* by ana \(untag\): see `cas history m:latest`"
    ):
        resolve(store, "m")
    log.append(digest, "tag")
    assert resolve(store, "m").digest == digest


def test_a_history_is_in_order_with_the_stores_times(store: Store) -> None:
    log = latest(store)
    assert log.history() == []
    for digest in (A, B, None):
        log.append(digest, "test")
    modified = {entry.key.rpartition("/")[2]: entry.modified for entry in store.bucket.list(PREFIX)}
    moves = log.history()
    assert [(move.name, move.at) for move in moves] == sorted(modified.items())
    assert [move.entry.digest for move in moves] == [A, B, None]
    assert log.history(2) == moves[1:]
    store.bucket.put(f"{PREFIX}/00000010-{'0' * 16}.json", b"<html>", Kind.DOCUMENT)
    with pytest.raises(FormatError, match="00000010"):
        log.history()


@pytest.mark.parametrize("removed", [False, True])
def test_a_move_is_made_only_from_where_it_is_expected(store: Store, removed: bool) -> None:
    log = latest(store)
    log.append(A, "publish")
    seen = log.history(1)[0]
    log.append(None if removed else B, "by another")
    now = rf"nothing \(removed by {re.escape(whoami())}\)" if removed else named(B)
    with pytest.raises(RefMoved, match=rf"to {now} \(expected: {named(A)}\)"):
        log.append(A, "late", expect=seen)
    with pytest.raises(RefMoved, match=r"\(expected: nothing\)"):
        log.append(A, "late", expect=UNSET)
    assert len(log.names()) == 2
    log.append(A, "in time", expect=log.history(1)[0])
    assert [move.entry.digest for move in log.history()] == [A, None if removed else B, A]
    # The ref names the expected version, but another move made it do so.
    with pytest.raises(RefMoved):
        log.append(B, "late", expect=seen)


def test_an_unset_ref_is_expected_to_be_so(store: Store) -> None:
    log = latest(store)
    log.append(A, "first", expect=UNSET)
    assert log.current_digest() == A
    with pytest.raises(RefMoved, match=rf"to nothing \(expected: {named(A)}\)"):
        log_of(store, Reference("m", tag="other")).append(A, "late", expect=log.history(1)[0])


@pytest.mark.parametrize("set_before", [False, True])
def test_of_two_who_expect_the_same_at_once_the_second_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch, set_before: bool
) -> None:
    log = latest(store)
    if set_before:
        log.append(A, "publish")
    seen = log.history(1)[0] if set_before else UNSET
    put = store.bucket.put

    def after_the_other(key: str, data: bytes, kind: Kind) -> bool:
        monkeypatch.setattr(store.bucket, "put", put)
        latest(store).append(A, "the other", expect=seen)
        return put(key, data, kind)

    monkeypatch.setattr(store.bucket, "put", after_the_other)
    with pytest.raises(RefMoved, match=f"was moved to {named(A)} by somebody else at the same moment"):
        log.append(B, "this one", expect=seen)
    assert log.current_digest() == A
    assert len(log.names()) == 1 + set_before
