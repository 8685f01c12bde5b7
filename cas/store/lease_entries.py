"""Entries of leases and sweeps: writing and renewing one's own, and reading those of others.

A lease is a log of entries below `leases/`, and the mark of a sweep a log of the same form below `gc/`. The holder
renews it by writing the next entry, and ends it with an entry of 0 seconds, because a publisher's key may not be
allowed to delete. The age of an entry is told by the server's clock alone.
"""

from __future__ import annotations

import contextlib
import datetime
import threading
import time
from collections.abc import Callable, Iterable
from typing import Annotated, NamedTuple

import msgspec

from cas.bucket import Entry, Kind
from cas.config import lease_seconds
from cas.errors import CasError, FormatError, ObjectMissing, StoreError
from cas.formats.manifest import Text
from cas.formats.typed_json import JsonFormat
from cas.host import whoami
from cas.store import layout
from cas.store.layout import LeaseEntry
from cas.store.store import Store

# Others trust an entry for the whole of its seconds. Its owner trusts it for the first share of them only, and writes
# the next entry after the second share.
_OWN_SHARE, _RENEWAL_SHARE = 0.5, 0.125
_UNREADABLE = 600  # seconds for which an entry that cannot be read counts

# CLOCK_MONOTONIC stands still while a machine sleeps, and a lease does not.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class LeaseLost(StoreError):
    """A lease was not renewed in time: the machine slept, or the store was away."""


class _LeaseDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of an entry; the fields are documented in docs/design.md ("Collecting")."""

    by: Text
    purpose: Text
    seconds: Annotated[int, msgspec.Meta(ge=0, le=86_400)]
    waits: bool = False


_DOCUMENTS = JsonFormat[_LeaseDocument](_LeaseDocument)


class ActiveLease(NamedTuple):
    """Somebody's lease or sweep, as its last entry describes it.

    Attributes:
        id: what the keys of its entries begin with.
        written: when the last entry was written, by the server's clock.
        until: how long that entry counts, by the server's clock.
        by: user and host of the holder.
        purpose: what the holder is doing.
        waits: whether the holder waits for a sweep, which then need not wait for it.
    """

    id: str
    written: datetime.datetime
    until: datetime.datetime
    by: str
    purpose: str
    waits: bool


class Lease:
    """A lease of this process, or the mark of its sweep; use as a context manager.

    A thread renews it while the context lasts.

    Attributes:
        id: what the keys of its entries begin with.
        lapsed: whether it was once not renewed in time.
    """

    def __init__(self, store: Store, identity: str, purpose: str, seconds: int | None = None) -> None:
        """Prepare a lease; the first entry is written when the context is entered.

        Args:
            store: where the entries are written.
            identity: what their keys begin with, from `layout.lease_id` or `layout.sweep_id`.
            purpose: what it is for, to be shown to others who wait.
            seconds: how long others trust each entry; None for CAS_LEASE_SECONDS.
        """
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
        with contextlib.suppress(CasError):  # an entry that is not renewed ends by itself
            self.write(seconds=0)

    def write(self, *, seconds: int | None = None, waits: bool | None = None) -> str:
        """Write the next entry and return its key.

        Args:
            seconds: how long others trust the entry, 0 to end the lease; None for the lease's own seconds.
            waits: whether the holder waits for a sweep from now on; None for no change.
        """
        with self._writing:
            self._waits = self._waits if waits is None else waits
            self._sequence += 1
            begun = time.clock_gettime(_CLOCK)
            key = layout.lease_entry_key(LeaseEntry(self.id, self._sequence))
            trusted = self._seconds if seconds is None else seconds
            document = _LeaseDocument(self._by, self._purpose, trusted, self._waits)
            self._store.bucket.put(key, _DOCUMENTS.encode(document), Kind.DOCUMENT)
            self.lapsed |= 0 < self._good_until < time.clock_gettime(_CLOCK)
            self._good_until = begun + self._seconds * _OWN_SHARE
            return key

    def check(self) -> None:
        """Raise LeaseLost if the lease was ever not renewed in time, even if it was renewed since."""
        self.lapsed |= self._good_until < time.clock_gettime(_CLOCK)
        if self.lapsed:
            raise LeaseLost(
                f"{self._purpose}: this machine slept, or could not write to {self._store.url}, for more than "
                f"{self._seconds * _OWN_SHARE:.0f} s, and a collector may have been at work: run the same command again"
            )

    def _renew(self) -> None:
        while not self._ended.wait(self._seconds * _RENEWAL_SHARE):
            with contextlib.suppress(CasError):  # the next entry may succeed; `check` says when it was too late
                self.write()


def active_leases(store: Store, listed: Iterable[Entry], now: Callable[[], datetime.datetime]) -> list[ActiveLease]:
    """Return the leases and sweeps among the objects `listed` that have neither ended nor run out.

    An entry that cannot be read counts for 600 seconds.

    Args:
        store: where the entries are read.
        listed: objects below `leases/` or `gc/`.
        now: returns the server's time; called only if there may be an active lease.
    """
    last: dict[str, tuple[int, Entry]] = {}
    for entry in listed:
        if parsed := layout.lease_entry(entry.key):
            last[parsed.id] = max(last.get(parsed.id, (0, entry)), (parsed.sequence, entry))
    read = [_read(store, identity, entry) for identity, (_, entry) in sorted(last.items())]
    not_ended = [lease for lease in read if lease.until > lease.written]
    if not not_ended:
        return []
    time_now = now()
    return [lease for lease in not_ended if lease.until > time_now]


def obsolete_entries(store: Store, folder: str, now: datetime.datetime) -> tuple[list[str], list[str]]:
    """Return the keys of entries that have no effect any more, in two lists.

    Args:
        store: where the entries are.
        folder: `layout.LEASES` or `layout.COLLECTIONS`.
        now: the server's time.

    Returns:
        The entries that another entry follows, and the last entries of leases that ended or ran out. The second list
        may be deleted only after the first: without the entry that ends a lease, the entry before it is in force.
    """
    listed = [entry for entry in store.bucket.list(folder) if layout.lease_entry(entry.key)]
    active = {lease.id for lease in active_leases(store, listed, lambda: now)}
    last = {entry.key.rpartition("-")[0]: entry.key for entry in listed}  # listings are ordered by key
    followed = [entry.key for entry in listed if entry.key not in last.values()]
    return followed, [key for lease, key in last.items() if lease not in active]


def _read(store: Store, identity: str, entry: Entry) -> ActiveLease:
    def parse(data: bytes) -> _LeaseDocument:
        try:
            return _DOCUMENTS.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise FormatError(f"{entry.key} in {store.url} is malformed: {error}") from None

    try:
        document = store.get_document(entry.key, 64 * 1024, parse)
    except ObjectMissing:
        document = _LeaseDocument("", "", 0)
    except FormatError:
        document = _LeaseDocument("somebody", f"what {entry.key} stands for", _UNREADABLE)
    until = entry.modified + datetime.timedelta(seconds=document.seconds)
    return ActiveLease(identity, entry.modified, until, document.by, document.purpose, document.waits)
