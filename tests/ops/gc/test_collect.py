"""What nothing needs is condemned, and deleted by a later run; what anything needs stays."""

from __future__ import annotations

import datetime
import json
import time

import pytest

import cas
from cas.bucket import Kind
from cas.errors import FormatError, InputError, NotFoundError
from cas.formats.digest import hex_of, named
from cas.ops.gc import collector
from cas.ops.gc.explain import explain
from cas.refs import reflog
from cas.refs.reference import Reference, log_of
from cas.store.layout import FORMAT_KEY
from tests.support.collecting import AT_ONCE, Models, dangling
from tests.support.in_process import call_cas

DAY = datetime.timedelta(days=1)


def test_what_nothing_needs_goes_in_two_steps(models: Models) -> None:
    old, new = models.publish("old"), models.publish("new")
    garbage = models.needed(old) - models.needed(new)
    first = models.collect(keep=1)
    assert (first.condemned_versions, first.condemned_chunks, first.swept_chunks) == (1, len(garbage), 0)
    assert models.versions() == {old, new}
    assert models.restored(f"m@{old}") == b"old" * 1000
    second = models.collect(keep=1)
    assert (second.swept_versions, second.swept_chunks, second.condemned_chunks) == (1, len(garbage), 0)
    assert second.freed > 0
    assert models.versions() == {new}
    assert models.chunks() == models.needed(new)
    assert models.restored("m") == b"new" * 1000
    third = models.collect(keep=1)
    assert (third.swept_chunks, third.condemned_chunks, third.due) == (0, 0, "")
    left = [entry.key for entry in models.store.bucket.list("") if entry.key.startswith(("gc/", "leases/"))]
    assert left == []


def test_nothing_is_swept_before_its_time(local: Models) -> None:
    local.publish("old")
    new = local.publish("new")
    before = local.objects()
    for _ in range(3):
        done = local.collect(keep=1, grace=DAY)
        assert (done.swept_chunks, done.condemned_versions) == (0, 0), (
            "the old version is younger than the grace period"
        )
    local.collect(keep=1)
    done = local.collect(keep=1, grace=DAY)
    assert (done.swept_chunks, done.waiting) == (0, 0), "what is young is not even unneeded"
    assert local.objects() == before
    assert local.versions() > {new}


def test_history_is_kept_as_far_back_as_asked(local: Models) -> None:
    made = [local.publish(str(number)) for number in range(5)]
    assert local.collect().condemned_versions == 0
    assert local.collect(keep=3).condemned_versions == 2
    local.collect(keep=3)
    assert local.versions() == set(made[2:])
    log_of(local.store, Reference("m", tag="latest")).append(made[2], "rollback")
    local.collect(keep=2)
    local.collect(keep=2)
    assert local.versions() == {made[2], made[4]}, "the current version, and the one before it"


def test_tags_pins_and_receipts_keep(models: Models) -> None:
    made = {name: models.publish(name) for name in ("tag", "pin", "receipt", "nothing", "latest")}
    log_of(models.store, Reference("m", tag="v1")).append(made["tag"], "test")
    log_of(models.store, Reference("m", deployment="eu")).append(made["pin"], "test")
    key = f"receipts/eu/2026-11-23/120000-{made['receipt']}-0123456789abcdef.json"
    models.store.bucket.put(key, b"{}", Kind.DOCUMENT)
    models.collect(keep=1)
    models.collect(keep=1)
    assert models.versions() == set(made.values()) - {made["nothing"]}
    assert dangling(models.store, keep=1) == []


def test_a_removed_ref_keeps_nothing_but_the_entry_that_removed_it(local: Models) -> None:
    only = local.publish("only", "gone")
    stays = local.publish("stays")
    log = log_of(local.store, Reference("gone", tag="latest"))
    log.append(None, "untag")
    names = log.names()
    local.collect()
    done = local.collect()
    assert local.versions() == {stays}
    assert log.names() == names[-1:], "the entry that says that it was removed"
    assert reflog.tags(local.store) == {"m": {"latest": stays}}
    assert local.chunks() == local.needed(stays)
    assert done.swept_versions == 1
    with pytest.raises(NotFoundError):
        local.store.get_manifest("gone", only)


def test_what_is_published_again_after_it_was_condemned_stays(models: Models) -> None:
    models.publish("old")
    models.publish("new")
    models.collect(keep=1)
    models.settle()
    again = models.publish("old")
    models.collect(keep=1)
    assert dangling(models.store, keep=1) == []
    assert models.restored("m") == b"old" * 1000
    models.collect(keep=1)
    models.collect(keep=1)
    assert models.versions() == {again}
    assert models.chunks() == models.needed(again)


def test_condemned_chunks_are_sent_again(models: Models) -> None:
    models.publish("old")
    models.publish("new")
    assert models.collect(keep=1).condemned_chunks == 1
    tree = models.folder / "tree"
    (tree / "own.bin").write_bytes(b"old" * 1000)
    done = cas.publish("m", cas.Source.from_folder(tree, "org/model"), models.store)
    assert done.uploaded_chunks == 1, "it is there, but cannot be relied upon"
    assert not done.moved or done.created


def test_a_version_that_is_named_again_before_the_sweep_stays(models: Models) -> None:
    old = models.publish("old")
    models.publish("new")
    models.collect(keep=1)
    log_of(models.store, Reference("m", tag="latest")).append(old, "rollback")
    done = models.collect(keep=1)
    assert old in models.versions()
    assert done.swept_versions == done.swept_chunks == 0
    assert models.restored("m") == b"old" * 1000


def test_a_dry_run_tells_what_a_run_does_and_changes_nothing(local: Models) -> None:
    for note in "abc":
        local.publish(note)
    for keep in (2, 1, 1, 1):
        before = [(entry.key, entry.modified) for entry in local.store.bucket.list("")]
        told = collector.gc(local.store, grace=AT_ONCE, keep=keep, dry_run=True)
        assert [(entry.key, entry.modified) for entry in local.store.bucket.list("")] == before
        done = local.collect(keep=keep)
        counts = (
            "kept_versions",
            "kept_chunks",
            "swept_versions",
            "swept_chunks",
            "condemned_versions",
            "condemned_chunks",
        )
        assert [getattr(told, name) for name in counts] == [getattr(done, name) for name in counts]
        assert (told.condemned, told.waiting) == (done.condemned, done.waiting)
    assert len(local.versions()) == 1


def test_logs_keep_their_last_twenty_entries(local: Models) -> None:
    made = [local.publish(note) for note in "ab"]
    log = log_of(local.store, Reference("m", tag="v1"))
    for number in range(25):
        log.append(made[number % 2], "test")
    names = log.names()
    assert local.collect().cleared >= 5
    assert log.names() == names[-20:]
    assert log.current_digest() == made[0]


def test_unknown_objects_are_left_alone(local: Models) -> None:
    local.publish("a")
    strange = ["chunks/zz/x", "chunks/README", "manifests/m/notes.txt", "gc/notes.txt", "leases/x.json", "other/x"]
    for key in strange:
        local.store.bucket.put(key, b"?", Kind.DOCUMENT)
    log = log_of(local.store, Reference("m", tag="latest"))
    log.append(None, "untag")
    local.collect()
    local.collect()
    left = {entry.key for entry in local.store.bucket.list("")}
    assert left == {FORMAT_KEY, *strange, f"{log.ref.prefix}/{log.names()[-1]}"}


def test_what_keeps_a_digest_twice_is_told_once(local: Models) -> None:
    old = local.publish("old")
    for content in ("new", "old", "new"):
        local.publish(content)
    assert explain(local.store, named(old), grace=AT_ONCE).kept_by == ("history of m:latest",)


def test_it_is_explained_what_keeps_a_digest(local: Models) -> None:
    old, new = local.publish("old"), local.publish("new")
    shared, own = hex_of(b"s" * 5000), hex_of(b"old" * 1000)
    found = explain(local.store, named(old), grace=AT_ONCE)
    assert (found.kind, found.name, found.kept_by) == ("version", f"m@{named(old)}", ("history of m:latest",))
    assert explain(local.store, shared[:12], grace=AT_ONCE, keep=1).kept_by == (f"m:latest (m@{named(new)})",)
    unkept = explain(local.store, own, grace=AT_ONCE, keep=1)
    assert (unkept.kept_by, unkept.needed_by, unkept.condemned) == ((), (f"m@{named(old)}",), ())
    local.collect(keep=1)
    (when,) = explain(local.store, own, grace=AT_ONCE, keep=1).condemned
    assert when.startswith("marked for deletion at 20")
    with pytest.raises(NotFoundError, match="no chunk and no version"):
        explain(local.store, "0" * 64)
    with pytest.raises(InputError, match="8 or more"):
        explain(local.store, "xyz")


def test_the_command(local: Models) -> None:
    url = local.store.url
    old = local.publish("old")
    local.publish("new")
    condemned = call_cas("--store", url, "gc", "--grace", "0s", "--force", "--keep", "1")
    assert condemned.returncode == 0, condemned.stderr
    assert "marked     1 chunk and 1 version," in condemned.stdout
    asked = call_cas("--store", url, "gc", "--keep", "1", "--grace", "0s", "--explain", old[:12])
    assert "nothing keeps it" in asked.stdout
    assert "marked for deletion at" in asked.stdout
    time.sleep(0.01)
    swept = call_cas("--store", url, "--json", "gc", "--grace", "0s", "--force", "--keep", "1")
    document = json.loads(swept.stdout)
    assert (document["swept_versions"], document["swept_chunks"]) == (1, 1)
    for wrong in (["--grace", "soon"], ["--keep", "0"], ["--explain", "x"]):
        refused = call_cas("--store", url, "gc", *wrong)
        assert (refused.returncode, refused.stdout) == (2, "")


def test_a_store_of_a_newer_format_is_left_alone(local: Models) -> None:
    local.publish("a")
    local.store.bucket.put(FORMAT_KEY, b'{"format":"cas","version":2}', Kind.DOCUMENT, overwrite=True)
    before = local.objects()
    with pytest.raises(FormatError, match="upgrade model-cas"):
        collector.gc(local.store.url, grace=AT_ONCE)
    assert local.objects() == before
    assert call_cas("--store", local.store.url, "gc").returncode == 5
    assert call_cas("--store", f"{local.store.url}-none", "gc").returncode == 3
