"""The lists of what collectors have condemned: read whole, in order, and without those that were swept meanwhile."""

from __future__ import annotations

import pytest

from cas.bucket import Kind
from cas.errors import FormatError
from cas.formats.digest import hex_of
from cas.store import condemned
from cas.store.condemned import condemn, condemned_chunks, condemned_sets, condemned_versions
from cas.store.layout import VersionId
from cas.store.leases import hold_lease
from cas.store.store import Store, open_store

RUN, LATER = "20261123T120000Z-00000002", "20261123T120000Z-00000001"
CHUNKS = [bytes.fromhex(hex_of(b"%d" % number)) for number in range(5)]
VERSIONS = [VersionId("m", "a" * 64), VersionId("other", "b" * 64)]


@pytest.fixture
def store() -> Store:
    """A store in memory."""
    return open_store("memory:")


@pytest.mark.parametrize("page", [1, 2, 4, 5, 100_000])
@pytest.mark.parametrize(("versions", "chunks"), [(VERSIONS, CHUNKS), ([], CHUNKS), (VERSIONS, [])])
def test_a_list_is_read_as_it_was_written(
    store: Store, monkeypatch: pytest.MonkeyPatch, page: int, versions: list[VersionId], chunks: list[bytes]
) -> None:
    monkeypatch.setattr(condemned, "_PAGE", page)
    condemn(store, RUN, versions, chunks)
    listed = store.bucket.list("gc")
    (found,) = condemned_sets(listed)
    assert (found.run, found.at) == (RUN, max(entry.modified for entry in listed))
    assert len(found.keys) == max(1, -(-len(chunks) // page))
    assert list(condemned_chunks(store, found)) == chunks
    assert list(condemned_versions(store, found)) == versions


def test_nothing_is_written_when_nothing_is_condemned(store: Store) -> None:
    condemn(store, RUN, [], [])
    assert store.bucket.list("gc") == []


def test_lists_are_told_apart_and_ordered_by_age(store: Store) -> None:
    condemn(store, RUN, VERSIONS, CHUNKS[:1])
    condemn(store, LATER, [], CHUNKS[1:])
    store.bucket.put("gc/notes.txt", b"?", Kind.DOCUMENT)
    sets = condemned_sets(store.bucket.list("gc"))
    assert [each.run for each in sets] == [RUN, LATER]
    assert [list(condemned_chunks(store, each)) for each in sets] == [CHUNKS[:1], CHUNKS[1:]]


def test_a_list_that_was_swept_meanwhile_is_empty(store: Store) -> None:
    condemn(store, RUN, VERSIONS, CHUNKS)
    (found,) = condemned_sets(store.bucket.list("gc"))
    for key in found.keys:
        store.bucket.delete(key)
    assert list(condemned_chunks(store, found)) == []
    assert list(condemned_versions(store, found)) == []


@pytest.mark.parametrize("data", [b"", b"[]", b"[" * 9999, b'{"version":2,"manifests":[],"chunks":[]}', b"\xff"])
def test_a_list_that_cannot_be_read_is_an_error(store: Store, data: bytes) -> None:
    store.bucket.put(f"gc/{RUN}-0000.json", data, Kind.DOCUMENT)
    (found,) = condemned_sets(store.bucket.list("gc"))
    with pytest.raises(FormatError, match=rf"gc/{RUN}-0000.json in .* is malformed"):
        list(condemned_chunks(store, found))
    with hold_lease(store, "publish m") as lease, pytest.raises(FormatError):
        lease.is_condemned("0" * 64)


def test_a_publisher_knows_what_any_run_condemned(store: Store) -> None:
    condemn(store, RUN, [], CHUNKS[:1])
    condemn(store, LATER, [], CHUNKS[1:2])
    with hold_lease(store, "publish m") as lease:
        assert [lease.is_condemned(chunk.hex()) for chunk in CHUNKS] == [True, True, False, False, False]
