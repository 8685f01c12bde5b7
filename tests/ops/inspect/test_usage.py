"""`cas du`: sums of what really lies in the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cas import refs
from cas.store.layout import chunk_key, manifest_key
from cas.store.store import Store
from tests.support.by_hand import put, repo, version
from tests.support.in_process import call_cas, cas_json, cas_lines
from tests.support.models import publish_tree, write_tree


def bytes_of(store: Store, digests: set[str]) -> int:
    """Return the bytes that chunks take up in a store in a directory."""
    return sum((Path(store.url.removeprefix("file://")) / chunk_key(digest)).stat().st_size for digest in digests)


def chunks(store: Store, reference: str) -> set[str]:
    return set(refs.resolve(store, reference).manifest.chunks())


@pytest.fixture
def three(directory_store: Store, tmp_path: Path) -> list[str]:
    """Two versions of a model and one of another that share some files, and a chunk that no version needs."""
    trees = [
        ("m", {"a": os.urandom(9000), "b": b"b" * 5000, "c": b"c"}),
        ("m", {"b": b"b" * 5000, "c": b"C", "d": os.urandom(700)}),
        ("other", {"c": b"C", "e": os.urandom(400), "twice": b"twice" * 99, "again": b"twice" * 99}),
    ]
    found = [
        publish_tree(directory_store, write_tree(tmp_path / str(number), files), model=model).reference
        for number, (model, files) in enumerate(trees)
    ]
    put(directory_store, b"nobody needs this" * 9)
    return found


def test_every_figure_is_the_sum_of_real_objects(directory_store: Store, three: list[str]) -> None:
    store = directory_store
    document = cas_json(store, "du")
    found = {f"{one['model']}@{one['digest']}": one for one in document["versions"]}
    assert found.keys() == set(three)
    for reference in three:
        mine = chunks(store, reference)
        others = set().union(*(chunks(store, other) for other in three if other != reference))
        one = found[reference]
        assert one["plain"] == refs.resolve(store, reference).manifest.plain_size
        assert one["stored"] == bytes_of(store, mine)
        assert one["shared"] == bytes_of(store, mine & others)
        assert one["freed"] == bytes_of(store, mine - others)
        assert one["missing"] == 0
    every = set().union(*(chunks(store, reference) for reference in three))
    stored = sum(path.stat().st_size for path in (Path(store.url.removeprefix("file://")) / "chunks").glob("*/*"))
    assert document["stored"] == bytes_of(store, every)
    assert document["stored"] + document["unneeded"] == stored
    assert (document["chunks"], document["unneeded_chunks"]) == (len(every), 1)
    assert document["plain"] == sum(one["plain"] for one in found.values())
    assert document["distinct"] == 9000 + 5000 + 1 + 1 + 700 + 400 + 495
    assert document["ratio"] == document["plain"] / document["stored"]
    assert [one["tags"] for one in document["versions"] if one["model"] == "other"] == [["latest"]]


def test_a_version_that_goes_frees_what_was_said(directory_store: Store, three: list[str]) -> None:
    store = directory_store
    (first,) = (one for one in cas_json(store, "du", "m")["versions"] if three[0].endswith(one["digest"]))
    before = cas_json(store, "du")["unneeded"]
    digest = first["digest"].removeprefix("blake3:")
    (Path(store.url.removeprefix("file://")) / manifest_key("m", digest)).unlink()
    after = cas_json(store, "du")
    assert after["unneeded"] - before == first["freed"] > 9000
    assert len(after["versions"]) == 2


def test_totals_are_of_the_store_whichever_model_is_shown(directory_store: Store, three: list[str]) -> None:
    every, one = cas_json(directory_store, "du"), cas_json(directory_store, "du", "other")
    assert [version["model"] for version in one["versions"]] == ["other"]
    assert {**one, "versions": []} == {**every, "versions": []}
    lines = cas_lines(directory_store, "du")
    assert lines[0].split() == ["MODEL", "VERSION", "CREATED", "PLAIN", "STORED", "SHARED", "FREED", "TAGS"]
    assert [line.split()[0] for line in lines[1:4]] == ["m", "m", "other"]
    assert lines[-1] == f"unneeded  {every['unneeded']} B in 1 chunks that no version needs"


def test_versions_are_listed_newest_first(directory_store: Store) -> None:
    store = directory_store
    for day in (2, 3, 1):
        version(store, [repo("o/r", {"f": put(store, b"%d" % day)})], created=f"2026-01-0{day}T00:00:00Z")
    assert [one["created"][9] for one in cas_json(store, "du", "m")["versions"]] == ["3", "2", "1"]


def test_what_cannot_be_read_or_is_lost_is_said(directory_store: Store, three: list[str]) -> None:
    store, root = directory_store, Path(directory_store.url.removeprefix("file://"))
    lost = chunks(store, three[1]) & chunks(store, three[0])
    for digest in lost:
        (root / chunk_key(digest)).unlink()
    (root / manifest_key("other", three[2].rpartition(":")[2])).write_text("{}")
    done = call_cas("--store", store.url, "du")
    assert done.returncode == 0
    assert "warning: 1 versions cannot be read" in done.stderr
    assert f"warning: {len(lost)} chunks that versions need are not in the store" in done.stderr
    assert "unreadable: ManifestCorrupt" in done.stdout
    document = cas_json(store, "du")
    assert (document["missing"], document["unreadable"], document["count"]) == (len(lost), 1, 2)
    assert {one["missing"] for one in document["versions"] if one["model"] == "m"} == {len(lost)}


def test_a_real_server_is_counted_alike(store: Store, tmp_path: Path) -> None:
    publish_tree(store, write_tree(tmp_path / "t", {"a": b"a" * 100, "b": b"b"}))
    document = cas_json(store, "du", "m")
    sizes = [store.bucket.head(chunk_key(digest)).size for digest in chunks(store, "m")]
    assert (document["stored"], document["versions"][0]["freed"]) == (sum(sizes), sum(sizes))


def test_an_empty_store_and_an_unknown_model(directory_store: Store) -> None:
    directory_store.create()
    assert "stored    nothing" in cas_lines(directory_store, "du")
    assert cas_json(directory_store, "du")["ratio"] is None
    done = call_cas("--store", directory_store.url, "du", "m")
    assert (done.returncode, done.stdout) == (3, "")
