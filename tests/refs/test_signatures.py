"""Entries of refs are signed as what they are and where they are, and nothing else passes for one that was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cas.bucket.object_store import ObjectBucket
from cas.errors import SignatureError
from cas.formats.digest import hex_of
from cas.refs.reflog import Ref, RefLog
from cas.store import layout
from cas.store.layout import RefEntryId, RefSignature
from cas.store.store import Store, open_store
from tests.refs.logs import PREFIX, A, B, latest, written
from tests.refs.signing import FOREIGN, OURS, refused, replace, signature_keys, signatures_of, signed, store
from tests.support.buckets import RecordingBucket
from tests.support.keys import run_minisign

__all__ = ["store"]

UNKNOWN = f"00000002-{'0' * 16}.json"


def test_the_statement_is_one_that_anybody_can_write_down(store: Store, tmp_path: Any) -> None:
    entry = latest(store).append(A, "test", "ann")
    (name,) = latest(store).names()
    key = f"{PREFIX}/{name}"
    data = bytes(store.bucket.get(key, 9999))
    (beside,) = signature_keys(store)
    assert beside == f"{PREFIX}/{name[:-5]}-{OURS.public.id.lower()}-{hex_of(data)[:16]}.minisig"
    assert layout.is_ours(beside)
    assert layout.ref_entry(beside) is None, "earlier versions take it for no entry"
    assert layout.ref_signature(beside) == RefSignature(
        RefEntryId("tags", "m", "latest", name), OURS.public.id, hex_of(data)[:16]
    )
    assert latest(store).current() == entry

    text = f"model-cas ref entry 1\nstore: memory:\nentry: {key}\nblake3: {hex_of(data)}\n"
    (tmp_path / "statement").write_bytes(text.encode())
    (tmp_path / "statement.minisig").write_bytes(bytes(store.bucket.get(beside, 9999)))
    (tmp_path / "key.pub").write_text(OURS.public.text())
    done = run_minisign("-V", "-p", str(tmp_path / "key.pub"), "-m", str(tmp_path / "statement"))
    assert done.returncode == 0, done.stderr
    assert f"store: memory:\tentry: {key}\tblake3: {hex_of(data)}" in done.stdout


def test_the_signature_is_written_before_the_entry_and_costs_one_request(store: Store) -> None:
    log = latest(signed(Store(bucket := RecordingBucket(store.bucket))))
    log.append(A, "test")
    assert [key.rpartition(".")[2] for key in bucket.written] == ["minisig", "json"]
    del bucket.read[:]
    assert log.current_digest() == A
    assert sorted(key.rpartition(".")[2] for key in bucket.read) == ["json", "minisig"]
    log.append(B, "test", expect=log.history(1)[0])
    assert [key.rpartition(".")[2] for key in bucket.written[2:]] == ["minisig", "json"]
    assert log.current_digest() == B


class _Settling(RecordingBucket):
    """A bucket that records when what was written was made durable."""

    def settle(self) -> None:
        self.written.append("settled")
        self._inner.settle()


def test_a_signature_is_durable_before_its_entry_is_written(store: Store) -> None:
    latest(signed(Store(bucket := _Settling(store.bucket)))).append(A, "test")
    assert [key.rpartition(".")[2] for key in bucket.written] == ["settled", "minisig", "settled", "json", "settled"]


def test_without_trust_nothing_more_is_read_and_a_signer_alone_just_signs(store: Store) -> None:
    store.trust = None
    latest(store).append(A, "test")
    assert len(signature_keys(store)) == 1
    store.signer = None
    latest(store).append(B, "test")
    assert len(signature_keys(store)) == 1
    log = latest(Store(bucket := RecordingBucket(store.bucket)))
    assert log.current_digest() == B
    assert [key.rpartition(".")[2] for key in bucket.read] == ["json"]
    assert [move.key_id for move in log.history()] == ["", ""]
    assert log.signers() == ()
    first = log.names()[0]
    assert [found.key_id for found in log.signatures(first)] == [OURS.public.id]


def test_an_entry_without_a_signature_is_refused_and_so_is_a_foreign_one(store: Store) -> None:
    latest(store).append(A, "test")
    written(store, UNKNOWN, B)
    refused(store, "unsigned", "m:latest in memory:", "entry 2 ", "no signature", OURS.public.id, "`cas sign m:latest`")
    foreign = signed(Store(store.bucket), FOREIGN, signer=FOREIGN)
    latest(foreign).append(B, "test")
    refused(store, "not trusted", "entry 3 ", f"signed by {FOREIGN.public.id}", "`cas trust add`")
    # Its name may say anything.
    name = latest(store).names()[-1]
    (theirs,) = signatures_of(store, PREFIX)[1:]
    copied = layout.ref_signature_key(theirs.entry, OURS.public.id, theirs.digest)
    replace(store, copied, bytes(store.bucket.get(layout.ref_signature_key(*theirs), 9999)))
    refused(store, "altered", "entry 3 ", f"by key {FOREIGN.public.id}")
    store.bucket.delete(f"{PREFIX}/{name}")
    refused(store, "unsigned", "entry 2 ")
    store.bucket.delete(f"{PREFIX}/{UNKNOWN}")
    assert latest(store).current_digest() == A


def test_an_entry_that_was_replaced_or_whose_signature_was_is_refused(store: Store) -> None:
    latest(store).append(A, "test")
    (key, beside) = (f"{PREFIX}/{latest(store).names()[0]}", signature_keys(store)[0])
    data, signature = bytes(store.bucket.get(key, 9999)), bytes(store.bucket.get(beside, 9999))
    for other in (data.replace(A.encode(), B.encode()), b"", b"{" * 70_000, data + b"\n"):
        replace(store, key, other)
        refused(store, "altered", "entry 1 ", OURS.public.id)
    replace(store, key, data)
    for other in (b"", b"x" * 20_000, signature.replace(b"store: ", b"store:  "), signature.split(b"\n")[1]):
        replace(store, beside, other)
        refused(store, "altered", "entry 1 ", "a signature that is not valid")
    for other in (signature.replace(b"from key", b"from Key"), signature.replace(b"\n", b"\r\n"), signature + b"\n"):
        replace(store, beside, other)  # what minisign takes for the same signature
        refused(store, "altered", "entry 1 ", OURS.public.id)
    store.bucket.delete(beside)
    refused(store, "unsigned", "entry 1 has no signature")
    replace(store, beside, signature)
    assert latest(store).current_digest() == A


def test_a_signature_counts_for_one_entry_of_one_ref_in_one_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest(store).append(A, "test")
    (own,) = signatures_of(store, PREFIX)
    data = bytes(store.bucket.get(layout.ref_entry_key(own.entry), 9999))
    signature = bytes(store.bucket.get(layout.ref_signature_key(*own), 9999))

    def moved(entry: RefEntryId) -> RefLog:
        replace(store, layout.ref_entry_key(entry), data)
        replace(store, layout.ref_signature_key(entry, own.key_id, own.digest), signature)
        return RefLog(store, Ref(*entry[:3]))

    key = layout.ref_entry_key(own.entry)
    for entry in (
        own.entry._replace(name=f"00000002{own.entry.name[8:]}"),  # another number
        own.entry._replace(second="prod"),
        own.entry._replace(first="other"),
    ):
        refused(store, "misplaced", f"another entry ({key})", OURS.public.id, log=moved(entry))
    pin = moved(RefEntryId("pins", "m", "latest", own.entry.name))
    with pytest.raises(SignatureError, match=r"pin:m/latest .*another entry"):
        pin.current()
    store.bucket.delete(layout.ref_entry_key(own.entry._replace(name=f"00000002{own.entry.name[8:]}")))
    monkeypatch.setenv("CAS_STORE_NAME", "s3://b/prod")
    refused(store, "misplaced", "for memory:, not for s3://b/prod", "CAS_STORE_NAME", OURS.public.id)
    latest(store).append(B, "test")
    assert latest(store).current_digest() == B
    monkeypatch.delenv("CAS_STORE_NAME")
    refused(store, "misplaced", "for s3://b/prod, not for memory:")


@settings(max_examples=40)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), of_signature=st.booleans())
def test_no_flipped_bit_passes(at: int, bit: int, of_signature: bool) -> None:
    store = signed(open_store("memory:"))
    latest(store).append(A, "test", "ann", created="2026-11-23T03:00:00Z")
    key = signature_keys(store)[0] if of_signature else f"{PREFIX}/{latest(store).names()[0]}"
    data = bytearray(store.bucket.get(key, 9999))
    data[at % len(data)] ^= 1 << bit
    replace(store, key, bytes(data))
    with pytest.raises(SignatureError):
        latest(store).current()


def test_a_listing_that_passed_the_signature_before_it_was_written_is_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest(store).append(A, "test")
    listing, count = ObjectBucket.list, [0]

    def without_signatures_at_first(self: ObjectBucket, prefix: str) -> Any:
        count[0] += 1
        return [entry for entry in listing(self, prefix) if count[0] > 1 or not layout.ref_signature(entry.key)]

    monkeypatch.setattr(ObjectBucket, "list", without_signatures_at_first)
    assert latest(store).current_digest() == A
    assert count[0] == 2


def test_bytes_that_were_damaged_on_the_way_are_fetched_once_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest(store).append(A, "test")
    get, count = ObjectBucket.get, [0]

    def damaged_at_first(self: ObjectBucket, key: str, limit: int) -> Any:
        count[0] += 1
        data = bytes(get(self, key, limit))
        return data if count[0] > 2 else data.replace(b"a", b"b")

    monkeypatch.setattr(ObjectBucket, "get", damaged_at_first)
    assert latest(store).current_digest() == A
