"""Garbage collection in two runs: one run condemns what is unreferenced, and a later run deletes it.

    probe     write, look at and delete one object
    sweep     if anything was condemned at least the grace period ago:
                  write the mark of a sweep, then wait until nobody holds a lease
                  read what refs and receipts retain, and mark its chunks
                  delete what is condemned and not marked, manifests before chunks
    condemn   write down what is not marked
    clear     delete old entries of refs, old leases and receipts, and abandoned uploads;
              erase what a versioned bucket keeps of objects overwritten or deleted before the grace period

The probe is first: it tells the server's time, and ends the run before any harm when this key may not delete. Refs are
read only after the sweep is alone: a version published before that is retained, and a publisher that starts after it
waits. The sweep is before condemning, so what a run condemns always waits for another run. Clearing is last, because
what it deletes protects or needs no chunk. Decision 14 has the reasons (docs/decisions/0014-leases.md).
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Sequence

from cas import events
from cas.bucket import Kind
from cas.errors import AccessDenied, InputError, StoreError
from cas.formats.manifest import timestamp
from cas.host import Limits
from cas.ops.gc.clear import clear
from cas.ops.gc.erase import Eraser
from cas.ops.gc.free_superseded import free_superseded
from cas.ops.gc.live import LiveSet
from cas.ops.gc.result import Collected
from cas.ops.gc.sweep import SweepPostponed, sweep, wait_for_publishers
from cas.ops.gc.unreferenced import Unreferenced, find_unreferenced, list_all_chunks, preview_sweep
from cas.refs.reflog import KEPT
from cas.store import layout
from cas.store.condemned import CondemnedSet, condemn, condemned_sets
from cas.store.lease_entries import Lease
from cas.store.store import Store, open_store

GRACE = datetime.timedelta(hours=24)

# If this machine's clock and the server's differ by more, one of them is wrong, and would condemn or sweep too early.
_SKEW = datetime.timedelta(minutes=15)

# How far the clocks of a store's several servers may differ: an object counts as older than its condemnation only if it
# is older by this much, or by a twentieth of the grace period where that is less.
_TOLERANCE = datetime.timedelta(seconds=60)


def gc(
    store: Store | str | None = None,
    *,
    grace: datetime.timedelta = GRACE,
    keep: int = KEPT,
    dry_run: bool = False,
    wait: float = 60.0,
    limits: Limits | None = None,
    on_event: events.Listener = events.log,
) -> Collected:
    """Delete what an earlier run condemned and is still unreferenced, and condemn what is unreferenced now.

    Args:
        store: an open store, a URL, or None for the default.
        grace: how long everything is left alone after it was written, and again after it was condemned.
        keep: how many versions each tag and pin retains, the current one among them.
        dry_run: change nothing.
        wait: seconds to wait for publishers before the sweep is left to another run.
        limits: how many requests are made at once.
        on_event: is told of phases and progress.

    Raises:
        InputError: `keep` or `grace` makes no sense.
        StoreError: another collector is at work, this key may not delete, or clocks differ.
        IntegrityError: a retained version cannot be read; nothing was deleted.
        FormatError: likewise, for an entry of a ref or a list of what is condemned.
    """
    begun = time.monotonic()
    if keep < 1 or grace < datetime.timedelta(0):
        raise InputError("keep at least 1 version, and give a grace period that is not negative")
    store = open_store(store)
    store.check_format()
    run = _Run(store, grace, keep, limits or Limits(), on_event)
    return run.preview(begun) if dry_run else run.collect(wait, begun)


class _Run:
    """One run of the collector."""

    def __init__(
        self,
        store: Store,
        grace: datetime.timedelta,
        keep: int,
        limits: Limits,
        listen: events.Listener,
    ) -> None:
        self._store, self._grace, self._limits, self._listen = store, grace, limits, listen
        self._tolerance = min(_TOLERANCE, grace / 20)
        self._name = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}-{os.urandom(4).hex()}"
        self._live = LiveSet(store, grace=grace, keep=keep, limits=limits)

    def collect(self, wait: float, begun: float) -> Collected:
        """Sweep, condemn and clear."""
        now, eraser = self._probe()
        due, pending = self._condemned_sets(now)
        put_off, swept = "", (0, 0)
        try:
            if due:
                swept = self._sweep(due, now, wait, eraser)
            else:
                self._mark(now)
        except SweepPostponed as reason:
            put_off, pending = str(reason), [*due, *pending]
            self._mark(now)
        self._listen(events.Phase("condemn"))
        listing = list_all_chunks(self._store, self._limits)
        found = find_unreferenced(self._store, self._live, listing, pending, now)
        if found.versions or found.chunks:
            condemn(self._store, self._name, found.versions, found.chunks)
            pending = [*pending, CondemnedSet(self._name, now, ())]
        self._listen(events.Phase("clear"))
        # The removal of a ref is durable before the entries that it made useless go. What comes back of what `clear`
        # deletes does no harm.
        self._store.bucket.settle()
        cleared = clear(self._store, now, self._grace, eraser, self._live.signed)
        superseded = self._free_superseded(eraser.keeps_versions, found, now, write=True)
        return self._result(swept, eraser.freed, found, pending, superseded, cleared, put_off, begun)

    def preview(self, begun: float) -> Collected:
        """Return what `collect` would do, by this machine's clock, without a change to the store."""
        now = datetime.datetime.now(datetime.UTC)
        due, pending = self._condemned_sets(now)
        self._mark(now)
        listing = list_all_chunks(self._store, self._limits)
        versions, chunks, freed = preview_sweep(self._store, self._live, listing, due, self._tolerance)
        found = find_unreferenced(self._store, self._live, listing, [*due, *pending], now)
        found = found._replace(waiting=found.waiting - chunks)
        swept = versions, chunks
        superseded = self._free_superseded(self._keeps_versions(), found, now, write=False)
        return self._result(swept, freed, found, pending, superseded, 0, "", begun, dry_run=True)

    def _probe(self) -> tuple[datetime.datetime, Eraser]:
        """Return the server's time and an eraser; raise AccessDenied or, when clocks differ, StoreError."""
        key = layout.probe_key(self._name)
        self._store.bucket.put(key, b"{}", Kind.DOCUMENT)
        now = self._store.bucket.head(key).modified
        eraser = Eraser(self._store, key, self._limits, self._listen)
        eraser.erase(layout.COLLECTIONS, [key])
        eraser.freed = 0
        here = datetime.datetime.now(datetime.UTC)
        if abs(now - here) > _SKEW:
            raise StoreError(
                f"the clock of {self._store.url} says {timestamp(now)}, this machine's "
                f"{timestamp(here)}: set the one that is wrong; nothing was deleted"
            )
        return now, eraser

    def _keeps_versions(self) -> bool:
        try:
            return self._store.bucket.keeps_versions(layout.FORMAT_KEY)
        except AccessDenied as error:
            self._listen(events.Warned(f"superseded versions are not counted: {error}"))
            return False

    def _free_superseded(
        self, keeps_versions: bool, found: Unreferenced, now: datetime.datetime, *, write: bool
    ) -> tuple[int, int]:
        """Erase, or count, the superseded versions whose grace period is over; return their number and their bytes."""
        if not keeps_versions:
            return 0, 0
        chunks, before = len(self._live.chunks) + len(found.chunks) + found.waiting, now - self._grace
        return free_superseded(
            self._store, before, chunks=chunks, limits=self._limits, listen=self._listen, write=write
        )

    def _condemned_sets(self, now: datetime.datetime) -> tuple[list[CondemnedSet], list[CondemnedSet]]:
        """Return the sets whose grace period is over, and the others."""
        found = condemned_sets(self._store.bucket.list(layout.COLLECTIONS))
        due = [each for each in found if each.at <= now - self._grace]
        return due, [each for each in found if each not in due]

    def _mark(self, now: datetime.datetime) -> None:
        self._listen(events.Phase("resolve"))
        self._live.find_roots(now, self._listen)
        self._live.mark(self._listen)

    def _sweep(
        self, due: Sequence[CondemnedSet], now: datetime.datetime, wait: float, eraser: Eraser
    ) -> tuple[int, int]:
        """Sweep what is due; return how many versions and chunks were deleted, or raise SweepPostponed."""
        with Lease(self._store, layout.sweep_id(self._name), "cas gc") as mark:
            wait_for_publishers(self._store, mark, now, wait, self._listen)
            self._mark(now)
            self._listen(events.Phase("sweep"))
            swept = []
            for each in due:
                swept.append(sweep(self._store, mark, each, self._live, self._tolerance, eraser))
                eraser.erase(layout.COLLECTIONS, each.keys, check=mark.check)
            mark.check()
        return sum(versions for versions, _ in swept), sum(chunks for _, chunks in swept)

    def _result(
        self,
        swept: tuple[int, int],
        freed: int,
        found: Unreferenced,
        pending: Sequence[CondemnedSet],
        superseded: tuple[int, int],
        cleared: int,
        put_off: str,
        begun: float,
        *,
        dry_run: bool = False,
    ) -> Collected:
        first = min((each.at for each in pending), default=None)
        return Collected(
            kept_versions=len(self._live.versions),
            kept_chunks=len(self._live.chunks),
            swept_versions=swept[0],
            swept_chunks=swept[1],
            freed=freed,
            condemned_versions=len(found.versions),
            condemned_chunks=len(found.chunks),
            condemned=found.size,
            waiting=found.waiting,
            due="" if first is None else timestamp(first + self._grace),
            superseded_versions=superseded[0],
            superseded=superseded[1],
            cleared=cleared,
            put_off=put_off,
            seconds=time.monotonic() - begun,
            dry_run=dry_run,
        )
