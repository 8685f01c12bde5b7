"""Claims: one mover at a time goes on where the server does not refuse to replace an object.

Mutual exclusion by writing first and listing second, as leases have it: each who expects the same move writes a lease
of its own (a claim), and goes on only when a listing after that shows no other claim that is in force. Of two at once
at least one sees the other. Who sees a claim with a smaller id takes the own one back and tries again; who has the
smallest one waits for the others. So at most one is at work at any moment, and it looks at the ref again before it
moves it. Docs: docs/operations.md, "Versions", and docs/design.md, "The store".

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
from cas.store.lease_entries import Lease, active_leases
from cas.store.leases import server_time
from cas.store.store import Store

_SECONDS = 60
"""How long others trust a claim whose owner stopped without a word."""

_GIVE_UP = 180.0  # seconds
_PAUSES = (0.05, 2.0)  # seconds: the first pause at most, and the longest


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
    contested = hex_of(key.encode())[:8]
    give_up, pause = time.monotonic() + _GIVE_UP, _PAUSES[0]
    while time.monotonic() < give_up:
        mine = layout.lease_id(contested + os.urandom(4).hex())
        with Lease(store, mine, f"move {key}", _SECONDS) as lease:
            if _is_alone(store, lease, contested, give_up):
                check()
                lease.check()
                yield
                lease.check()
                return
        _sleep(random.uniform(0, pause))  # noqa: S311 (jitter, no secret)
        pause = min(pause * 2, _PAUSES[1])
        check()
    raise StoreError(f"move {key} in {store.url}: others were moving it for {_GIVE_UP:.0f} s: try again")


def _is_alone(store: Store, lease: Lease, contested: str, give_up: float) -> bool:
    """Wait for those whose claims have larger ids; return False when one has a smaller id."""
    prefix = layout.lease_id(contested)
    while time.monotonic() < give_up:
        listed = [
            entry
            for entry in store.bucket.list(layout.LEASES)
            if (parsed := layout.lease_entry(entry.key)) and parsed.id.startswith(prefix) and parsed.id != lease.id
        ]
        others = active_leases(store, listed, partial(server_time, store, lease))
        if not others:
            return True
        if any(other.id < lease.id for other in others):
            return False
        _sleep(random.uniform(0, _PAUSES[0] * 4))  # noqa: S311 (jitter, no secret)
    return False


def _sleep(seconds: float) -> None:
    time.sleep(seconds)
