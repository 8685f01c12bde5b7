"""What `cas show`, `tree`, `ls`, `du` and `diff` tell of versions whose manifests say nothing of time and origin."""

from __future__ import annotations

import functools
import http.server
import json
import os
import threading
from pathlib import Path

import pytest

from cas.config import user_directory
from cas.formats.digest import named
from cas.formats.manifest import timestamp
from cas.ops.inspect import versions
from cas.ops.inspect.comparison import compare
from cas.ops.inspect.usage import usage
from cas.refs.lineage import lineage_of
from cas.refs.reference import resolve
from cas.refs.reflog import Ref, RefLog
from cas.store.layout import VersionId, manifest_key, ref_entry
from cas.store.store import Store
from cas.version import __version__
from tests.refs.logs import published
from tests.support.buckets import RecordingBucket
from tests.support.by_hand import version
from tests.support.in_process import call_cas, cas_json, cas_lines
from tests.support.web import QuietFiles

LATEST, STABLE = Ref("tags", "m", "latest"), Ref("tags", "m", "stable")


def moved(store: Store, digest: str | None, second: int, ref: Ref = LATEST, by: str = "ann") -> None:
    RefLog(store, ref).append(digest, "test", by, created=f"2026-01-01T00:00:{second:02}Z")


def line_of_three(store: Store) -> list[str]:
    """Publish three versions one after the other, go back, and publish a fourth. Return their digests (64 hex)."""
    store.create()
    made = [published(store, note) for note in ("1", "2", "3", "4")]
    for second, number in enumerate((0, 1, 2, 1, 3), 1):
        moved(store, made[number], second)
    return made


def test_the_tree_follows_the_log(directory_store: Store) -> None:
    one, two, three, four = line_of_three(directory_store)
    moved(directory_store, two, 9, STABLE, "ops")
    (document,) = cas_json(directory_store, "tree", "m")
    told = {shown["digest"]: (shown["parent"], shown["created"], shown["by"]) for shown in document["versions"]}
    assert told == {
        named(one): (None, "2026-01-01T00:00:01Z", "ann"),
        named(two): (named(one), "2026-01-01T00:00:02Z", "ann"),
        named(three): (named(two), "2026-01-01T00:00:03Z", "ann"),
        named(four): (named(two), "2026-01-01T00:00:05Z", "ann"),
    }
    assert cas_lines(directory_store, "tree")[1:] == [
        f"├── {one[:12]}  2026-01-01T00:00:01Z  0 B",
        f"├── {two[:12]}  stable  2026-01-01T00:00:02Z  0 B",
        f"│   └── {three[:12]}  2026-01-01T00:00:03Z  0 B",
        f"└── {four[:12]}  latest  2026-01-01T00:00:05Z  0 B",
    ]


def test_show_tells_when_by_whom_with_what_and_after_what(directory_store: Store) -> None:
    one, two, *_ = line_of_three(directory_store)
    lines = cas_lines(directory_store, "show", f"m@{two}")
    assert f"created    2026-01-01T00:00:02Z by ann with cas {__version__}, as m:latest" in lines
    assert f"parent     {one[:12]}" in lines
    assert "parent     -" in cas_lines(directory_store, "show", f"m@{one}")
    document = cas_json(directory_store, "show", f"m@{two}")
    assert {key: document[key] for key in ("created", "by", "program", "first_tag", "parent")} == {
        "created": "2026-01-01T00:00:02Z",
        "by": "ann",
        "program": f"cas {__version__}",
        "first_tag": "latest",
        "parent": named(one),
    }
    assert "created" not in document["manifest"]


def test_what_a_manifest_of_version_1_says_counts(directory_store: Store) -> None:
    old = version(directory_store, [], created="2020-01-01T00:00:00Z", parent=named("f" * 64))
    new = version(directory_store, [])
    moved(directory_store, old[-64:], 1)
    moved(directory_store, new[-64:], 2)
    lines = cas_lines(directory_store, "show", old)
    assert "created    2020-01-01T00:00:00Z with tests" in lines
    assert f"parent     {'f' * 12}" in lines
    assert [line[4:16] for line in cas_lines(directory_store, "tree")[1:]] == [old[-64:][:12], new[-64:][:12]]
    document = cas_json(directory_store, "show", new)
    assert (document["created"], document["parent"]) == ("2026-01-01T00:00:02Z", old.partition("@")[2])
    listed = {one["digest"]: one["created"] for one in cas_json(directory_store, "ls", "m")}
    assert listed[old.partition("@")[2]] == "2020-01-01T00:00:00Z"


def test_a_version_that_no_log_names_has_the_time_of_its_manifest(directory_store: Store, tmp_path: Path) -> None:
    digest = line_of_three(directory_store)[0]
    alone = published(directory_store, "alone")
    for entry in directory_store.bucket.list(LATEST.prefix)[:2]:
        directory_store.bucket.delete(entry.key)  # as a collector trims a log
    for number, name in enumerate((digest, alone)):
        os.utime(tmp_path / "store" / manifest_key("m", name), (1_600_000_000 + number,) * 2)
    for number, name in enumerate((digest, alone)):
        lines = cas_lines(directory_store, "show", f"m@{name}")
        assert f"created    2020-09-13T12:26:4{number}Z" in lines
        assert "parent     -" in lines
    (document,) = cas_json(directory_store, "tree")
    told = {shown["digest"]: (shown["parent"], shown["created"], shown["by"]) for shown in document["versions"]}
    assert told[named(digest)] == (None, "2020-09-13T12:26:40Z", None)
    assert told[named(alone)] == (None, "2020-09-13T12:26:41Z", None)


def test_lists_show_when_the_store_got_a_version_and_read_no_log(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cas.local.outlines._WORTH", 0)
    made = line_of_three(store)
    stored = {version.digest: timestamp(entry.modified) for version, entry in store.list_manifests("m").items()}
    for again in (False, True):
        bucket = RecordingBucket(store.bucket)
        listed = versions.versions(Store(bucket), "m")
        assert {version.digest: version.created for version in listed} == stored
        assert [key for key in bucket.read if ref_entry(key)] == [
            entry.key for entry in RefLog(store, LATEST).listed()[-1:]
        ]
        assert any(key.startswith("manifests/") for key in bucket.read) is not again
    assert {found.digest: found.created for found in usage(store, "m").versions} == stored
    found = compare(f"m@{made[0]}", f"m@{made[1]}", store)
    assert found.created == (stored[made[0]], stored[made[1]])


def test_pins_of_other_models_are_not_read(directory_store: Store) -> None:
    line_of_three(directory_store)
    for model in ("m", "other"):
        RefLog(directory_store, Ref("pins", "eu", model)).append(published(directory_store, "p", model), "test")
    bucket = RecordingBucket(directory_store.bucket)
    listed = versions.versions(Store(bucket), "m")
    assert [version.pins for version in listed if version.pins] == [("eu",)]
    assert [key.split("/")[1:4] for key in bucket.read if ref_entry(key)] == [
        ["tags", "m", "latest"],
        ["pins", "eu", "m"],
    ]


def test_logs_of_models_that_tell_themselves_are_not_read(directory_store: Store) -> None:
    old = version(directory_store, [], created="2020-01-01T00:00:00Z")
    for second, digest in enumerate((old[-64:], None, old[-64:])):
        moved(directory_store, digest, second)
    bucket = RecordingBucket(directory_store.bucket)
    store = Store(bucket)
    listed = versions.with_lineage(store, versions.versions(store, every=True))
    lineage_of(store, VersionId("m", old[-64:]), resolve(directory_store, old).manifest)
    assert [version.created for version in listed] == ["2020-01-01T00:00:00Z"]
    assert len([key for key in bucket.read if ref_entry(key)]) == 1


def test_where_refs_cannot_be_listed_the_lineage_is_unknown(directory_store: Store, tmp_path: Path) -> None:
    digest = line_of_three(directory_store)[1]
    handler = functools.partial(QuietFiles, directory=str(tmp_path / "store"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        shown = call_cas("--store", url, "show", f"m@{digest}")
        document = call_cas("--store", url, "show", f"m@{digest}", "--json")
        server.shutdown()
    assert {"created    ?", "parent     ?"} <= set(shown.stdout.splitlines())
    assert (shown.returncode, json.loads(document.stdout)["created"]) == (0, None)


def test_an_outline_of_another_shape_is_read_anew(directory_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cas.local.outlines._WORTH", 0)
    line_of_three(directory_store)
    first = versions.versions(directory_store, "m")
    cache = user_directory("XDG_CACHE_HOME", ".cache")
    assert cache
    (file,) = (cache / "model-cas/versions").glob("*.json")
    file.write_bytes(file.read_bytes().replace(b'"created":null', b'"created":7'))
    assert file.read_bytes().count(b'"created":7') == 4
    assert versions.versions(directory_store, "m") == first
    assert file.read_bytes().count(b'"created":null') == 4
