"""Floors: an entry with a number below the configured one, or older than one that a cache has seen, is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import cas
from cas.bucket import Entry
from cas.config import REGISTER
from cas.errors import InputError, RefUnset, SignatureError
from cas.local.seen_entries import Seen, keep_seen, read_seen, seen_folder
from cas.refs import floors, selection
from cas.refs.history import history, rollback
from cas.refs.move import expected_move, move
from cas.refs.reference import Reference, log_of, resolve
from cas.refs.reflog import Ref
from cas.store.store import Store, open_store
from tests.refs.logs import PREFIX, latest, published, written
from tests.refs.signing import FOREIGN, OURS, replace, signed, trust_in, variables
from tests.support.in_process import call_cas
from tests.support.models import publish_tree, write_tree

LATEST, PIN = Ref("tags", "m", "latest"), Ref("pins", "eu", "m")


@pytest.fixture
def store(directory_store: Store) -> Store:
    """An empty store that trusts OURS and signs with it."""
    directory_store.create()
    return signed(directory_store)


def saved(store: Store) -> dict[str, bytes]:
    """Return all objects of refs, as whoever may read can keep them."""
    return {entry.key: bytes(store.bucket.get(entry.key, 99_999)) for entry in store.bucket.list("refs")}


def put_back(store: Store, objects: dict[str, bytes]) -> None:
    """Let the refs be exactly these objects, as whoever may write and delete can."""
    for entry in store.bucket.list("refs"):
        if entry.key not in objects:
            store.bucket.delete(entry.key)
    for key, data in objects.items():
        replace(store, key, data)


def refused(store: Store, reference: str, *words: str, hubs: tuple[Path, ...] = ()) -> None:
    with pytest.raises(SignatureError) as caught:
        resolve(store, reference, hubs, keep=True)
    assert (caught.value.exit_code, caught.value.problem) == (8, "below the floor")
    for word in words:
        assert word in str(caught.value)


def test_a_number_below_the_configured_floor_is_refused_for_tags_and_pins(store: Store) -> None:
    one, two = published(store, "one"), published(store, "two")
    for digest in (one, two):
        move(store, {LATEST: None, PIN: None}, digest, "test")
    store.trust = trust_in(OURS, floors={"m:latest": 2, "pin:eu/m": 2, "m:prod": 1})
    assert resolve(store, "m").digest == resolve(store, "pin:eu/m").digest == two
    store.trust.add_floor("m:latest", 3, "CAS_FLOOR")
    refused(store, "m", "m:latest in", "is at entry 2, below its floor of 3 (CAS_FLOOR)")
    assert resolve(store, "pin:eu/m").digest == two
    refused(store, "m:prod", "m:prod in", "has no entries, below its floor of 1 (the test)")
    assert resolve(store, f"m@{two}").digest == two, "a digest needs no floor"

    # A move from there gets a number that counts again, and a ref that was begun anew does, too.
    move(store, {LATEST: None}, one, "test")
    assert latest(store).names()[-1].startswith("00000003-")
    store.trust.add_floor("m:prod", 42, "the test")
    move(store, {Ref("tags", "m", "prod"): None}, one, "test")
    assert [name[:8] for name in log_of(store, Reference("m", tag="prod")).names()] == ["00000042"]
    rollback(store, "m", f"m@{two}")
    assert resolve(store, "m").digest == two


def test_what_an_entry_below_the_floor_names_is_named_anew_by_a_move_to_the_same(store: Store) -> None:
    one, two = published(store, "one"), published(store, "two")
    for digest in (one, two):
        latest(store).append(digest, "test")
    store.trust = trust_in(OURS, floors={"m:latest": 7})
    assert [(past.number, past.problem) for past in history(store, "m")] == [(1, ""), (2, "below the floor")]
    assert rollback(store, "m", f"m@{two}").moved
    assert resolve(store, "m").digest == two
    store.trust = trust_in(OURS, floors={"m:latest": 9})
    assert move(store, {LATEST: expected_move(store, LATEST, two)}, two, "test") == (LATEST,)
    assert [(past.number, past.problem) for past in history(store, "m")[-2:]] == [(7, ""), (9, "")]
    assert not rollback(store, "m", f"m@{two}").moved


def test_an_old_state_of_the_store_is_refused_where_a_newer_one_was_seen(store: Store, tmp_path: Path) -> None:
    hub, other = tmp_path / "hub", tmp_path / "other"
    one, two = published(store, "one"), published(store, "two")
    move(store, {LATEST: None}, one, "test")
    old = saved(store)
    assert read_seen(hub, store.name, "m:latest") is None
    resolve(store, "m", [hub], keep=True)
    move(store, {LATEST: None}, two, "test")
    new = saved(store)
    resolve(store, "m", [hub])
    assert read_seen(hub, store.name, "m:latest") == Seen(*_of(latest(store).history()[0]))
    resolve(store, "m", [other, hub], keep=True)
    assert read_seen(hub, store.name, "m:latest") == Seen(*_of(latest(store).history()[1]))
    assert len(list(seen_folder(hub, store.name, "m:latest").iterdir())) == 1

    put_back(store, old)
    refused(store, "m", "m:latest in", "is at entry 1, but entry 2 (", str(other), "cas trust floor", hubs=(other,))
    refused(store, "m", hubs=(tmp_path / "new", hub))
    assert resolve(store, "m", [tmp_path / "fresh"], keep=True).digest == one, "a fresh cache cannot know"
    assert resolve(store, f"m@{one}", [hub], keep=True).digest == one
    put_back(store, {})
    refused(store, "m", "has no entries, but entry 2", hubs=(hub,))
    with pytest.raises(RefUnset):
        resolve(store, "m", [tmp_path / "never"])
    put_back(store, new)
    assert resolve(store, "m", [hub]).digest == two

    # What the message says: a store that was really begun anew is accepted once the folder is gone.
    put_back(store, old)
    folder = seen_folder(hub, store.name, "m:latest")
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert resolve(store, "m", [hub], keep=True).digest == one


def _of(seen: object) -> tuple[str, str]:
    return seen.name, seen.entry_digest  # type: ignore[attr-defined]


def test_another_entry_of_the_name_that_was_seen_is_refused(store: Store, tmp_path: Path) -> None:
    move(store, {LATEST: None}, published(store, "one"), "test")
    entry = resolve(store, "m", [tmp_path], keep=True).move
    assert entry is not None
    keep_seen(tmp_path, store.name, "m:latest", Seen(entry.name, "0" * 64))
    refused(store, "m", "is at another entry 1, but entry 1 (", hubs=(tmp_path,))
    keep_seen(tmp_path, store.name, "m:latest", Seen(entry.name, entry.entry_digest))
    resolve(store, "m", [tmp_path])
    for text in (b"", b"{", b"\xff", b'{"store": 1}'):  # the name alone counts then
        (seen_folder(tmp_path, store.name, "m:latest") / entry.name).write_bytes(text)
        resolve(store, "m", [tmp_path], keep=True)


def test_what_was_seen_of_one_ref_of_one_store_says_nothing_of_others(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = published(store, "one")
    for _ in range(2):
        move(store, {LATEST: None}, digest, "test")
        move(store, {LATEST: None}, None, "test")
    move(store, {LATEST: None}, digest, "test")
    resolve(store, "m", [tmp_path], keep=True)
    move(store, {PIN: None, Ref("tags", "m", "prod"): None}, digest, "test")
    for reference in ("pin:eu/m", "m:prod"):
        assert resolve(store, reference, [tmp_path], keep=True).digest == digest
    monkeypatch.setenv("CAS_STORE_NAME", "s3://elsewhere")
    again = signed(open_store(str(tmp_path / "again")))
    again.create()
    published(again, "one")
    move(again, {LATEST: None}, digest, "test")
    assert resolve(again, "m", [tmp_path], keep=True).digest == digest


def test_only_what_a_trusted_key_signed_is_seen(store: Store, tmp_path: Path) -> None:
    digest = published(store, "one")
    move(store, {LATEST: None}, digest, "test")
    written(store, f"99999999-{'0' * 16}.json", digest)
    with pytest.raises(SignatureError, match="has no signature"):
        resolve(store, "m", [tmp_path], keep=True)
    store.trust = None
    assert resolve(store, "m", [tmp_path], keep=True).digest == digest
    floors.keep_seen(tmp_path, store, "m:latest", latest(store).last_move())
    assert not list(tmp_path.glob(".locks/**/*.json"))
    store.trust = trust_in(OURS, FOREIGN)
    store.bucket.delete(f"{PREFIX}/99999999-{'0' * 16}.json")
    assert resolve(store, "m", [tmp_path], keep=True).digest == digest
    assert len(list(tmp_path.joinpath(*REGISTER, "floors").iterdir())) == 1


def test_a_cache_that_cannot_be_written_keeps_nothing_and_refuses_nothing(store: Store, tmp_path: Path) -> None:
    digest = published(store, "one")
    move(store, {LATEST: None}, digest, "test")
    hub = tmp_path / "hub"
    hub.mkdir()
    (hub / ".locks").write_bytes(b"")  # stands for a file system without write access: root may write to all others
    with pytest.raises(cas.CasError):
        read_seen(hub, store.name, "m:latest")
    (hub / ".locks").unlink()
    hub.rmdir()
    hub.symlink_to(tmp_path / "nowhere")
    assert resolve(store, "m", [hub], keep=True).digest == digest


def test_the_highest_of_several_writers_counts(tmp_path: Path) -> None:
    names = [f"{number:08d}-{'a' * 16}.json" for number in (7, 100, 99_999_999, 100_000_000)]
    for name in (names[1], names[0], names[3], names[2]):
        keep_seen(tmp_path, "s3://b", "m:latest", Seen(name, "1" * 64))
    assert read_seen(tmp_path, "s3://b", "m:latest") == Seen(names[3], "1" * 64)
    folder = seen_folder(tmp_path, "s3://b", "m:latest")
    assert folder.is_relative_to(tmp_path.joinpath(*REGISTER))
    (folder / "leftover.tmp").write_bytes(b"")
    (folder / f"999999999-{'a' * 15}.json").write_bytes(b"")
    assert read_seen(tmp_path, "s3://b", "m:latest") == Seen(names[3], "1" * 64)


def test_a_pin_that_the_environment_names_is_not_older_than_what_was_seen(store: Store, tmp_path: Path) -> None:
    one, two = published(store, "one"), published(store, "two")
    move(store, {PIN: None}, one, "test")
    old = saved(store)
    move(store, {PIN: None}, two, "test")
    environ = {"CAS_DEPLOYMENT": "eu"}
    chosen = selection.choose(environ, store=store, hubs=[tmp_path], keep=True)
    assert chosen.move is not None
    assert (str(chosen), chosen.move.number, chosen.move.key_id) == (f"m@blake3:{two}", 2, OURS.public.id)
    for objects in (old, {}):
        put_back(store, objects)
        with pytest.raises(SignatureError, match=r"pin:eu/m in .* but entry 2"):
            selection.choose(environ, model="m", store=store, hubs=[tmp_path])
    store.trust = trust_in(OURS, floors={"pin:eu/m": 1})
    with pytest.raises(SignatureError, match=r"pin:eu/m in .* has no entries, below its floor of 1"):
        selection.choose(environ, model="m", store=store)


def test_no_other_pin_stands_in_for_one_that_was_deleted(store: Store) -> None:
    one, environ = published(store, "one"), {"CAS_DEPLOYMENT": "eu"}
    store.trust = trust_in(OURS, floors={"pin:eu/m": 1, "pin:eu-west/m": 1})
    with pytest.raises(SignatureError, match=r"pin:eu/m in .* has no entries, below its floor of 1"):
        selection.choose(environ, store=store)
    other = Ref("pins", "eu", "other")
    version = published(store, "one", "other")
    move(store, {other: None}, version, "test")
    with pytest.raises(InputError, match=r"eu has pins of m \(deleted\), other:"):
        selection.choose(environ, store=store)
    move(store, {PIN: None}, one, "test")
    move(store, {PIN: None}, None, "test")  # what was removed by who may is no deleted pin
    assert str(selection.choose(environ, store=store)) == f"other@blake3:{version}"


def test_commands_keep_in_the_cache_what_they_saw_and_a_dry_run_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, hub = str(tmp_path / "store"), tmp_path / "cache/hub"
    for name, value in {**variables(tmp_path / "keys"), "CAS_STORE": url, "HF_HUB_CACHE": str(hub)}.items():
        monkeypatch.setenv(name, value)
    store = open_store()
    publish_tree(store, write_tree(tmp_path / "tree", {"config.json": b"1"}))
    move(store, {PIN: None}, resolve(store, "m").digest, "test")
    old = saved(store)
    publish_tree(store, write_tree(tmp_path / "tree", {"config.json": b"2"}))
    move(store, {PIN: None}, resolve(store, "m").digest, "test")
    new = saved(store)

    def run(*words: str, code: int = 0, **env: str) -> str:
        done = call_cas(*words, env=env)
        assert done.returncode == code, done.stderr
        return done.stderr

    run("restore", "m", "-n")
    run("restore", "m", "--to", str(tmp_path / "files"))
    assert not hub.exists()
    run("restore", "m", "-q")
    run("restore", "-q", CAS_DEPLOYMENT="eu")
    assert len(list(hub.joinpath(*REGISTER, "floors").iterdir())) == 2
    put_back(store, old)
    for words in (("restore", "m"), ("env", "m"), ("verify", "m"), ("restore", "m", "-n"), ("restore", "pin:eu/m")):
        assert "but entry 2" in run(*words, code=8)
    for words in (("restore",), ("env",)):
        assert "pin:eu/m in" in run(*words, code=8, CAS_DEPLOYMENT="eu")
    put_back(store, new)
    run("restore", "m", "-q")
    run("prune", "-q", "--keep", "0")
    assert len(list(hub.joinpath(*REGISTER, "floors").iterdir())) == 2, "a prune forgets nothing of this"
    put_back(store, old)
    assert "but entry 2" in run("restore", "m", code=8)
    assert isinstance(store.bucket.list("refs")[0], Entry)
    assert os.path.isdir(hub)
