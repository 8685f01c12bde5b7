"""Claims: one mover at a time goes on where the server does not refuse to replace an object.

Mutual exclusion by writing first and listing second, as leases have it: each who expects the same move writes a lease
of its own (a claim), and goes on only when a listing after that shows no other claim that is in force. Of two at once
at least one sees the other. Who sees a claim with a smaller id marks the own one as waiting, and claims again when
nobody is at work; who has the smallest one waits until the others have marked theirs. So at most one is at work at any
moment, and it looks at the ref again before it moves it (docs/operations/versions.md; docs/design.md, "The store").

    leases/<8 hex of what is contested><8 random hex>-<seq:06d>.json
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial

from cas.errors import StoreError
from cas.formats.digest import hex_of
from cas.store import layout
from cas.store.conditional_writes import are_honoured
from cas.store.lease_entries import ActiveLease, Lease, active_leases
from cas.store.leases import server_time
from cas.store.store import Store

_SECONDS = 60
"""How long others trust a claim whose owner stopped without a word."""

_GIVE_UP = 180.0  # seconds
_PAUSE = 0.4  # seconds at most, between two looks at the others


@contextlib.contextmanager
def claim(store: Store, key: str, check: Callable[[], None]) -> Iterator[None]:
    """Let one at a time into the `with` block, of all who claim the same key; no claim where writes are conditional.

    Args:
        store: where the claims are written.
        key: of the object that only one may write.
        check: called when nobody else is at work; raises where somebody else was before.

    Raises:
        StoreError: others were at work for three minutes.
        LeaseLost: this machine slept or the store was away, so that the claim may have lapsed before the block ended.
    """
    if are_honoured(store):
        yield
        return
    prefix = layout.lease_id(hex_of(key.encode())[:8])
    give_up = time.monotonic() + _GIVE_UP
    with Lease(store, prefix + os.urandom(4).hex(), f"move {key}", _SECONDS) as lease:
        waits = False
        while time.monotonic() < give_up:
            if not (others := _others_at_work(store, lease, prefix)):
                check()
                if not waits:
                    lease.check()
                    yield
                    lease.check()
                    return
                waits = False
                lease.write(waits=False)
                continue  # and look again: somebody else may have thought the same
            if not waits and any(other.id < lease.id for other in others):
                waits = True
                lease.write(waits=True)
            _sleep(random.uniform(0, _PAUSE))  # noqa: S311 (jitter, no secret)
    raise StoreError(f"move {key} in {store.url}: others were moving it for {_GIVE_UP:.0f} s: try again")


def _others_at_work(store: Store, lease: Lease, prefix: str) -> list[ActiveLease]:
    """Return the claims in force besides `lease` whose ids begin with `prefix`, without those that wait."""
    listed = [
        entry
        for entry in store.bucket.list(layout.LEASES)
        if (parsed := layout.lease_entry(entry.key)) and parsed.id.startswith(prefix) and parsed.id != lease.id
    ]
    found = active_leases(store, listed, partial(server_time, store, lease))
    return [other for other in found if not other.waits]


def _sleep(seconds: float) -> None:
    time.sleep(seconds)
