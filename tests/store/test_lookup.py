"""Which chunks a store has: requests and listings tell the same."""

from __future__ import annotations

import pytest

from cas.formats.digest import hex_of
from cas.host import Limits
from cas.store import lookup
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.by_hand import put


def chunk_beside(store: Store, digest: str) -> str:
    """Store a chunk in the folder of another chunk, and return its digest."""
    return next(
        ref.digest for at in range(10**6) if hex_of(b"%d" % at)[:2] == digest[:2] for ref in put(store, b"%d" % at)
    )


@pytest.mark.parametrize("pays", [1024, 2])
def test_of_chunks_those_that_are_stored_are_told_and_no_others(
    pays: int, directory_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few are asked for one by one, many are listed: both tell the same, also of a folder with other chunks."""
    sizes = {}
    for data in (b"1", b"22" * 99, b"333"):
        (ref,) = put(directory_store, data)
        sizes[ref.digest] = directory_store.bucket.head(chunk_key(ref.digest)).size
        chunk_beside(directory_store, ref.digest)
    absent = {"0" * 64, "f" * 64, *(digest[:2] + "0" * 62 for digest in sizes)}
    monkeypatch.setattr(lookup, "_LISTING_PAYS", pays)
    for asked in ({*sizes}, {*sizes} | absent):
        assert lookup.stored_chunks(directory_store, asked, Limits()) == sizes.keys()
        assert lookup.stored_sizes(directory_store, asked, Limits()) == sizes


def test_sizes_of_many_chunks_are_those_of_few(directory_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [ref.digest for data in (b"1", b"22" * 99, b"333") for ref in put(directory_store, data)]
    absent = "0" * 64
    few = lookup.stored_sizes(directory_store, [*digests, absent], Limits())
    monkeypatch.setattr(lookup, "_LISTING_PAYS", 2)
    assert lookup.stored_sizes(directory_store, [*digests, absent], Limits()) == few
    assert few.keys() == set(digests)
