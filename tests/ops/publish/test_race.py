"""Publishers at the same moment: every version is stored, one publisher wins the tag, and the others get an error."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import cas
from cas import refs
from cas.bucket import Kind, open_bucket
from cas.errors import IntegrityError, RefMoved
from cas.events import Warned
from cas.ops.publish import publisher
from cas.ops.publish.publisher import Published
from cas.refs.reference import Reference
from cas.refs.reflog import UNSET, Ref, RefLog
from cas.store import layout
from cas.store.store import Store
from tests.support.models import REPO, publish_tree, write_tree

LOSER = """
import sys
from cas import cli
from cas.bucket.object_store import ObjectBucket

put = ObjectBucket.put

def overtaken(self, key, data, kind, **options):
    done = put(self, key, data, kind, **options)
    if key.startswith("refs/"):
        put(self, key[:-21] + "f" * 16 + ".json", ENTRY, kind)
    return done

ObjectBucket.put = overtaken
sys.argv[0] = "cas"
cli.main()
"""


def publish_at_once(store: Store, trees: list[Path], monkeypatch: pytest.MonkeyPatch) -> tuple[list[Published], int]:
    """Publish the trees from threads that all write their ref entries at the same moment.

    Returns:
        What the publishers that won did, and how many publishers got a RefMoved.
    """
    barrier = threading.Barrier(len(trees), timeout=60)
    put = type(store.bucket).put

    def together(self: Any, key: str, *words: Any, **options: Any) -> bool:
        if not key.startswith("refs/"):
            return put(self, key, *words, **options)
        barrier.wait()
        try:
            return put(self, key, *words, **options)
        finally:
            barrier.wait()

    monkeypatch.setattr(type(store.bucket), "put", together)
    won: list[Published] = []
    lost: list[RefMoved] = []

    def publish(tree: Path) -> None:
        try:
            won.append(publish_tree(Store(open_bucket(store.url)), tree))
        except RefMoved as error:
            lost.append(error)

    threads = [threading.Thread(target=publish, args=(tree,)) for tree in trees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won, len(lost)


@pytest.mark.parametrize("publishers", [2, 16])
def test_of_publishers_at_once_one_wins_and_all_versions_are_stored(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publishers: int
) -> None:
    trees = [write_tree(tmp_path / str(number), {"w.bin": b"%d" % number * 100}) for number in range(publishers)]
    store.create()
    won, lost = publish_at_once(store, trees, monkeypatch)
    assert lost == publishers - 1
    assert [refs.resolve(store, "m").exact] == [done.reference for done in won]
    assert len(store.digests("m")) == publishers
    for digest in store.digests("m"):
        cas.restore(f"m@{digest}", store, cache_dir=tmp_path / "hub")


def test_publishers_of_the_same_content_at_once_all_return_the_version_that_won(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = [write_tree(tmp_path / str(number), {"w.bin": b"the same" * 100}) for number in range(3)]
    store.create()
    won, lost = publish_at_once(store, trees, monkeypatch)
    assert lost == 0
    assert len(won) == 3
    assert {done.reference for done in won} == {refs.resolve(store, "m").exact}
    assert store.digests("m") == [won[0].reference[-64:]]
    told = sorted((done.created, done.moved) for done in won)
    assert told == [(False, ()), (False, ()), (True, ("latest",))]


def test_a_publish_that_expects_no_tag_moves_no_tag_that_exists_or_was_removed(
    directory_store: Store, tmp_path: Path
) -> None:
    store, tree = directory_store, write_tree(tmp_path / "tree", {"w.bin": b"1"})
    first = publish_tree(store, tree, expect=UNSET)
    again = publish_tree(store, tree, expect=UNSET)
    assert again.reference == first.reference, "it names this content already"
    for other in (b"2", b"of another size"):
        write_tree(tree, {"w.bin": other})
        with pytest.raises(RefMoved, match=r"\(expected: nothing\)"):
            publish_tree(store, tree, expect=UNSET)
    assert store.digests("m") == [first.reference[-64:]]
    assert len(list(store.bucket.list("chunks"))) == 2, "content that cannot be the parent's is not even sent"
    RefLog(store, Ref("tags", "m", "latest")).append(None, "a mistake", by="anna")
    with pytest.raises(RefMoved, match=r"nothing \(removed by anna\)"):
        publish_tree(store, tree, expect=UNSET)


@pytest.mark.parametrize(("theirs", "wins"), [(b"1", True), (b"of another size", False)])
def test_a_tag_that_is_set_since_it_was_read_may_name_this_content(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: bytes, wins: bool
) -> None:
    store, tree = directory_store, write_tree(tmp_path / "tree", {"w.bin": b"1"})
    other = write_tree(tmp_path / "other", {"w.bin": theirs})
    first: list[Published] = []
    check = publisher.check_last_move

    def overtaken(*words: Any) -> None:
        if not first:
            first.append(publish_tree(store, other))
        check(*words)

    monkeypatch.setattr(publisher, "check_last_move", overtaken)
    if wins:
        done = publish_tree(store, tree, expect=UNSET)
        assert (done.reference, done.created, done.moved) == (first[0].reference, False, ())
    else:
        with pytest.raises(RefMoved, match=r"\(expected: nothing\)"):
            publish_tree(store, tree, expect=UNSET)
    assert len(RefLog(store, Ref("tags", "m", "latest")).names()) == 1


@pytest.mark.parametrize("moment", ["put_manifest", "get_manifest"])
def test_a_publish_that_expects_a_move_does_not_overtake_one_of_the_last_moment(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    store, tree = directory_store, write_tree(tmp_path / "tree", {"w.bin": b"1"})
    publish_tree(store, tree)
    log = RefLog(store, Ref("tags", "m", "latest"))
    (expect,) = log.history(1)
    theirs = publish_tree(store, write_tree(tmp_path / "other", {"w.bin": b"2"}), tags=["other"]).reference[-64:]
    write_tree(tree, {"w.bin": b"3"})
    real = getattr(Store, moment)

    def overtaken(self: Store, *words: Any) -> Any:
        if moment == "put_manifest" or len(store.digests("m")) == 3:
            monkeypatch.setattr(Store, moment, real)
            RefLog(self, log.ref).append(theirs, "theirs")
        return real(self, *words)

    monkeypatch.setattr(Store, moment, overtaken)
    received: list[Any] = []
    with pytest.raises(RefMoved, match="m:latest was moved"):
        publish_tree(store, tree, expect=expect, on_event=received.append)
    assert RefLog(store, log.ref).current_digest() == theirs
    assert len(RefLog(store, log.ref).names()) == 2
    assert any(
        isinstance(event, Warned) and "is in the store, but m:latest names another" in event.text for event in received
    )


def test_a_manifest_that_was_damaged_in_the_store_is_named_by_no_tag(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, tree = directory_store, write_tree(tmp_path / "tree", {"w.bin": b"1"})
    first = publish_tree(store, tree)
    put_manifest = Store.put_manifest

    def damaged(self: Store, new: Any) -> str:
        digest = put_manifest(self, new)
        self.bucket.put(layout.manifest_key("m", digest), b"{}", Kind.MANIFEST, overwrite=True)
        return digest

    monkeypatch.setattr(Store, "put_manifest", damaged)
    write_tree(tree, {"w.bin": b"2"})
    with pytest.raises(IntegrityError):
        publish_tree(store, tree)
    assert refs.resolve(store, "m").exact == first.reference


def test_a_second_tag_that_somebody_else_won_stays_theirs(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, tree = directory_store, write_tree(tmp_path / "tree", {"w.bin": b"1"})
    first = publish_tree(store, tree)
    (name,) = RefLog(store, Ref("tags", "m", "latest")).names()
    theirs = bytes(store.bucket.get(f"refs/tags/m/latest/{name}", limit=4096))
    write_tree(tree, {"w.bin": b"2"})
    put, overtaken = type(store.bucket).put, []

    def together(self: Any, key: str, *words: Any, **options: Any) -> bool:
        done = put(self, key, *words, **options)
        if key.startswith("refs/tags/m/prod/") and not overtaken:
            overtaken.append(key)
            put(self, key[:-21] + "f" * 16 + ".json", theirs, *words[1:], **options)
        return done

    monkeypatch.setattr(type(store.bucket), "put", together)
    with pytest.raises(RefMoved, match="m:prod was moved"):
        publish_tree(store, tree, tags=["latest", "prod"])
    assert overtaken
    assert refs.resolve(store, "m:prod").exact == first.reference


def test_the_loser_learns_which_version_it_published(directory_store: Store, tmp_path: Path) -> None:
    store, tree = directory_store, write_tree(tmp_path / "tree", {"w.bin": b"1"})
    first = publish_tree(store, tree)
    write_tree(tree, {"w.bin": b"2"})
    (name,) = RefLog(store, Ref("tags", "m", "latest")).names()
    entry = bytes(store.bucket.get(f"refs/tags/m/latest/{name}", limit=4096))
    script = LOSER.replace("ENTRY", repr(entry))
    words = ["publish", "m", "--dir", str(tree), "--as", REPO, "--store", store.url]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert done.stdout == ""
    mine = next(digest for digest in store.digests("m") if digest != first.reference[-64:])
    assert f"m@blake3:{mine} is in the store, but m:latest names another" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"cas: m:latest was moved to {first.reference[2:]} by somebody else at the same moment")


def test_a_tag_that_moved_during_a_publish_is_moved_on_with_a_warning(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, tree = directory_store, write_tree(tmp_path / "tree", {"w.bin": b"1"})
    first = publish_tree(store, tree)
    write_tree(tree, {"w.bin": b"2"})
    theirs = publish_tree(store, tree, tags=["other"])
    write_tree(tree, {"w.bin": b"3"})
    put_manifest = Store.put_manifest

    def overtaken(self: Store, new: Any) -> str:
        refs.log_of(self, Reference("m", tag="latest")).append(theirs.reference[-64:], reason="theirs")
        return put_manifest(self, new)

    monkeypatch.setattr(Store, "put_manifest", overtaken)
    received: list[Any] = []
    mine = publish_tree(store, tree, on_event=received.append)
    assert refs.resolve(store, "m").exact == mine.reference != first.reference
    assert [event.text for event in received if isinstance(event, Warned) and theirs.reference[-64:] in event.text]
