"""Leases: while a publisher holds a lease nothing is swept, and while a sweep is under way no publisher starts.

Mutual exclusion without compare-and-swap: each side writes its own marker first and lists the other's second, so at
least one of two concurrent parties sees the other. Publishers then wait; the collector backs off.

    leases/<id>-<seq:06d>.json      what a publisher is doing, for how long the entry counts, and whether it waits
    gc/<run>-sweep-<seq:06d>.json   a sweep under way, of the same form

This module is the publishers' side; the collector's is `cas.ops.gc.sweep`.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
from collections.abc import Iterator
from functools import partial

from cas import events
from cas.errors import CasError
from cas.parallel import BackgroundCall
from cas.store import layout
from cas.store.condemned import condemned_chunks, condemned_sets
from cas.store.lease_entries import Lease, LeaseLost, active_leases
from cas.store.store import Store

_POLL = 2.0  # seconds between two looks at a sweep that a publisher waits for
_EXIT_WAIT = 10.0  # seconds that an interrupted publish gives its lease to be acquired, so that it can be ended


class LeaseHandle:
    """An acquired lease to publish under."""

    def __init__(self, store: Store, lease: Lease) -> None:
        self._store, self._lease = store, lease
        self._reading = threading.Lock()
        self._condemned: frozenset[bytes] | None = None

    def check(self) -> None:
        """Raise LeaseLost if the lease lapsed; call this before a ref is written, and again after."""
        self._lease.check()

    def is_condemned(self, digest: str) -> bool:
        """Return whether a collector has condemned a chunk (64 hex), which then counts as absent.

        The lists of condemned chunks are read once, by the first call.
        """
        with self._reading:
            if self._condemned is None:
                sets = condemned_sets(self._store.bucket.list(layout.COLLECTIONS))
                self._condemned = frozenset(chunk for each in sets for chunk in condemned_chunks(self._store, each))
        return bool(self._condemned) and bytes.fromhex(digest) in self._condemned


@contextlib.contextmanager
def hold_lease(
    store: Store,
    purpose: str,
    listen: events.Listener = events.ignore,
    abandoned: threading.Event | None = None,
) -> Iterator[LeaseHandle]:
    """Hold a lease for as long as the context lasts; wait first for a sweep that is under way.

    Args:
        store: whose chunks and manifests must not be swept meanwhile.
        purpose: what the lease is for, to be shown to a collector's user.
        listen: is told when a sweep is waited for.
        abandoned: ends the waiting when it is set.

    Raises:
        LeaseLost: `abandoned` was set while a sweep was waited for.
    """
    with Lease(store, layout.lease_id(os.urandom(8).hex()), purpose) as lease:
        _wait_for_sweeps(store, lease, listen, abandoned or threading.Event())
        yield LeaseHandle(store, lease)


class LazyLease:
    """A lease that is acquired when something first depends on it; a context manager.

    An unchanged publish depends on nothing, and so never acquires it.
    """

    def __init__(self, store: Store, purpose: str, listen: events.Listener) -> None:
        """Prepare a lease; the arguments are those of `hold_lease`."""
        self._abandoned = threading.Event()
        self._context = hold_lease(store, purpose, listen, self._abandoned)
        self._starting = threading.Lock()
        self._acquisition: BackgroundCall[LeaseHandle] | None = None

    def __enter__(self) -> LazyLease:
        return self

    def __exit__(self, *_: object) -> None:
        self._abandoned.set()  # the user who interrupts a publish does not want to wait for a sweep
        if self._acquisition is not None and self._acquisition.ends_within(_EXIT_WAIT):
            with contextlib.suppress(CasError):
                self._acquisition.result()
                self._context.__exit__(None, None, None)

    def start_acquiring(self) -> bool:
        """Start to acquire the lease in a thread of its own, and return True, unless that was started before."""
        with self._starting:
            if self._acquisition is not None:
                return False
            self._acquisition = BackgroundCall(self._context.__enter__)
            return True

    def is_condemned(self, digest: str) -> bool:
        """Return `LeaseHandle.is_condemned`; acquire the lease first, and wait until it is acquired."""
        self.start_acquiring()
        assert self._acquisition is not None
        return self._acquisition.result().is_condemned(digest)

    def check(self) -> None:
        """Raise LeaseLost if the lease lapsed; a lease that was never acquired protects nothing, and passes."""
        if self._acquisition is not None:
            self._acquisition.result().check()


def _wait_for_sweeps(store: Store, lease: Lease, listen: events.Listener, abandoned: threading.Event) -> None:
    """Return once `lease` was in the store, and did not say that it waits, at a moment without a sweep."""
    now = partial(server_time, store, lease)
    announced = False
    while sweeps := active_leases(store, store.bucket.list(layout.COLLECTIONS), now):
        if not announced:
            listen(events.Phase("wait"))
            by, since = sweeps[0].by, f"{sweeps[0].written:%H:%M:%S} UTC"
            listen(events.Noted(f"waiting for {sweeps[0].purpose} by {by}, at work since {since}"))
            announced = True
        lease.write(waits=True)
        while active_leases(store, store.bucket.list(layout.COLLECTIONS), now):
            if abandoned.wait(_POLL):
                raise LeaseLost(f"{sweeps[0].purpose} by {sweeps[0].by} was not waited for")
        lease.write(waits=False)


def server_time(store: Store, lease: Lease) -> datetime.datetime:
    """Return the server's time now; writes an entry of `lease` to learn it."""
    return store.bucket.head(lease.write()).modified
