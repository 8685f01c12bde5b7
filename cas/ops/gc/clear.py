"""Clearing: delete small objects that have served their purpose, none of which protects or needs a chunk.

The last entry of a log tells what became of it: that a ref was removed, that a lease has ended. While it is there, the
entries before it are without effect, so it outlives them: a ref's last entry is never deleted, and a lease's last entry
is deleted after the others. Then no deletion that fails, and no run that is killed, puts an older entry into force.
"""

from __future__ import annotations

import contextlib
import datetime

from cas.errors import ListingUnbounded
from cas.ops.gc.erase import Eraser
from cas.refs import reflog
from cas.refs.reflog import KEPT
from cas.store import layout
from cas.store.lease_entries import obsolete_entries
from cas.store.store import Store

_RECEIPTS_STAY = datetime.timedelta(days=90)
_PROBES_STAY = datetime.timedelta(hours=1)  # far longer than a run of `cas doctor` takes


def clear(store: Store, now: datetime.datetime, grace: datetime.timedelta, eraser: Eraser) -> int:
    """Delete old entries of refs, probes, leases, receipts and abandoned uploads, and return how many.

    Args:
        store: to clear.
        now: the server's time.
        grace: for how long removed refs and unfinished uploads are left alone.
        eraser: deletes the objects.
    """
    bucket, count = store.bucket, 0
    for log in reflog.logs(store):
        listed = log.listed()
        old = listed[:-KEPT]
        if log.current_digest() is None and listed[-1].modified < now - grace:
            # The ref was removed. Its last entry stays for ever: it says so, and the next move takes the next number.
            old = listed[:-1]
        count += eraser.erase(log.ref.prefix, [entry.key for entry in old])
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
