"""Leases: while one is live nothing is swept, and while a sweep is under way nobody begins to rely on anything.

    leases/<id>-<seq:06d>.json    what somebody is doing, how long this holds, and whether it waits for a sweep
    gc/<run>-sweep-<seq:06d>.json a sweep under way, of the same form

Each is renewed by writing its next entry, and ends with an entry of no seconds: a publisher may not delete. Who takes a
lease writes it, and then looks for sweeps; who sweeps says so, and then looks for leases. So whoever comes second sees
the first: a publisher waits, a collector gives up. Ages are told by the server's clock alone.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Annotated, NamedTuple

import msgspec

from cas import events
from cas.bucket import Entry, Kind
from cas.config import lease_seconds
from cas.errors import CasError, FormatError, ObjectMissing, StoreError
from cas.formats.manifest import Text
from cas.host import whoami
from cas.parallel import BackgroundCall
from cas.store import condemned, layout
from cas.store.layout import LeaseEntry
from cas.store.store import Store

# An entry's owner trusts it for this share of the time for which others do, and renews it after that one.
_OWN_SHARE, _RENEWAL_SHARE = 0.5, 0.125
_UNREADABLE = 600  # seconds
_POLL = 2.0  # seconds
_LAST_WAIT = 10.0

# CLOCK_MONOTONIC stands still while a machine sleeps, and a lease does not.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class LeaseLost(StoreError):
    """A lease was not renewed in time: the machine slept, or the store was away."""


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    by: Text
    purpose: Text
    seconds: Annotated[int, msgspec.Meta(ge=0, le=86_400)]
    waits: bool = False


class Holder(NamedTuple):
    """Somebody's last entry. at: when it was written; until: how long it holds; both by the server's clock."""

    id: str
    at: datetime.datetime
    until: datetime.datetime
    by: str
    purpose: str
    waits: bool


class Lease:
    """One lease, or the mark of one sweep, renewed by a thread of its own; use as a context manager."""

    def __init__(self, store: Store, identity: str, purpose: str, seconds: int | None = None) -> None:
        """identity: what its entries' keys begin with. seconds: how long others believe each, if not the setting."""
        self._store, self.id, self._purpose = store, identity, purpose
        self._seconds = seconds or lease_seconds()
        self._by = whoami()
        self._waits = False
        self._sequence = 0
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._good_until = 0.0
        self.lapsed = False

    def __enter__(self) -> Lease:
        self.write()
        threading.Thread(target=self._renew, name="cas-lease", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with contextlib.suppress(CasError):  # it ends by itself
            self.write(seconds=0)

    def write(self, *, seconds: int | None = None, waits: bool | None = None) -> str:
        """Writes the next entry, and returns its key."""
        with self._writing:
            self._waits = self._waits if waits is None else waits
            self._sequence += 1
            begun = time.clock_gettime(_CLOCK)
            key = layout.lease_entry_key(LeaseEntry(self.id, self._sequence))
            held = self._seconds if seconds is None else seconds
            document = _Document(self._by, self._purpose, held, self._waits)
            self._store.bucket.put(key, msgspec.json.encode(document), Kind.DOCUMENT)
            self.lapsed |= 0 < self._good_until < time.clock_gettime(_CLOCK)
            self._good_until = begun + self._seconds * _OWN_SHARE
            return key

    def check(self) -> None:
        """Raises LeaseLost when it was not renewed in time, even if it was renewed since."""
        self.lapsed |= self._good_until < time.clock_gettime(_CLOCK)
        if self.lapsed:
            raise LeaseLost(
                f"{self._purpose}: this machine slept, or could not write to {self._store.url}, for more than "
                f"{self._seconds * _OWN_SHARE:.0f} s, and a collector may have been at work: run the same command again"
            )

    def _renew(self) -> None:
        while not self._ended.wait(self._seconds * _RENEWAL_SHARE):
            with contextlib.suppress(CasError):  # the next may succeed; `check` says when it was too late
                self.write()


class LeaseHandle:
    """A lease to publish under."""

    def __init__(self, store: Store, lease: Lease) -> None:
        self._store, self._lease = store, lease
        self._reading = threading.Lock()
        self._condemned: frozenset[bytes] | None = None

    def check(self) -> None:
        """Raises LeaseLost; to be asked before a ref is written, and after."""
        self._lease.check()

    def is_condemned(self, digest: str) -> bool:
        """Whether a collector has condemned a chunk (64 hex), which then counts as absent; reads the lists once."""
        with self._reading:
            if self._condemned is None:
                lists = condemned.condemnations(self._store.bucket.list(layout.COLLECTIONS))
                self._condemned = frozenset(one for each in lists for one in condemned.chunks_of(self._store, each))
        return bool(self._condemned) and bytes.fromhex(digest) in self._condemned


@contextlib.contextmanager
def hold(
    store: Store,
    purpose: str,
    listen: events.Listener = events.ignore,
    abandoned: threading.Event | None = None,
) -> Iterator[LeaseHandle]:
    """A lease for as long as the context lasts; waits for a sweep that is under way.

    purpose: what it is for, to be shown to a collector's user. abandoned: ends the waiting, with LeaseLost.
    """
    with Lease(store, layout.lease_id(os.urandom(8).hex()), purpose) as lease:
        _wait_for_sweeps(store, lease, listen, abandoned or threading.Event())
        yield LeaseHandle(store, lease)


class LazyLease:
    """A lease that is taken when something depends on it, which an unchanged publish does not; a context manager."""

    def __init__(self, store: Store, purpose: str, listen: events.Listener) -> None:
        """As for `hold`."""
        self._abandoned = threading.Event()
        self._holding = hold(store, purpose, listen, self._abandoned)
        self._beginning = threading.Lock()
        self._later: BackgroundCall[LeaseHandle] | None = None

    def __enter__(self) -> LazyLease:
        return self

    def __exit__(self, *_: object) -> None:
        self._abandoned.set()  # whoever interrupts a publish does not want to wait for a sweep
        if self._later is not None and self._later.ends_within(_LAST_WAIT):
            with contextlib.suppress(CasError):
                self._later.result()
                self._holding.__exit__(None, None, None)

    def begin(self) -> None:
        """Begins to take it in a thread of its own, unless that was done."""
        with self._beginning:
            self._later = self._later or BackgroundCall(self._holding.__enter__)

    def is_condemned(self, digest: str) -> bool:
        """As LeaseHandle.is_condemned; takes the lease, and waits until it is taken."""
        self.begin()
        assert self._later is not None
        return self._later.result().is_condemned(digest)

    def check(self) -> None:
        """As LeaseHandle.check; who took none depends on nothing that could be swept."""
        if self._later is not None:
            self._later.result().check()


def _wait_for_sweeps(store: Store, lease: Lease, listen: events.Listener, abandoned: threading.Event) -> None:
    """Returns when this lease was there to be seen at a moment without a sweep."""
    now = partial(_server_time, store, lease)
    told = False
    while sweeps := holders(store, store.bucket.list(layout.COLLECTIONS), now):
        if not told:
            listen(events.Phase("wait"))
            by, since = sweeps[0].by, f"{sweeps[0].at:%H:%M:%S} UTC"
            listen(events.Noted(f"waiting for {sweeps[0].purpose} by {by}, at work since {since}"))
            told = True
        lease.write(waits=True)
        while holders(store, store.bucket.list(layout.COLLECTIONS), now):
            if abandoned.wait(_POLL):
                raise LeaseLost(f"{sweeps[0].purpose} by {sweeps[0].by} was not waited for")
        lease.write(waits=False)


def _server_time(store: Store, lease: Lease) -> datetime.datetime:
    return store.bucket.head(lease.write()).modified


def holders(store: Store, listed: Iterable[Entry], now: Callable[[], datetime.datetime]) -> list[Holder]:
    """The live leases, or sweeps, among the objects `listed`. now: asks the server for its time, when there are any.

    An entry that cannot be read counts as live for as long as any may be.
    """
    last: dict[str, tuple[int, Entry]] = {}
    for entry in listed:
        if one := layout.lease_entry(entry.key):
            last[one.id] = max(last.get(one.id, (0, entry)), (one.sequence, entry))
    read = [_holder(store, identity, entry) for identity, (_, entry) in sorted(last.items())]
    held = [one for one in read if one.until > one.at]
    if not held:
        return []
    time_now = now()
    return [one for one in held if one.until > time_now]


def stale(store: Store, folder: str, now: datetime.datetime) -> list[str]:
    """Keys of the entries in `leases/` or `gc/` that say nothing any more: ended, not renewed, or followed by another.

    now: the server's time.
    """
    listed = [entry for entry in store.bucket.list(folder) if layout.lease_entry(entry.key)]
    live = {one.id for one in holders(store, listed, lambda: now)}
    last = {entry.key.rpartition("-")[0]: entry.key for entry in listed}  # as they are in order
    return [entry.key for entry in listed if entry.key.rpartition("-")[0] not in live or entry.key not in last.values()]


def _holder(store: Store, identity: str, entry: Entry) -> Holder:
    def read(data: bytes) -> _Document:
        try:
            return msgspec.json.decode(data, type=_Document)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise FormatError(f"{entry.key} in {store.url} is malformed: {error}") from None

    try:
        document = store.get_document(entry.key, 64 * 1024, read)
    except ObjectMissing:
        document = _Document("", "", 0)
    except FormatError:
        document = _Document("somebody", f"what {entry.key} stands for", _UNREADABLE)
    until = entry.modified + datetime.timedelta(seconds=document.seconds)
    return Holder(identity, entry.modified, until, document.by, document.purpose, document.waits)
