"""What a bucket that keeps versions still has of objects that were overwritten or deleted: counted, and freed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from cas import events
from cas.bucket import Stored
from cas.errors import AccessDenied
from cas.host import Limits
from cas.ops.gc import collector
from cas.ops.inspect.usage import usage
from cas.store import layout, superseded
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.collecting import AT_ONCE, Models
from tests.support.in_process import cas_lines
from tests.support.models import publish_tree, write_tree


def stored(client: Any, models: Models) -> list[tuple[str, bool]]:
    """The keys of all stored versions and delete markers of a store, and whether readers get each."""
    answer = client.list_object_versions(Bucket=models.store.url.split("/")[2], Prefix="cas/")
    return sorted(
        (one["Key"].removeprefix("cas/"), one["IsLatest"])
        for one in (*answer.get("Versions", ()), *answer.get("DeleteMarkers", ()))
    )


def force(models: Models, note: str) -> None:
    """Publish a version again, over all chunks that are stored."""
    tree = write_tree(models.folder / "tree", {"shared.bin": b"s" * 5000, "own.bin": note.encode() * 1000})
    publish_tree(models.store, tree, force=True)


def test_what_a_forced_publish_overwrote_is_counted_and_freed(versioned: Models, client: Any) -> None:
    digest = versioned.publish("a")
    force(versioned, "a")
    chunks = versioned.needed(digest)
    overwritten = sum(versioned.store.bucket.head(chunk_key(chunk)).size for chunk in chunks)
    found = usage(versioned.store)
    assert found.superseded is not None and found.superseded_versions is not None
    assert found.superseded >= overwritten > 0
    assert found.superseded_versions >= len(chunks)
    assert any(
        line.startswith("superseded ") and "freed by `cas gc`" in line for line in cas_lines(versioned.store, "du")
    )

    versioned.settle()
    counted = collector.gc(versioned.store, grace=AT_ONCE, dry_run=True)
    assert counted.superseded == found.superseded
    done = versioned.collect()
    assert done.superseded_versions >= counted.superseded_versions > 0
    after = usage(versioned.store)
    versioned.collect()  # what the run itself left behind
    keys = [key for key, _ in stored(client, versioned)]
    assert all(current for _, current in stored(client, versioned))
    assert len(keys) == len(set(keys))
    assert {key for key in keys if key.startswith("chunks/")} == set(map(chunk_key, chunks))
    assert (after.stored, after.chunks) == (found.stored, found.chunks)
    assert versioned.restored("m") == b"a" * 1000


def test_within_the_grace_period_it_stays(versioned: Models, client: Any) -> None:
    versioned.publish("a")
    force(versioned, "a")
    before = [entry for entry in stored(client, versioned) if entry[0].startswith("chunks/")]
    done = versioned.collect(datetime.timedelta(hours=1))
    assert (done.superseded_versions, done.superseded) == (0, 0)
    assert [entry for entry in stored(client, versioned) if entry[0].startswith("chunks/")] == before


def test_what_others_keep_below_the_prefix_is_left_alone(versioned: Models, client: Any) -> None:
    versioned.publish("a")
    bucket = versioned.store.url.split("/")[2]
    for key in ("cas/notes.txt", "cas/chunks/notes.txt", "elsewhere/notes.txt"):
        for body in (b"1", b"22"):
            client.put_object(Bucket=bucket, Key=key, Body=body)
        client.delete_object(Bucket=bucket, Key=key)
    versioned.collect()
    for key in ("cas/notes.txt", "cas/chunks/notes.txt", "elsewhere/notes.txt"):
        answer = client.list_object_versions(Bucket=bucket, Prefix=key)
        assert (len(answer["Versions"]), len(answer["DeleteMarkers"])) == (2, 1)


def test_versions_that_cannot_be_erased_are_warned_of(versioned: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as those under object lock; the run itself succeeds."""
    versioned.publish("a")
    force(versioned, "a")
    erase, heard = versioned.store.bucket.erase, list[events.Event]()

    def locked(one: Stored) -> None:
        if one.key.startswith("chunks/"):
            raise AccessDenied(f"delete {one.key}: it is locked")
        erase(one)

    monkeypatch.setattr(versioned.store.bucket, "erase", locked)
    versioned.collect(on_event=heard.append)
    assert any(isinstance(one, events.Warned) and "it is locked" in one.text for one in heard)


def test_a_key_that_may_not_list_versions_is_told_no_figure(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(key: str) -> bool:
        raise AccessDenied("list the versions: not with this key")

    publish_tree(directory_store, write_tree(tmp_path / "t", {"a": b"a"}))
    monkeypatch.setattr(directory_store.bucket, "keeps_versions", refuse)
    found, heard = usage(directory_store), list[events.Event]()
    assert (found.superseded_versions, found.superseded) == (None, None)
    done = collector.gc(directory_store, dry_run=True, on_event=heard.append)
    assert done.superseded_versions == 0
    assert any(isinstance(one, events.Warned) and "not with this key" in one.text for one in heard)


WHEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
KEY = chunk_key("ab" * 32)


def version(minute: int, *, current: bool = False, marker: bool = False, key: str = KEY) -> Stored:
    return Stored(key, 0 if marker else 10, WHEN + datetime.timedelta(minutes=minute), f"v{minute}", current, marker)


@pytest.mark.parametrize("chunks", [10, 10**6])
def test_a_version_is_superseded_when_its_successor_was_written(
    chunks: int, directory_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when it was written itself; and a delete marker that hides others is named after all of them."""
    hidden = chunk_key("cd" * 32)
    listed = [
        *(version(1), version(3), version(5, current=True)),
        *(
            version(5, current=True, marker=True, key=hidden),
            version(2, key=hidden),
            version(4, marker=True, key=hidden),
        ),
    ]
    monkeypatch.setattr(
        directory_store.bucket, "stored", lambda folder: [one for one in listed if one.key.startswith(folder)]
    )

    def found(before: int | None) -> list[tuple[str, str]]:
        seen: list[Stored] = []
        superseded.list_superseded(
            directory_store,
            seen.extend,
            chunks=chunks,
            limits=Limits(),
            before=None if before is None else WHEN + datetime.timedelta(minutes=before),
        )
        return [(one.key, one.version) for one in seen]

    a, b = KEY, hidden
    assert sorted(found(None)) == [(a, "v1"), (a, "v3"), (b, "v2"), (b, "v4"), (b, "v5")]
    assert found(None)[-1] == (b, "v5")
    assert sorted(found(5)) == [(a, "v1"), (b, "v2")]
    assert found(3) == []
    assert found(6)[-1] == (b, "v5")


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        layout.manifest_key("m", "ab" * 32),
        layout.ref_entry_key(layout.RefEntryId("tags", "m", "latest", "00000001-0123456789abcdef.json")),
        layout.receipt_key("eu", "2026-01-01T00:00:00Z", "ab" * 32, "0" * 16),
        layout.lease_entry_key(layout.LeaseEntry(layout.lease_id("0" * 16), 1)),
        layout.condemned_key("20260101T000000Z-01234567", 0),
        f"{layout.examination_folder('0' * 16)}/small",
        layout.CONDITIONAL_WRITES,
    ],
)
@pytest.mark.parametrize("chunks", [10, 10**6])
def test_versions_of_each_kind_of_object_are_found(
    key: str, chunks: int, directory_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [version(1, key=key), version(2, current=True, key=key)]
    below = lambda folder: [one for one in listed if not folder or one.key.startswith(f"{folder}/")]
    monkeypatch.setattr(directory_store.bucket, "stored", below)
    seen: list[Stored] = []
    superseded.list_superseded(directory_store, seen.extend, chunks=chunks, limits=Limits())
    assert [one.version for one in seen] == ["v1"]
