"""What a bucket that keeps versions still stores of a store's objects that were overwritten or deleted.

`cas publish --force`, `cas fsck --repair-from` and a publish of what was condemned overwrite objects; leases are
deleted when they end. In a bucket that keeps versions (all of Backblaze B2 do) the old bytes stay, and a deletion adds
a delete marker, until each version is erased by its id.
"""

from __future__ import annotations

import datetime
import itertools
import threading
from collections.abc import Callable

from cas.bucket import Stored
from cas.host import Limits
from cas.parallel import for_each
from cas.store import layout
from cas.store.store import Store

# Up to so many chunks, the versions of all objects are listed at once, and not folder by folder.
_SMALL = 8_000

# Listings read at a time. boto3 parses in one thread at a time, and each of a store of 10,000,000 chunks takes 20 MB.
_LISTINGS = 4

_OTHERS = (
    layout.MANIFESTS,
    layout.ref_folder(),
    layout.RECEIPTS,
    layout.LEASES,
    layout.COLLECTIONS,
    layout.EXAMINATIONS,
    layout.PROBES,
)


def list_superseded(
    store: Store,
    visit: Callable[[list[Stored]], None],
    *,
    chunks: int,
    limits: Limits,
    before: datetime.datetime | None = None,
) -> None:
    """Call `visit` with the superseded versions in a store, some at a time.

    A version of an object is superseded when it is not current. A delete marker that is current comes behind the
    versions that it hides: what it hides would be back if it were erased first.

    Args:
        store: in a bucket that keeps versions.
        visit: takes versions in the order in which they may be erased; called from several threads, one at a time.
        chunks: about how many chunks the store has.
        limits: how many requests are made at once.
        before: leave out what was superseded at this time or later, by the server's clock; None for nothing.

    Raises:
        AccessDenied: the key may not list versions.
    """
    visiting = threading.Lock()

    def read(folder: str) -> None:
        found = _superseded(store.bucket.stored(folder), before)
        if found:
            with visiting:
                visit(found)

    folders = [""] if chunks <= _SMALL else [*layout.CHUNK_FOLDERS, *_OTHERS]
    for_each(read, folders, threads=min(limits.requests, _LISTINGS, len(folders)))


def _superseded(listed: list[Stored], before: datetime.datetime | None) -> list[Stored]:
    found, markers = [], []
    ours = sorted(
        (one for one in listed if layout.is_ours(one.key)), key=lambda one: (one.key, one.current, one.modified)
    )
    for _, group in itertools.groupby(ours, key=lambda one: one.key):
        versions = list(group)
        for version, successor in itertools.pairwise(versions):
            if before is None or successor.modified < before:
                found.append(version)
        last = versions[-1]
        if last.current and last.marker and (before is None or last.modified < before):
            markers.append(last)
    return found + markers
