"""Signed stores in memory, for many short sequences."""

from __future__ import annotations

import functools

from cas.bucket import Bucket, Kind, open_bucket
from cas.formats.digest import hex_of
from cas.formats.minisign import SecretKey, new_key
from cas.local.trusted_keys import Trust
from cas.refs import log_of, parse_reference
from cas.refs.entry import ENTRIES, new_entry
from cas.store import layout
from cas.store.store import Store


class NamedStore(Store):
    """A store in memory that has a name of its own, as one in a bucket has."""

    name = ""

    @property
    def where(self) -> str:
        """Its name: in memory there is no place."""
        return self.name


@functools.cache
def _key() -> SecretKey:
    return new_key()


def signed_store(name: str) -> NamedStore:
    """Return an empty store in memory whose refs are signed by a key that is trusted there."""
    store, key = NamedStore(open_bucket("memory:")), _key()
    store.name, store.trust, store.signer = name, Trust({key.public.id: key.public}), key
    store.create()
    return store


def view_of(store: NamedStore, bucket: Bucket) -> NamedStore:
    """Return the store as it is seen through another bucket."""
    view = NamedStore(bucket)
    view.name, view.trust, view.signer = store.name, store.trust, store.signer
    return view


def append_unsigned(store: Store, ref: str, digest: str | None) -> None:
    """Append an entry as an intruder does, who has no key that is trusted."""
    log = log_of(store, parse_reference(ref))
    names = log.names()
    number = layout.ref_entry_order(names[-1])[0] + 1 if names else 1
    data = ENTRIES.encode(new_entry(digest, "release", None, None))
    key = f"{log.ref.prefix}/{layout.ref_entry_name(number, hex_of(data)[:16])}"
    store.bucket.put(key, data, Kind.DOCUMENT)
