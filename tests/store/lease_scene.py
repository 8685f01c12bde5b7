"""Leases and sweeps in a store in memory, which no thread renews."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cas.bucket.object_store import ObjectBucket
from cas.store import layout
from cas.store.lease_entries import ActiveLease, Lease, active_leases
from cas.store.store import Store

ID = "leases/0123456789abcdef"
SECONDS = 100


def lease_of(store: Store, seconds: int = SECONDS) -> Lease:
    """Return a lease that no thread renews."""
    return Lease(store, ID, "publish m", seconds)


def in_force(store: Store, folder: str = layout.LEASES) -> list[ActiveLease]:
    """Return the leases (or sweeps) that are active now, by the server's clock."""
    listed = store.bucket.list(folder)
    return active_leases(store, listed, lambda: max(entry.modified for entry in listed))


def sweep_of(store: Store, run: str) -> Lease:
    """Return the mark of a sweep that no thread renews."""
    return Lease(store, layout.sweep_id(f"20261123T120000Z-{run}"), "cas gc", 600)


def after_put(monkeypatch: pytest.MonkeyPatch, then: Callable[[str], None]) -> None:
    """Call a function with the key of each object that was written."""
    put = ObjectBucket.put

    def hooked(self: ObjectBucket, key: str, *words: Any, **options: Any) -> bool:
        done = put(self, key, *words, **options)
        then(key)
        return done

    monkeypatch.setattr(ObjectBucket, "put", hooked)
