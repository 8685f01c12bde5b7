"""Stores where keys are trusted, and what somebody writes there who has the key to the bucket alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cas.formats.minisign import SecretKey, new_key
from cas.local.trusted_keys import Trust
from cas.refs.reflog import Ref, RefLog
from cas.store.store import Store

KEY, OTHER = new_key(), new_key()


def trusting(
    store: Store,
    signer: SecretKey | None = KEY,
    keys: tuple[SecretKey, ...] = (KEY,),
    floors: Mapping[str, int] | None = None,
) -> Store:
    """Another view of a store, where keys are trusted and one of them signs."""
    view = Store(store.bucket)
    view.trust = Trust()
    for key in keys:
        view.trust.add_key(key.public, "", "test")
    for ref, number in (floors or {}).items():
        view.trust.add_floor(ref, number, "test")
    view.signer = signer
    return view


def unsigned(store: Store) -> Store:
    """Another view of a store: that of an attacker, who signs nothing and asks for no signature."""
    return Store(store.bucket)


def move(store: Store, digest: str | None, tag: str = "latest", model: str = "m", reason: str = "test") -> Ref:
    """Append an entry to a tag's log, signed as the view says."""
    ref = Ref("tags", model, tag)
    RefLog(store, ref).append(digest, reason)
    return ref


def objects_of_refs(store: Store, ending: str = "") -> dict[str, bytes]:
    """The objects of a store's refs, or those whose names end so."""
    listed = store.bucket.list("refs")
    return {entry.key: bytes(store.bucket.get(entry.key, 1 << 20)) for entry in listed if entry.key.endswith(ending)}


def key_files(folder: Path, key: SecretKey = KEY, name: str = "ann") -> dict[str, str]:
    """Write a key's two files, and return the variables of a person who signs with it and trusts it."""
    (folder / f"{name}.key").write_text(key.text())
    (folder / f"{name}.pub").write_text(key.public.text())
    return {"CAS_SIGNING_KEY": str(folder / f"{name}.key"), "CAS_TRUSTED_KEYS": str(folder / f"{name}.pub")}
