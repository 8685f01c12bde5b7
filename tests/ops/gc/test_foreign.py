"""Foreign objects in a store: whoever may only write receipts stops no collection, and frees nothing that is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cas import events
from cas.bucket import Entry, Kind
from cas.errors import FormatError, IntegrityError, ListingUnbounded
from tests.support.collecting import Models

A = "a" * 64
ID = "0" * 16


@pytest.mark.parametrize(
    ("key", "content"),
    [
        (f"receipts/d/2026-01-01/010101-{A}-{ID}.json", b"[" * 60_000),
        ("receipts/x", b""),
        (f"receipts/\u202ed/\u2028/010101-{A}-{ID}.json", b"{}"),
        (f"receipts/d/e/f/g/010101-{A}-{ID}.json", b"{}"),
        ("receipts/" + "/".join("y" * 100 for _ in range(5)), b"{}"),
        ("leases/x.json", b"{}"),
        (f"leases/{ID}-{'9' * 150}.json", b"{}"),
        ("gc/x.json", b"{}"),
        ("gc/20260101T000000Z-01234567-x.json", b"["),
        ("refs/x", b""),
        (f"refs/tags/\u202em/latest/00000001-{ID}.json", b"["),
        (f"refs/tags/-m/latest/00000001-{ID}.json", b"["),
        (f"refs/tags/m/latest/{'9' * 200}-{ID}.json", b"["),
        (f"manifests/-rf/{A}.json", b"["),
        ("chunks/aa/x", b""),
    ],
)
def test_an_object_that_is_not_ours_changes_nothing(local: Models, key: str, content: bytes) -> None:
    local.publish("old", tag="old")
    kept = local.publish("kept")
    local.store.bucket.put(key, content, Kind.DOCUMENT)
    done = local.collect(wait=0)
    assert done.kept_versions == 2
    assert kept in local.versions()
    local.collect(wait=0)
    assert local.store.bucket.exists(key) or key.startswith("receipts/")


def _strange_names(root: Path, folder: str) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    os.mkfifo(root / folder / "pipe")
    (root / folder / "circle").symlink_to(".")
    (root / folder / "\x1b[2Jx").touch()
    with open(os.fsencode(root / folder) + b"/\xff", "w", encoding="utf-8"):
        pass


@pytest.mark.parametrize("folder", ["receipts", "receipts/d/2026-01-01", "leases", "gc", "refs/tags/m", "chunks/aa"])
def test_strange_files_change_nothing(local: Models, folder: str) -> None:
    local.publish("kept")
    _strange_names(Path(local.store.url), folder)
    assert local.collect(wait=0).kept_versions == 1
    assert local.collect(wait=0).kept_versions == 1


def test_receipts_without_end_keep_every_version(local: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    first = local.publish("first")
    local.store.bucket.put("receipts/x", b"", Kind.DOCUMENT)
    for _ in range(3):
        local.publish("other")
    bucket, listed = local.store.bucket, local.store.bucket.list

    def list_but_receipts(prefix: str) -> list[Entry]:
        if prefix.startswith("receipts"):
            raise ListingUnbounded("list receipts: it has more than 500 pages")
        return listed(prefix)

    monkeypatch.setattr(bucket, "list", list_but_receipts)
    heard: list[events.Event] = []
    for _ in range(2):
        local.collect(wait=0, keep=1, on_event=heard.append)
    assert first in local.versions()
    assert any(isinstance(event, events.Warned) and "every version is kept" in event.text for event in heard)


@pytest.mark.parametrize("key", [f"refs/tags/m/latest/00000099-{ID}.json", f"refs/pins/d/m/00000001-{ID}.json"])
def test_a_ref_that_cannot_be_read_stops_a_collection(local: Models, key: str) -> None:
    local.publish("kept")
    local.store.bucket.put(key, b"[", Kind.DOCUMENT)
    with pytest.raises((FormatError, IntegrityError)):
        local.collect(wait=0)
