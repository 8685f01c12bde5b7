"""Other bytes in place of a signed entry or its signature name nothing."""

from __future__ import annotations

import contextlib
import functools
from typing import NamedTuple

import hypothesis.strategies as st
from hypothesis import given, settings

from cas import refs
from cas.bucket import Bucket, Kind
from cas.errors import SignatureError
from cas.formats.digest import Buffer
from cas.refs.entry import ENTRIES, new_entry
from cas.store import layout
from tests.attacks.in_memory import NamedStore, signed_store, view_of
from tests.support.buckets import RecordingBucket
from tests.support.models import put_model


class Sample(NamedTuple):
    """A store with one signed entry: the keys and bytes of the entry and of its signature."""

    store: NamedStore
    entry: str
    signature: str
    objects: dict[str, bytes]

    def refuses(self, key: str, data: bytes) -> bool:
        """Return whether the store names nothing while one of both objects holds other bytes."""
        self.store.bucket.put(key, data, Kind.DOCUMENT, overwrite=True)
        try:
            refs.resolve(self.store, "m:latest")
        except SignatureError:
            return True
        finally:
            self.store.bucket.put(key, self.objects[key], Kind.DOCUMENT, overwrite=True)
        return False


@functools.cache
def sample() -> Sample:
    store = signed_store("s3://a/cas")
    put_model(store, {"org/m": {"a.bin": b"a"}})
    listed = [entry.key for entry in store.bucket.list("refs")]
    (entry,), (signature,) = filter(layout.ref_entry, listed), filter(layout.ref_signature, listed)
    return Sample(store, entry, signature, {key: bytes(store.bucket.get(key, 1 << 16)) for key in listed})


@given(is_entry=st.booleans(), at=st.integers(0, 1 << 16), flip=st.integers(1, 255))
@settings(max_examples=60)
def test_any_flipped_byte_is_refused(is_entry: bool, at: int, flip: int) -> None:
    of = sample()
    key = of.entry if is_entry else of.signature
    data = bytearray(of.objects[key])
    at %= len(data)
    data[at] ^= flip
    assert of.refuses(key, bytes(data))


@given(data=st.binary(max_size=300), is_tail=st.booleans())
@settings(max_examples=25)
def test_no_other_bytes_pass_for_a_signature(data: bytes, is_tail: bool) -> None:
    of = sample()
    true = of.objects[of.signature]
    given_ = true + data if is_tail else data
    assert of.refuses(of.signature, given_) is (given_ != true)


class Fickle(RecordingBucket):
    """A bucket of a server that answers as it likes: each read gives the next of some answers.

    Attributes:
        answers: for each read of an entry or a signature in turn, which of the objects in `choices` is returned.
        choices: bytes that were ever under such keys.
    """

    def __init__(self, inner: Bucket, choices: list[bytes], answers: list[int]) -> None:
        super().__init__(inner)
        self.choices, self.answers = choices, answers

    def get(self, key: str, limit: int) -> Buffer:
        if key.startswith("refs/") and self.answers:
            return self.choices[self.answers.pop() % len(self.choices)]
        return super().get(key, limit)


@given(answers=st.lists(st.integers(0, 3), max_size=6))
@settings(max_examples=30)
def test_a_server_that_answers_as_it_likes_names_what_was_signed_or_nothing(answers: list[int]) -> None:
    of = sample()
    evil = ENTRIES.encode(new_entry("0" * 64, "release", None, None))
    choices = [*of.objects.values(), evil, b""]
    view = view_of(of.store, Fickle(of.store.bucket, choices, answers))
    true = refs.resolve(of.store, "m:latest").digest
    with contextlib.suppress(SignatureError):
        assert refs.log_of(view, refs.parse_reference("m:latest")).current_digest() == true


def test_many_objects_beside_an_entry_cost_a_request_more_at_most() -> None:
    of = sample()
    plain = RecordingBucket(of.store.bucket)
    refs.resolve(view_of(of.store, plain), "m:latest")
    assert sum(key.endswith(".minisig") for key in plain.read) == 1
    stem, key_id = of.entry.removesuffix(".json"), next(iter(of.store.trust.keys)).lower() if of.store.trust else ""
    planted = [f"{stem}-{key_id}-{number:016x}.minisig" for number in range(60)]
    planted += [f"{stem}-{number:016x}-{'f' * 16}.minisig" for number in range(60)]
    for key in planted:
        of.store.bucket.put(key, b"x" * 1000, Kind.DOCUMENT)
    try:
        flooded = RecordingBucket(of.store.bucket)
        refs.resolve(view_of(of.store, flooded), "m:latest")
        assert len(flooded.read) <= len(plain.read) + 1
    finally:
        for key in planted:
            of.store.bucket.delete(key)
