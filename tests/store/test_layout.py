"""Keys: each function that makes a key has one that reads it, and no other key passes for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cas.store import layout
from cas.store.layout import LeaseEntry, RefEntryId, VersionId

A, ID = "ab" * 32, "0123456789abcdef"
RUN = "20260101T000000Z-01234567"

READERS: dict[str, tuple[Callable[[str], object], str, object]] = {
    "chunk": (layout.chunk_digest, layout.chunk_key(A), A),
    "manifest": (layout.version_id, layout.manifest_key("f5-tts", A), VersionId("f5-tts", A)),
    "tag": (
        layout.ref_entry,
        layout.ref_entry_key(RefEntryId("tags", "m", "latest", layout.ref_entry_name(7, ID))),
        RefEntryId("tags", "m", "latest", f"00000007-{ID}.json"),
    ),
    "pin": (
        layout.ref_entry,
        layout.ref_entry_key(RefEntryId("pins", "prod", "m", layout.ref_entry_name(123456789, ID))),
        RefEntryId("pins", "prod", "m", f"123456789-{ID}.json"),
    ),
    "receipt": (layout.receipt_digest, layout.receipt_key("prod", "2026-01-01T00:00:00Z", A, ID), A),
    "later phases": (
        layout.later_phases,
        layout.later_phases_key(layout.receipt_key("prod", "2026-01-01T00:00:00Z", A, ID), ID, 7),
        (layout.receipt_key("prod", "2026-01-01T00:00:00Z", A, ID), ID),
    ),
    "lease": (
        layout.lease_entry,
        layout.lease_entry_key(LeaseEntry(layout.lease_id(ID), 12)),
        LeaseEntry(f"leases/{ID}", 12),
    ),
    "sweep": (
        layout.lease_entry,
        layout.lease_entry_key(LeaseEntry(layout.sweep_id(RUN), 1234567)),
        LeaseEntry(f"gc/{RUN}-sweep", 1234567),
    ),
    "condemned": (layout.condemned_run, layout.condemned_key(RUN, 3), RUN),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_key_is_read_as_it_was_made(kind: str) -> None:
    read, key, meaning = READERS[kind]
    assert read(key) == meaning


@pytest.mark.parametrize("kind", READERS)
def test_no_other_key_passes_for_it(kind: str) -> None:
    read, key, _ = READERS[kind]
    top, _, rest = key.partition("/")
    for other in (
        f"x{key}",
        f"a/{key}",
        f"{key}x",
        f"{key}\n",
        f"{key}/x",
        f"{top}x/{rest}",
        f"{top}/x/{rest}",
        key[:-1],
        "",
    ):
        assert read(other) is None, other
    if A in key:
        assert read(key.replace(A, A.upper())) is None
    others = {read for read, *_ in READERS.values()} - {read}
    assert [another(key) for another in others] == [None] * len(others)


def test_a_probe_is_no_condemned_list_and_no_sweep() -> None:
    probe = layout.probe_key(RUN)
    assert layout.is_probe(probe)
    assert (layout.condemned_run(probe), layout.lease_entry(probe)) == (None, None)
    assert not any(layout.is_probe(key) for _, key, _ in READERS.values())


def test_entries_are_sorted_by_number_and_then_by_name() -> None:
    names = ["99999999-b.json", "99999999-c.json", "100000000-a.json", "100000001-a.json"]
    assert sorted(sorted(names), key=layout.ref_entry_order) == names
