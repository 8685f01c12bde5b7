"""Mutable names for manifests: append-only logs, so that no update is ever lost and history comes free.

The last entry in name order is the current one. Appending never overwrites: correct on storage without
conditional writes, and two writers at once both leave their entry and both see who won.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from cas.bucket import Entry, Kind
from cas.errors import FormatError, ObjectMissing, RefMoved, StoreError
from cas.formats.digest import hex_of, named, parse
from cas.formats.manifest import DigestName, Text, Time, now
from cas.parallel import for_each
from cas.store import layout
from cas.store.layout import RefKind
from cas.store.store import Store

KEPT = 20
"""Entries at the end of a log that are never trimmed."""

_REQUESTS = 16
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class RefEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One move of a ref: to which manifest, when by the mover's clock, by whom and why. manifest: None removes it."""

    manifest: DigestName | None
    created: Time
    by: Text
    reason: Text

    @property
    def digest(self) -> str | None:
        """The manifest's 64 hex digits."""
        return None if self.manifest is None else parse(self.manifest)


class Move(NamedTuple):
    """An entry where it stands. name: its own in the log. at: when it was written, by the server's clock."""

    name: str
    at: datetime.datetime
    entry: RefEntry


UNSET = Move("", datetime.datetime.min.replace(tzinfo=datetime.UTC), RefEntry(None, "0001-01-01T00:00:00Z", "", ""))
"""What to expect of a ref that was never set: no move at all."""


class Ref(NamedTuple):
    """Which ref: the tag `second` of the model `first`, or the pin of the model `second` by the deployment `first`."""

    kind: RefKind
    first: str
    second: str

    @property
    def model(self) -> str:
        """The model that it names versions of."""
        return self.first if self.kind == "tags" else self.second

    @property
    def prefix(self) -> str:
        """The folder of its log."""
        return layout.ref_folder(self.kind, self.first, self.second)

    def __str__(self) -> str:
        return f"{self.first}:{self.second}" if self.kind == "tags" else f"pin:{self.first}/{self.second}"


class RefLog:
    """The history of one ref."""

    def __init__(self, store: Store, ref: Ref, listed: Sequence[Entry] | None = None) -> None:
        """listed: its entries, where somebody has listed them already."""
        self._store, self.ref, self._listed = store, ref, listed

    def listed(self) -> list[Entry]:
        """Its entries as the bucket shows them, oldest first; empty when the ref was never set."""
        found = self._store.bucket.list(self.ref.prefix) if self._listed is None else self._listed
        mine = [one for one in found if (entry := layout.ref_entry(one.key)) and Ref(*entry[:3]) == self.ref]
        return sorted(mine, key=lambda one: _order(_name(one)))

    def names(self) -> list[str]:
        """Entry names, oldest first; empty when the ref was never set."""
        return [_name(one) for one in self.listed()]

    def read(self, name: str) -> RefEntry:
        """One entry; raises FormatError when it is not one."""
        key = f"{self.ref.prefix}/{name}"

        def read(data: bytes) -> RefEntry:
            try:
                return msgspec.json.decode(data, type=RefEntry)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                raise FormatError(f"{key} in {self._store.url} is malformed ({error}): set {self.ref} again") from None

        return self._store.get_document(key, 64 * 1024, read)

    def current(self) -> RefEntry | None:
        """The entry in force, None when the ref was never set."""
        for _ in range(3):
            names = self.names()
            if not names:
                return None
            try:
                return self.read(names[-1])
            except ObjectMissing:
                self._listed = None  # trimmed between listing and reading: list again
        raise StoreError(f"{self.ref} in {self._store.url}: its entries vanish while they are read; try again")

    def current_digest(self) -> str | None:
        """The digest (64 hex) in force, None when the ref was never set or is removed."""
        entry = self.current()
        return None if entry is None else entry.digest

    def history(self, last: int | None = None) -> list[Move]:
        """Its moves, oldest first, those trimmed meanwhile left out. last: no more than so many, the newest ones.

        Raises FormatError for an entry that cannot be read.
        """
        moves = []
        for one in self.listed()[-last if last else None :]:
            try:
                moves.append(Move(_name(one), one.modified, self.read(_name(one))))
            except ObjectMissing:
                continue
        return moves

    def append(self, digest: str | None, reason: str, by: str | None = None, *, expect: Move | None = None) -> RefEntry:
        """Moves the ref to a manifest (64 hex), or removes it (None).

        expect: the move that must still be the last one, UNSET for none. Raises RefMoved when it is not, or when
        somebody else's move of the same moment won.
        """
        self._listed = None
        names = self.names()
        sequence = _order(names[-1])[0] + 1 if names else 1
        mine = layout.ref_entry_name(sequence, os.urandom(8).hex())
        if expect is not None:
            if (names or [UNSET.name])[-1] != expect.name:
                raise RefMoved(str(self.ref), self._now_named(names), expected=shown(expect.entry))
            # Whoever expects the same writes under the same name, of which a store that honours conditional
            # writes has one.
            mine = layout.ref_entry_name(sequence, hex_of(expect.name.encode())[:16])
        from cas.host import whoami

        entry = RefEntry(None if digest is None else named(digest), now(), _text(by or whoami()), _text(reason))
        kept = self._store.bucket.put(f"{self.ref.prefix}/{mine}", msgspec.json.encode(entry), Kind.DOCUMENT)
        names = self.names()
        winner = max((name for name in names if _order(name)[0] == sequence), default=mine)
        if winner > mine or not kept:
            raise RefMoved(str(self.ref), shown(self.read(winner)))
        return entry

    def _now_named(self, names: Sequence[str]) -> str:
        return shown(self.read(names[-1]) if names else UNSET.entry)


def logs(store: Store, kind: str = "", first: str = "") -> list[RefLog]:
    """Every ref's log, ordered by ref. kind: `tags` or `pins`. first: the model, or the deployment, they are of."""
    found: dict[Ref, list[Entry]] = {}
    for entry in store.bucket.list(layout.ref_folder(*filter(None, (kind, first)))):
        if parts := layout.ref_entry(entry.key):
            found.setdefault(Ref(*parts[:3]), []).append(entry)
    return [RefLog(store, ref, entries) for ref, entries in sorted(found.items())]


def current(store: Store, kind: RefKind, first: str = "") -> dict[Ref, str | None]:
    """The digest (64 hex) that each ref names now; None where its entry cannot be read. Removed ones are left out."""
    found: dict[Ref, str | None] = {}
    listed = logs(store, kind, first)

    def read(log: RefLog) -> None:
        try:
            digest = log.current_digest()
        except FormatError:
            found[log.ref] = None
        else:
            if digest is not None:
                found[log.ref] = digest

    for_each(read, listed, threads=min(_REQUESTS, len(listed) or 1))
    return dict(sorted(found.items()))


def tags(store: Store, model: str | None = None) -> dict[str, dict[str, str | None]]:
    """The current digest (64 hex) of every tag, by model and tag name; None where its entry cannot be read."""
    found: dict[str, dict[str, str | None]] = {}
    for ref, digest in current(store, "tags", model or "").items():
        found.setdefault(ref.first, {})[ref.second] = digest
    return found


def _name(entry: Entry) -> str:
    return entry.key.rpartition("/")[2]


def _order(name: str) -> tuple[int, str]:
    """What entries are ordered by: their names, were the numbers all of one length."""
    return int(name.partition("-")[0]), name


def shown(entry: RefEntry) -> str:
    """What an entry moved its ref to, in words."""
    return entry.manifest or (f"nothing (removed by {entry.by})" if entry.by else "nothing")


def _text(given: str) -> str:
    """`given` as an entry may hold it, whatever a host or a caller is called."""
    return _CONTROL.sub(" ", given.encode(errors="replace").decode())[:4096]
