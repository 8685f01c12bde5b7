"""What counts of a log where keys are trusted: several signatures, several writers, what nobody signed, few digits."""

from __future__ import annotations

from typing import Any

import pytest

from cas.bucket import Kind
from cas.bucket.object_store import ObjectBucket
from cas.errors import FormatError, RefMoved, RefUnset, SignatureError, SignerMissing, StoreError
from cas.formats.digest import hex_of
from cas.refs.reference import Reference, log_of, resolve
from cas.refs.reflog import UNSET, Ref, RefLog
from cas.store import layout
from cas.store.layout import RefEntryId
from cas.store.store import Store
from tests.refs.logs import PREFIX, A, B, latest, published, written
from tests.refs.signing import (
    FOREIGN,
    NEXT,
    OURS,
    refused,
    replace,
    signature_keys,
    signatures_of,
    signed,
    store,
    trust_in,
)

__all__ = ["store"]

UNKNOWN = f"00000002-{'0' * 16}.json"


def test_of_several_signatures_one_by_a_trusted_key_is_enough(store: Store) -> None:
    both = signed(Store(store.bucket), OURS, NEXT)
    latest(both).append(A, "test")
    both.signer = NEXT
    (name,) = latest(both).names()
    from cas.refs.signatures import sign_entry

    entry = RefEntryId("tags", "m", "latest", name)
    sign_entry(both, entry, bytes(both.bucket.get(f"{PREFIX}/{name}", 9999)), NEXT)
    for trusted in ((OURS,), (NEXT,), (OURS, NEXT), (FOREIGN, NEXT)):
        reader = signed(Store(store.bucket), *trusted, signer=None)
        assert latest(reader).current_digest() == A
        assert latest(reader).signers() == (OURS.public.id, NEXT.public.id)
    # What an intruder puts beside it changes nothing, be it named after a trusted key.
    for digest in ("0" * 16, "f" * 16):
        replace(store, layout.ref_signature_key(entry, OURS.public.id, digest), b"nothing")
    assert latest(store).current_digest() == A
    replace(store, signature_keys(store)[1], b"nothing")
    assert latest(signed(Store(store.bucket), OURS, NEXT)).current_digest() == A


def test_two_writers_of_one_name_do_not_replace_each_others_signature(store: Store) -> None:
    from cas.refs.signatures import sign_entry

    latest(store).append(A, "test", expect=UNSET)
    (own,) = signatures_of(store, PREFIX)
    other = bytes(store.bucket.get(layout.ref_entry_key(own.entry), 9999)).replace(A.encode(), B.encode())
    sign_entry(store, own.entry, other, OURS)
    assert len(signature_keys(store)) == 2
    assert latest(store).current_digest() == A
    replace(store, layout.ref_entry_key(own.entry), other)  # as where a server honours no condition
    assert latest(store).current_digest() == B


def test_nothing_is_written_where_nothing_signs_or_a_key_that_nobody_here_trusts(store: Store) -> None:
    before = store.bucket.list("")
    store.signer = None
    with pytest.raises(SignerMissing, match=rf"m:latest in memory: .*{OURS.public.id}.*--sign-with") as missing:
        latest(store).append(A, "test")
    assert missing.value.exit_code == 8
    store.signer = FOREIGN
    with pytest.raises(SignatureError, match=rf"the key {FOREIGN.public.id}.*is not trusted here.*{OURS.public.id}"):
        latest(store).append(A, "test")
    assert store.bucket.list("") == before


def test_who_is_overtaken_by_an_unsigned_entry_is_told_what_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = ObjectBucket.list

    def overtaken(self: ObjectBucket, prefix: str) -> Any:
        if any(layout.ref_entry(entry.key) for entry in listing(self, prefix)):
            written(store, f"00000001-{'f' * 16}.json", B)
        return listing(self, prefix)

    monkeypatch.setattr(ObjectBucket, "list", overtaken)
    with pytest.raises(RefMoved, match="m:latest was moved to something that is unsigned"):
        latest(store).append(A, "test")
    with pytest.raises(RefMoved, match=r"to something that is unsigned \(expected: nothing\)"):
        latest(store).append(A, "test", expect=UNSET)
    store.bucket.delete(f"{PREFIX}/00000001-{'f' * 16}.json")


def test_after_the_highest_number_the_object_is_named_that_must_go(store: Store) -> None:
    written(store, f"{'9' * 20}-{'0' * 16}.json", B)
    with pytest.raises(StoreError, match=rf"{PREFIX}/9{{20}}-0{{16}}.json .*delete that object"):
        latest(store).append(A, "test")


def test_a_number_near_the_highest_is_gone_on_from_if_a_trusted_key_signed_it(store: Store) -> None:
    latest(store).append(A, "test")
    for near in ("9" * 19 + "7", "1" + "0" * 19):
        written(store, f"{near}-{'0' * 16}.json", B)
        before = store.bucket.list("")
        with pytest.raises(StoreError, match=rf"{PREFIX}/{near}-0{{16}}.json .*delete that object"):
            latest(store).append(A, "test")
        assert store.bucket.list("") == before
        store.bucket.delete(f"{PREFIX}/{near}-{'0' * 16}.json")
    written(store, f"{'9' * 19}-{'0' * 16}.json", B)
    for _ in range(2):
        latest(store).append(A, "test")
    assert [name[:20] for name in latest(store).names()[-2:]] == ["1" + "0" * 19, "1" + "0" * 18 + "1"]


def test_a_log_is_listed_once_more_however_many_entries_do_not_count(store: Store) -> None:
    from cas.refs.history import past_moves

    latest(store).append(A, "test")
    for number in range(2, 9):
        written(store, f"{number:08d}-{'0' * 16}.json", B)
    count = [0]
    with pytest.MonkeyPatch.context() as patch:
        listing = ObjectBucket.list
        patch.setattr(ObjectBucket, "list", lambda self, prefix: count.append(1) or listing(self, prefix))
        moves = past_moves([latest(store)])[Ref("tags", "m", "latest")]
    assert len(count) - 1 == 2
    assert [move.digest for move in moves] == [A] + [None] * 7
    assert [move.problem for move in moves] == [""] + ["unsigned"] * 7
    assert [move.claimed and move.claimed.digest for move in moves] == [None] + [B] * 7
    assert [move.move.key_id for move in moves] == [OURS.public.id] + [""] * 7
    assert [move.signers for move in moves] == [(OURS.public.id,)] + [()] * 7
    written(store, f"00000009-{'0' * 16}.json", "no digest")
    (last,) = past_moves([latest(store)])[Ref("tags", "m", "latest")][-1:]
    assert (last.problem, last.claimed) == ("unsigned", None)


def test_a_collector_may_read_what_nobody_signed(store: Store) -> None:
    written(store, UNKNOWN, B)
    log = RefLog(store, Ref("tags", "m", "latest"), is_verified=False)
    assert log.current_digest() == B
    written(store, f"00000003-{'0' * 16}.json", "no digest")
    with pytest.raises(FormatError, match="is malformed"):
        log.current()
    refused(store, "unsigned", "entry 3 ")


def test_some_digits_of_a_digest_name_only_what_was_released(store: Store) -> None:
    one, two = published(store, "one"), published(store, "two")
    latest(store).append(one, "test")
    log_of(store, Reference("m", deployment="eu")).append(one, "test")
    assert resolve(store, f"m@{one[:12]}").digest == one
    assert resolve(store, f"m@{two}").digest == two
    with pytest.raises(SignatureError, match=rf"m@{two[:12]} in .* no signed entry .*write all 64"):
        resolve(store, Reference("m", digest=two[:12]))
    written(store, UNKNOWN, two)
    with pytest.raises(SignatureError, match="no signed entry"):
        resolve(store, f"m@{two[:12]}")
    with pytest.raises(RefUnset):
        resolve(store, "m:other")
    store.trust = None
    assert resolve(store, f"m@{two[:12]}").digest == two


def test_what_was_resolved_says_who_signed_it(store: Store) -> None:
    latest(store).append(published(store, "one"), "test", "ann")
    found = resolve(store, "m")
    assert found.move is not None
    assert (found.move.number, found.move.key_id, found.move.entry.by) == (1, OURS.public.id, "ann")
    (name,) = latest(store).names()
    assert found.move.entry_digest == hex_of(bytes(store.bucket.get(f"{PREFIX}/{name}", 9999)))
    assert resolve(store, found.exact).move is None


def test_a_store_whose_name_would_make_the_statement_ambiguous_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cas.errors import InputError

    monkeypatch.setattr(type(store), "name", property(lambda self: "s3://b\nentry: x"))
    with pytest.raises(InputError, match="CAS_STORE_NAME"):
        latest(store).append(A, "test")
    assert store.bucket.list("refs") == []
    assert trust_in(OURS).keys
    assert Kind.SIGNATURE.headers["Cache-Control"] == "no-store"
