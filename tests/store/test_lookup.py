"""Which chunks a store has: requests and listings tell the same."""

from __future__ import annotations

import pytest

from cas.config import Limits
from cas.store import lookup
from cas.store.store import Store
from tests.support.by_hand import put


def test_sizes_of_many_chunks_are_those_of_few(directory_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [ref.digest for data in (b"1", b"22" * 99, b"333") for ref in put(directory_store, data)]
    absent = "0" * 64
    few = lookup.stored_sizes(directory_store, [*digests, absent], Limits())
    monkeypatch.setattr(lookup, "_LISTING_PAYS", 2)
    assert lookup.stored_sizes(directory_store, [*digests, absent], Limits()) == few
    assert few.keys() == set(digests)


def test_of_many_chunks_those_that_are_absent_are_told(directory_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {ref.digest for data in (b"1", b"22" * 99, b"333") for ref in put(directory_store, data)}
    (other,) = put(directory_store, b"not asked for")
    absent = {"0" * 64, other.digest[:2] + "0" * 62}  # in a folder of its own, and beside a chunk that is stored
    for pays in (1024, 2):
        monkeypatch.setattr(lookup, "_LISTING_PAYS", pays)
        assert lookup.stored_chunks(directory_store, digests | absent, Limits()) == digests
