"""An audit tells who released what, and finds everything that was written past the key."""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path

import pytest

from cas.bucket import Kind
from cas.errors import InputError, RefUnset
from cas.formats.digest import named
from cas.formats.minisign import new_key
from cas.refs.reflog import RefLog
from cas.store import layout
from cas.store.layout import RefEntryId, manifest_key, ref_entry_key
from cas.store.store import Store
from tests.ops.audit.signed_store import LATEST, PROD, SignedStore, kinds, signed_store
from tests.refs.logs import published

NO_TIME = datetime.timedelta(0)


@pytest.fixture
def signed(directory_store: Store) -> SignedStore:
    return signed_store(directory_store)


def test_a_store_as_its_owner_left_it(store: Store) -> None:
    signed = signed_store(store)
    signed.receipt(signed.one)
    signed.receipt(signed.two, "other")
    signed.receipt(signed.bad, ok=False)  # refused: it did not run
    found = signed.audit()
    assert (found.problems, found.notes, found.unsigned, found.receipts) == ((), (), (), 3)
    assert [(run.deployment, run.manifest, run.count, run.ref, run.entry, run.key_id) for run in found.runs] == [
        ("eu-prod", named(signed.one), 1, "pin:eu-prod/m", 1, signed.key.public.id),
        ("other", named(signed.two), 1, "m:latest", 2, signed.key.public.id),
    ]
    assert [ref.ref for ref in found.refs] == [PROD, LATEST]
    assert [[move.manifest for move in ref.moves] for ref in found.refs] == [
        [named(signed.one)],
        [named(signed.one), named(signed.two)],
    ]
    for ref in found.refs:
        for move in ref.moves:
            assert (move.key_id, move.signers) == (signed.key.public.id, (signed.key.public.id,))
            assert (move.by, move.reason, move.problem, move.is_lost) == ("ann", "release", "", False)
            assert move.program.startswith("cas ")
        assert [move.in_force for move in ref.moves] == [*([False] * (len(ref.moves) - 1)), True]
    assert found.trusted == {signed.key.public.id: "ann's key"}
    assert found.document()["ok"] is True


def test_an_entry_that_nobody_signed(signed: SignedStore) -> None:
    signed.intrude(PROD, signed.bad)
    found = signed.audit()
    assert kinds(found) == [("unsigned", "pin:eu-prod/m")]
    assert "entry 2 has no signature" in found.problems[0].text
    last = found.refs[0].last
    assert (last.manifest, last.by, last.reason, last.key_id, last.signers) == (
        named(signed.bad),
        "mallory",
        "mine now",
        "",
        (),
    )
    # The owner goes back: the intruder's move is past, and stays a problem while it is young.
    signed.move(PROD, signed.one)
    found = signed.audit()
    assert kinds(found) == [("unsigned", "pin:eu-prod/m")]
    assert "had entry 2 of" in found.problems[0].text
    # `cas sign REF` would sign what is in force now, and `cas rollback REF` leave it.
    assert not any(command in found.problems[0].text for command in ("cas sign", "cas rollback"))
    found = signed.audit(since=NO_TIME)
    assert kinds(found) == []
    assert [(note.kind, note.where) for note in found.notes] == [("unsigned", "pin:eu-prod/m")]


def test_what_ran_was_released_by_a_move_before_it(signed: SignedStore) -> None:
    keys = [signed.receipt(signed.one), ref_entry_key(RefEntryId(*PROD, RefLog(signed.store, PROD).names()[0]))]
    an_hour_ago = time.time() - 3600
    for key in keys:
        os.utime(Path(signed.store.url, key), (an_hour_ago, an_hour_ago))
    signed.move(PROD, signed.two)
    signed.move(PROD, signed.one)
    assert [(run.ref, run.entry) for run in signed.audit().runs] == [("pin:eu-prod/m", 1)]


def test_many_entries_of_an_intruder_are_one_problem(signed: SignedStore) -> None:
    for _ in range(3):
        signed.intrude(PROD, signed.bad)
    signed.move(PROD, signed.bad, new_key())
    signed.move(PROD, signed.one)
    found = signed.audit()
    assert kinds(found) == [("unsigned", "pin:eu-prod/m"), ("not trusted", "pin:eu-prod/m")]
    assert "had 3 entries that did not count, from 2 of" in found.problems[0].text
    assert [move.problem for move in found.refs[0].moves] == ["", *["unsigned"] * 3, "not trusted", ""]


def test_a_removal_that_nobody_signed(signed: SignedStore) -> None:
    signed.intrude(PROD, None)
    assert kinds(signed.audit()) == [("unsigned", "pin:eu-prod/m")]


def test_an_entry_that_another_key_signed(signed: SignedStore) -> None:
    other = new_key()
    signed.move(PROD, signed.bad, other)
    found = signed.audit()
    assert kinds(found) == [("not trusted", "pin:eu-prod/m")]
    assert found.refs[0].last.signers == (other.public.id,)


def test_an_entry_that_was_replaced(signed: SignedStore) -> None:
    log = RefLog(signed.store, PROD)
    key = ref_entry_key(RefEntryId(*PROD, log.names()[-1]))
    data = bytes(signed.store.bucket.get(key, 10_000)).replace(signed.one.encode(), signed.bad.encode())
    signed.store.bucket.put(key, data, Kind.DOCUMENT, overwrite=True)
    assert kinds(signed.audit()) == [("altered", "pin:eu-prod/m")]


def test_moves_before_the_first_signed_one_are_no_problem(directory_store: Store) -> None:
    directory_store.create()
    RefLog(directory_store, LATEST).append(published(directory_store, "old"), "release")
    signed = signed_store(directory_store)
    found = signed.audit()
    assert (kinds(found), found.notes) == ([], ())
    assert [move.problem for move in found.refs[1].moves] == ["unsigned", "", ""]


def test_floors(signed: SignedStore) -> None:
    signed.trust.add_floor("m:latest", 2, "a file")
    assert kinds(signed.audit()) == []
    signed.trust.add_floor("m:latest", 3, "a file")
    signed.trust.add_floor("pin:us/m", 7, "another file")
    found = signed.audit()
    assert kinds(found) == [("below the floor", "m:latest"), ("lost", "pin:us/m")]
    assert "and another file sets its floor to 7" in found.problems[1].text
    shown = [ref for ref in found.document()["refs"] if ref["ref"] == "m:latest"]  # type: ignore[attr-defined]
    assert (shown[0]["floor"], [move["below_floor"] for move in shown[0]["moves"]]) == (3, [True, True])
    assert kinds(signed.audit("pin:us/m")) == [("lost", "pin:us/m")]
    assert kinds(signed.audit("pin:eu-prod/m")) == []


def test_a_manifest_that_is_gone_or_altered(signed: SignedStore) -> None:
    key = manifest_key("m", signed.one)
    data = bytes(signed.store.bucket.get(key, 10_000))
    signed.store.bucket.put(key, data.replace(b"one", b"two"), Kind.MANIFEST, overwrite=True)
    signed.store.bucket.delete(manifest_key("m", signed.two))
    found = signed.audit()
    assert kinds(found) == [("manifest", "pin:eu-prod/m"), ("manifest", "m:latest")]
    assert "was altered" in found.problems[0].text
    assert "has no version" in found.problems[1].text


def test_an_entry_that_is_malformed(signed: SignedStore) -> None:
    signed.store.bucket.put(f"{PROD.prefix}/00000002-{'0' * 16}.json", b"{}", Kind.DOCUMENT)
    (problem,) = signed.audit().problems
    assert problem.kind == "unsigned"  # nobody signed it: what it says does not matter
    signed.store.trust = None
    assert kinds(signed.audit()) == [("not checked", ""), ("unreadable", "pin:eu-prod/m")]


def test_without_trusted_keys_nothing_passes(signed: SignedStore) -> None:
    signed.store.trust = None
    signed.receipt(signed.bad)
    signed.receipt(signed.one)
    found = signed.audit()
    assert kinds(found) == [("not checked", "")]
    assert {move.signers for ref in found.refs for move in ref.moves} == {(signed.key.public.id,)}
    assert {move.key_id for ref in found.refs for move in ref.moves} == {""}
    assert (found.unsigned, found.receipts, found.runs) == ((), 2, (found.runs[0],))
    assert (found.runs[0].manifest, found.runs[0].by, found.runs[0].key_id) == (named(signed.one), "ann", "")


def test_one_ref(signed: SignedStore) -> None:
    signed.intrude(PROD, signed.bad)
    signed.receipt(signed.one)
    signed.store.bucket.put(
        layout.receipt_key("eu-prod", "2026-11-23T11:26:59Z", "e" * 64, "0" * 16), b"", Kind.DOCUMENT
    )
    assert (kinds(signed.audit("m")), signed.audit("m").receipts) == ([], 1)
    assert [ref.ref for ref in signed.audit("m").refs] == [LATEST]
    assert kinds(signed.audit("pin:eu-prod/m")) == [("unsigned", "pin:eu-prod/m")]
    with pytest.raises(RefUnset):
        signed.audit("m:none")
    with pytest.raises(InputError, match="name a tag"):
        signed.audit(f"m@blake3:{signed.one}")


def test_what_ran_unsigned(signed: SignedStore) -> None:
    for _ in range(2):
        signed.receipt(signed.bad)
    signed.receipt(signed.bad, "lab")
    signed.receipt("e" * 64, model="other")
    found = signed.audit()
    assert kinds(found) == [("ran", "eu-prod"), ("ran", "eu-prod"), ("ran", "lab")]
    assert [(run.deployment, run.model, run.manifest, run.count) for run in found.unsigned] == [
        ("eu-prod", "m", named(signed.bad), 2),
        ("eu-prod", "other", named("e" * 64), 1),
        ("lab", "m", named(signed.bad), 1),
    ]
    assert "(because), 2 times from" in found.problems[0].text
    assert found.unsigned[0].reasons == ("because",)
    # Of one pin, the receipts of that deployment and model count.
    assert kinds(signed.audit("pin:eu-prod/m")) == [("ran", "eu-prod")]
    assert kinds(signed.audit("m")) == [("ran", "eu-prod"), ("ran", "lab")]
    assert kinds(signed.audit(since=NO_TIME)) == []
    # An unsigned entry that names a version does not make it signed; a signed one does.
    signed.intrude(LATEST, signed.bad)
    assert ("ran", "lab") in kinds(signed.audit())
    signed.move(LATEST, signed.bad)
    assert [kind for kind, _ in kinds(signed.audit())] == ["unsigned", "ran"]


def test_a_run_before_what_is_left_of_a_log_is_a_note(signed: SignedStore) -> None:
    key = signed.receipt(signed.bad)
    entry = RefEntryId(*LATEST, RefLog(signed.store, LATEST).names()[0])
    signed.store.bucket.delete(ref_entry_key(entry))
    found = signed.audit()
    assert (kinds(found), found.unsigned[0].is_certain) == ([("ran", "eu-prod")], True)
    an_hour_ago = time.time() - 3600
    os.utime(Path(signed.store.url, key), (an_hour_ago, an_hour_ago))
    found = signed.audit()
    assert (kinds(found), found.unsigned[0].is_certain) == ([], False)
    assert [(note.kind, note.where) for note in found.notes] == [("ran", "eu-prod")]
    assert "no signed entry that is left names it" in found.notes[0].text


def test_receipts_that_cannot_be_read_are_noted(signed: SignedStore) -> None:
    key = layout.receipt_key("eu-prod", "2026-11-23T11:26:59Z", signed.bad, "0" * 16)
    signed.store.bucket.put(key, b"{}", Kind.DOCUMENT)
    found = signed.audit()
    assert kinds(found) == []
    assert [note.text for note in found.notes] == [f"1 receipts cannot be read: {key}"]


def test_receipts_of_signed_versions_are_not_read(signed: SignedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = signed.store.bucket.get_into
    monkeypatch.setattr(signed.store.bucket, "get_into", lambda key, into: read.append(key) or real(key, into))
    for _ in range(3):
        signed.receipt(signed.one)
    key = signed.receipt(signed.bad)
    signed.audit()
    assert [each for each in read if each.startswith("receipts/")] == [key]
