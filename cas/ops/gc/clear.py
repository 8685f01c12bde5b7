"""Clearing: delete small objects that have served their purpose, none of which protects or needs a chunk.

The last entry of a log tells what became of it: that a ref was removed, that a lease has ended. While it is there, the
entries before it are without effect, so it outlives them: a ref's last entry is never deleted, and a lease's last entry
is deleted after the others. Then no deletion that fails, and no run that is killed, puts an older entry into force.

The signatures of an entry go with it. One whose entry was never written, as its writer was killed between the two, goes
when it is older than the grace period.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Collection, Mapping

from cas.bucket import Entry
from cas.errors import ListingUnbounded
from cas.ops.gc.erase import Eraser
from cas.refs.reflog import KEPT, Ref, RefLog, entry_name
from cas.store import layout
from cas.store.layout import RefEntryId
from cas.store.lease_entries import obsolete_entries
from cas.store.store import Store

_RECEIPTS_STAY = datetime.timedelta(days=90)
_PROBES_STAY = datetime.timedelta(hours=1)  # far longer than a run of `cas doctor` takes


def clear(
    store: Store,
    now: datetime.datetime,
    grace: datetime.timedelta,
    eraser: Eraser,
    signed: Mapping[Ref, Collection[str]],
) -> int:
    """Delete old entries of refs, probes, leases, receipts and abandoned uploads, and return how many.

    Args:
        store: to clear.
        now: the server's time.
        grace: for how long removed refs and unfinished uploads are left alone.
        eraser: deletes the objects.
        signed: for each ref the names of entries that stay whatever followed them, as `LiveSet.signed`.
    """
    bucket, count = store.bucket, _clear_refs(store, now, grace, eraser, signed)
    # A run whose key may not delete leaves its probe behind.
    probes = [entry.key for entry in bucket.list(layout.COLLECTIONS) if layout.is_probe(entry.key)]
    count += eraser.erase(layout.COLLECTIONS, probes)
    left = [entry.key for entry in bucket.list(layout.EXAMINATIONS) if entry.modified < now - _PROBES_STAY]
    count += eraser.erase(layout.EXAMINATIONS, left)
    for folder in (layout.LEASES, layout.COLLECTIONS):
        for entries in obsolete_entries(store, folder, now):
            count += eraser.erase(folder, entries)
    with contextlib.suppress(ListingUnbounded):  # the run has warned of it when it looked for what receipts retain
        receipts = [entry.key for entry in bucket.list(layout.RECEIPTS) if entry.modified < now - _RECEIPTS_STAY]
        count += eraser.erase(layout.RECEIPTS, receipts)
    for upload in bucket.multipart_uploads():
        if upload.begun < now - grace:
            bucket.abort(upload)
            count += 1
    return count


def _clear_refs(
    store: Store,
    now: datetime.datetime,
    grace: datetime.timedelta,
    eraser: Eraser,
    signed: Mapping[Ref, Collection[str]],
) -> int:
    """Trim the logs of refs, and delete the signatures of what is gone; return how many objects were deleted."""
    listed = store.bucket.list(layout.ref_folder())
    entries_of: dict[Ref, list[Entry]] = {}
    beside: dict[RefEntryId, list[Entry]] = {}
    for entry in listed:
        if key := layout.ref_entry(entry.key):
            entries_of.setdefault(Ref(*key[:3]), []).append(entry)
        elif signature := layout.ref_signature(entry.key):
            beside.setdefault(signature.entry, []).append(entry)
    useless: dict[Ref, list[Entry]] = {}
    for ref, mine in entries_of.items():
        log = RefLog(store, ref, mine, is_verified=False)
        entries = log.listed()
        old = entries[:-KEPT]
        if log.current_digest() is None and entries[-1].modified < now - grace:
            # The ref was removed. Its last entry stays for ever: it says so, and the next move takes the next number.
            old = entries[:-1]
        stay = signed.get(ref, ())
        trimmed = {entry.key for entry in old if entry_name(entry) not in stay}
        for entry in entries:
            signatures = beside.pop(RefEntryId(*ref, entry_name(entry)), [])
            if entry.key in trimmed:
                useless.setdefault(ref, []).extend((entry, *signatures))
    for name, signatures in beside.items():  # of entries that were never written
        useless.setdefault(Ref(*name[:3]), []).extend(entry for entry in signatures if entry.modified < now - grace)
    return sum(eraser.erase(ref.prefix, [entry.key for entry in entries]) for ref, entries in useless.items())
