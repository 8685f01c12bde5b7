"""Erase what a bucket that keeps versions still has of objects that were overwritten or deleted long ago."""

from __future__ import annotations

import datetime

from cas import events
from cas.bucket import Stored
from cas.errors import AccessDenied, ListingUnbounded
from cas.host import Limits
from cas.parallel import for_each
from cas.store.store import Store
from cas.store.superseded import list_superseded


def free_superseded(
    store: Store, before: datetime.datetime, *, chunks: int, limits: Limits, listen: events.Listener, write: bool
) -> tuple[int, int]:
    """Erase the stored versions that were superseded before a time, and return how many they are, and their bytes.

    Nobody reads them and no reader could come to read them, so they need no mark and no lease. Where they are locked
    (object lock), or the key may not list or erase them, a warning says so, and the run goes on.

    Args:
        store: in a bucket that keeps versions.
        before: by the server's clock.
        chunks: about how many chunks the store has.
        limits: how many requests are made at once.
        listen: is told the bytes of each deletion.
        write: False only counts.
    """
    count = size = 0

    def erase(stored: Stored) -> None:
        store.bucket.erase(stored)
        listen(events.Moved(stored.size))

    def visit(found: list[Stored]) -> None:
        nonlocal count, size
        # Delete markers that are current go last: without them, what they hid would be back.
        for current in (False, True):
            turn = [stored for stored in found if stored.current is current]
            if write and turn:
                for_each(erase, turn, threads=min(limits.requests, len(turn)))
        count += len(found)
        size += sum(stored.size for stored in found)

    try:
        list_superseded(store, visit, chunks=chunks, limits=limits, before=before)
    except (AccessDenied, ListingUnbounded) as error:
        listen(events.Warned(f"superseded versions are left: {error}"))
    return count, size
