"""Garbage collection: what nothing needs is condemned first, and deleted by a later run.

In this order, so that nothing anybody needs is ever deleted (docs/design.md): a probe tells the server's time and
whether this key may delete; what earlier runs condemned at least the grace period ago is swept, while nobody publishes;
what is unreferenced now is condemned; old entries of refs, stale leases and abandoned uploads are cleared away.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cas import events
from cas.bucket import Entry, Kind
from cas.config import Limits
from cas.errors import InputError, StoreError
from cas.formats.manifest import timestamp
from cas.ops.gc.erase import Eraser
from cas.ops.gc.live import Live
from cas.ops.gc.sweep import PutOff, alone, sweep
from cas.refs import reflog
from cas.refs.reflog import KEPT
from cas.store import condemned, layout, leases, lookup
from cas.store.condemned import Condemnation
from cas.store.layout import VersionId
from cas.store.leases import Lease
from cas.store.store import Store, open_store

GRACE = datetime.timedelta(hours=24)

# Clocks that differ by more are not believed: one of them would condemn or sweep too early.
_SKEW = datetime.timedelta(minutes=15)
_TOLERANCE = datetime.timedelta(seconds=60)
_RECEIPTS_STAY = datetime.timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Collected:
    """What a run did; for a dry run, what it would do.

    kept_versions, kept_chunks: what is live. swept_versions, swept_chunks: deleted, as condemned by an earlier run.
    freed: stored bytes of all that was deleted. condemned_versions, condemned_chunks, condemned: found unreferenced
    now, and their stored bytes. waiting: chunks condemned before whose time has not come. due: when the first of what
    is condemned may be swept, empty when nothing is. cleared: entries of refs, leases, receipts and uploads that had
    had their day. put_off: why nothing was swept though it was time, empty when not.
    """

    kept_versions: int
    kept_chunks: int
    swept_versions: int
    swept_chunks: int
    freed: int
    condemned_versions: int
    condemned_chunks: int
    condemned: int
    waiting: int
    due: str
    cleared: int
    put_off: str
    seconds: float
    dry_run: bool = False


def gc(
    store: Store | str | None = None,
    *,
    grace: datetime.timedelta = GRACE,
    keep: int = KEPT,
    dry_run: bool = False,
    wait: float = 60.0,
    limits: Limits | None = None,
    on_event: events.Listener = events.ignore,
) -> Collected:
    """Deletes what an earlier run condemned and nothing needs, and condemns what nothing needs now.

    store: an open one, a URL, or None for the default. grace: how long anything is left alone after it was written, and
    after it was condemned. keep: how many versions each tag and pin keeps, the current one among them. dry_run:
    change nothing. wait: seconds to wait for publishers before the sweep is put off. Raises InputError; StoreError
    beside another collector, without permission to delete, or when clocks differ; IntegrityError or FormatError for
    anything kept that cannot be read. Nothing has been deleted then.
    """
    begun = time.monotonic()
    if keep < 1 or grace < datetime.timedelta(0):
        raise InputError("keep at least 1 version, and give a grace period that is not negative")
    held = open_store(store)
    held.check_format()
    run = _Run(held, grace, keep, limits or Limits(), on_event)
    return run.dry(begun) if dry_run else run.collect(wait, begun)


class _Garbage(NamedTuple):
    """What nothing needs. chunks: digests (32 bytes). size: stored bytes. waiting: chunks condemned before."""

    versions: list[VersionId]
    chunks: list[bytes]
    size: int
    waiting: int


class _Run:
    """One run under way."""

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
        self._live = Live(store, grace=grace, keep=keep, limits=limits)

    def collect(self, wait: float, begun: float) -> Collected:
        """Sweeps, condemns and clears away."""
        now, eraser = self._probe()
        ripe, pending = self._condemnations(now)
        put_off, swept = "", (0, 0)
        try:
            if ripe:
                swept = self._sweep(ripe, now, wait, eraser)
            else:
                self._look(now)
        except PutOff as reason:
            put_off, pending = str(reason), [*ripe, *pending]
            self._look(now)
        self._listen(events.Phase("condemn"))
        garbage = self._garbage(pending, now)
        if garbage.versions or garbage.chunks:
            condemned.condemn(self._store, self._name, garbage.versions, garbage.chunks)
            pending = [*pending, Condemnation(self._name, now, ())]
        self._listen(events.Phase("clear"))
        cleared = self._clear(now, eraser)
        return self._told(swept, eraser.freed, garbage, pending, cleared, put_off, begun)

    def dry(self, begun: float) -> Collected:
        """What `collect` would do, by this machine's clock."""
        now = datetime.datetime.now(datetime.UTC)
        ripe, pending = self._condemnations(now)
        self._look(now)
        doomed = {digest: one.at for one in ripe for digest in condemned.chunks_of(self._store, one)}
        versions = {version: one.at for one in ripe for version in condemned.manifests_of(self._store, one)}
        gone = [
            entry for entry in self._unreferenced()
            if (at := doomed.get(_digest(entry))) and entry.modified < at - self._tolerance
        ]  # fmt: skip
        manifests = [
            self._live.manifests[version] for version in self._live.unneeded()
            if (at := versions.get(version)) and self._live.manifests[version].modified < at - self._tolerance
        ]  # fmt: skip
        garbage = self._garbage([*ripe, *pending], now)
        garbage = garbage._replace(waiting=garbage.waiting - len(gone))
        freed = sum(entry.size for entry in (*gone, *manifests))
        return self._told((len(manifests), len(gone)), freed, garbage, pending, 0, "", begun, dry_run=True)

    def _probe(self) -> tuple[datetime.datetime, Eraser]:
        """The server's time, and what erases; raises AccessDenied without permission, StoreError when clocks differ."""
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

    def _condemnations(self, now: datetime.datetime) -> tuple[list[Condemnation], list[Condemnation]]:
        """Those that may be swept now, and those that may not yet."""
        found = condemned.condemnations(self._store.bucket.list(layout.COLLECTIONS))
        ripe = [one for one in found if one.at <= now - self._grace]
        return ripe, [one for one in found if one not in ripe]

    def _look(self, now: datetime.datetime) -> None:
        self._listen(events.Phase("resolve"))
        self._live.find(now)
        self._live.mark(self._listen)

    def _sweep(
        self, ripe: Sequence[Condemnation], now: datetime.datetime, wait: float, eraser: Eraser
    ) -> tuple[int, int]:
        """How many versions and chunks were deleted; raises PutOff."""
        with Lease(self._store, layout.sweep_id(self._name), "cas gc") as mark:
            alone(self._store, mark, now, wait, self._listen)
            self._look(now)
            self._listen(events.Phase("sweep"))
            swept = []
            for one in ripe:
                swept.append(sweep(self._store, mark, one, self._live, self._tolerance, eraser))
                eraser.erase(layout.COLLECTIONS, one.keys, allowed=mark.check)
            mark.check()
        return sum(versions for versions, _ in swept), sum(chunks for _, chunks in swept)

    def _unreferenced(self) -> list[Entry]:
        """Chunks in the store that nothing kept consists of."""
        found: list[Entry] = []

        def visit(digest: str, entry: Entry) -> None:
            if bytes.fromhex(digest) not in self._live.chunks:
                found.append(entry)

        lookup.list_chunks(self._store, visit, self._limits)
        return found

    def _garbage(self, pending: Sequence[Condemnation], now: datetime.datetime) -> _Garbage:
        """What nothing needs and no run has condemned; what came after `now` may be on its way to be needed."""
        known = {digest for one in pending for digest in condemned.chunks_of(self._store, one)}
        known_versions = {version for one in pending for version in condemned.manifests_of(self._store, one)}
        entries = [one for one in self._unreferenced() if one.modified <= now]
        fresh = [entry for entry in entries if _digest(entry) not in known]
        versions = [one for one in self._live.unneeded() if one not in known_versions]
        size = sum(entry.size for entry in fresh) + sum(self._live.manifests[one].size for one in versions)
        return _Garbage(versions, [_digest(entry) for entry in fresh], size, len(entries) - len(fresh))

    def _clear(self, now: datetime.datetime, eraser: Eraser) -> int:
        """Removes what has had its day, and returns how many objects."""
        bucket, count = self._store.bucket, 0
        for log in reflog.logs(self._store):
            listed = log.listed()
            gone = listed[:-KEPT]
            if log.current_digest() is None and listed[-1].modified < now - self._grace:
                gone = listed
            count += eraser.erase(log.ref.prefix, [entry.key for entry in gone])
        probes = [one.key for one in bucket.list(layout.COLLECTIONS) if layout.is_probe(one.key)]
        count += eraser.erase(layout.COLLECTIONS, probes)  # of runs that might not delete
        for folder in (layout.LEASES, layout.COLLECTIONS):
            count += eraser.erase(folder, leases.stale(self._store, folder, now))
        old = [entry.key for entry in bucket.list(layout.RECEIPTS) if entry.modified < now - _RECEIPTS_STAY]
        count += eraser.erase(layout.RECEIPTS, old)
        for upload in bucket.multipart_uploads():
            if upload.begun < now - self._grace:
                bucket.abort(upload)
                count += 1
        return count

    def _told(
        self,
        swept: tuple[int, int],
        freed: int,
        garbage: _Garbage,
        pending: Sequence[Condemnation],
        cleared: int,
        put_off: str,
        begun: float,
        *,
        dry_run: bool = False,
    ) -> Collected:
        due = min((one.at for one in pending), default=None)
        return Collected(
            kept_versions=len(self._live.versions),
            kept_chunks=len(self._live.chunks),
            swept_versions=swept[0],
            swept_chunks=swept[1],
            freed=freed,
            condemned_versions=len(garbage.versions),
            condemned_chunks=len(garbage.chunks),
            condemned=garbage.size,
            waiting=garbage.waiting,
            due="" if due is None else timestamp(due + self._grace),
            cleared=cleared,
            put_off=put_off,
            seconds=time.monotonic() - begun,
            dry_run=dry_run,
        )


def _digest(entry: Entry) -> bytes:
    return bytes.fromhex(entry.key.rpartition("/")[2])
