"""A store that trusts keys and signs, and what an intruder without a key can write into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from cas.bucket import Kind
from cas.errors import SignatureError
from cas.formats.minisign import SecretKey
from cas.local.trusted_keys import Trust
from cas.refs.reflog import RefLog, in_force
from cas.store import layout
from cas.store.layout import RefSignature
from cas.store.store import Store, open_store
from tests.refs.logs import latest
from tests.support.keys import key, write_keys

OURS, NEXT, FOREIGN = key(1), key(2), key(3)
"""The key that is trusted, the one that follows it, and somebody else's."""


def trust_in(*keys: SecretKey, floors: Mapping[str, int] | None = None) -> Trust:
    """Return trust in some keys, with floors."""
    trust = Trust()
    for each in keys:
        trust.add_key(each.public, "", "the test")
    for ref, number in (floors or {}).items():
        trust.add_floor(ref, number, "the test")
    return trust


def signed(store: Store, *keys: SecretKey, signer: SecretKey | None = OURS) -> Store:
    """Let a store trust some keys, OURS without any, and sign; return it."""
    store.trust, store.signer = trust_in(*(keys or (OURS,))), signer
    return store


@pytest.fixture
def store() -> Store:
    """An empty store in memory, which trusts OURS and signs with it."""
    found = open_store("memory:")
    found.create()
    return signed(found)


def variables(folder: Path, *, signs: bool = True, trusted: tuple[SecretKey, ...] = (OURS,)) -> dict[str, str]:
    """Return the variables of somebody who trusts some keys and, if he signs, has the secret key of OURS."""
    files = {each.public.id: write_keys(folder, each.public.id, each) for each in {*trusted, OURS}}
    found = {"CAS_TRUSTED_KEYS": ",".join(files[each.public.id][1] for each in trusted)}
    return found | ({"CAS_SIGNING_KEY": files[OURS.public.id][0]} if signs else {})


def replace(store: Store, key: str, data: bytes) -> None:
    """Replace an object, as whoever may write can."""
    store.bucket.put(key, data, Kind.DOCUMENT, overwrite=True)


def signature_keys(store: Store, prefix: str = "refs") -> list[str]:
    """Return the keys of all signatures, oldest entry first."""
    return [entry.key for entry in store.bucket.list(prefix) if layout.ref_signature(entry.key)]


def signatures_of(store: Store, prefix: str) -> list[RefSignature]:
    """Return all signatures in a log, oldest entry first."""
    return [found for key in signature_keys(store, prefix) if (found := layout.ref_signature(key))]


def refused(store: Store, problem: str, *words: str, log: RefLog | None = None) -> str:
    """Read a ref that must be refused, and return the error."""
    with pytest.raises(SignatureError) as caught:
        (log or latest(store)).current()
    text = str(caught.value)
    assert (caught.value.exit_code, caught.value.problem) == (8, problem), text
    for word in words:
        assert word in text
    assert in_force(store, "tags")[(log or latest(store)).ref].problem == problem
    return text
