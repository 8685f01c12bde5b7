"""The logs behind refs: each move of a tag or pin appends an entry, so no move is ever lost and the history is free.

The last entry, by number and then by name, is in force. Appending never overwrites anything. That is correct on
storage without conditional writes: two writers at once both leave their entry, and both see which of them won.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from cas.bucket import Entry, Kind
from cas.errors import FormatError, ObjectMissing, RefMoved, StoreError
from cas.formats.digest import hex_of
from cas.parallel import for_each
from cas.refs.entry import ENTRIES, RefEntry, new_entry
from cas.store import layout
from cas.store.layout import RefEntryId, RefKind
from cas.store.store import Store

KEPT = 20
"""How many entries at the end of a log are never trimmed."""

_REQUESTS = 16


class Move(NamedTuple):
    """One move of a ref, with what the store says about its entry.

    Attributes:
        name: the entry's name in the log.
        at: when the entry was written, by the server's clock.
        entry: what it holds.
    """

    name: str
    at: datetime.datetime
    entry: RefEntry


UNSET = Move("", datetime.datetime.min.replace(tzinfo=datetime.UTC), RefEntry(None, "0001-01-01T00:00:00Z", "", ""))
"""The last move to expect of a ref that was never set: no move at all."""


class Ref(NamedTuple):
    """A tag or a pin.

    Attributes:
        kind: `tags` or `pins`.
        first: the tag's model, or the pin's deployment.
        second: the tag, or the pin's model.
    """

    kind: RefKind
    first: str
    second: str

    @property
    def model(self) -> str:
        """The model whose versions the ref names."""
        return self.first if self.kind == "tags" else self.second

    @property
    def prefix(self) -> str:
        """The folder of the ref's log in the store."""
        return layout.ref_folder(self.kind, self.first, self.second)

    def __str__(self) -> str:
        return f"{self.first}:{self.second}" if self.kind == "tags" else f"pin:{self.first}/{self.second}"


class RefLog:
    """The log of one ref: reads its entries, and appends to them."""

    def __init__(self, store: Store, ref: Ref, listed: Sequence[Entry] | None = None) -> None:
        """Make the log of a ref.

        Args:
            store: where the log is.
            ref: whose log it is.
            listed: the log's entries, where the caller has listed them already; None lists them when needed.
        """
        self._store, self.ref, self._listed = store, ref, listed

    def listed(self) -> list[Entry]:
        """Return the log's entries as the bucket lists them, oldest first; none when the ref was never set."""
        found = self._store.bucket.list(self.ref.prefix) if self._listed is None else self._listed
        mine = [entry for entry in found if (key := layout.ref_entry(entry.key)) and Ref(*key[:3]) == self.ref]
        return sorted(mine, key=lambda entry: layout.ref_entry_order(entry_name(entry)))

    def names(self) -> list[str]:
        """Return the names of the log's entries, oldest first; none when the ref was never set."""
        return [entry_name(entry) for entry in self.listed()]

    def read(self, name: str) -> RefEntry:
        """Return the entry of that name; raise FormatError when it is malformed."""
        key = self._key(name)

        def read(data: bytes) -> RefEntry:
            try:
                return ENTRIES.decode(data)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                raise FormatError(f"{key} in {self._store.url} is malformed ({error}): set {self.ref} again") from None

        return self._store.get_document(key, 64 * 1024, read)

    def current(self) -> RefEntry | None:
        """Return the entry in force; None when the ref was never set."""
        for _ in range(3):
            names = self.names()
            if not names:
                return None
            try:
                return self.read(names[-1])
            except ObjectMissing:
                self._listed = None  # a collector trimmed the log between listing and reading: list again
        raise StoreError(f"{self.ref} in {self._store.url}: its entries vanish while they are read; try again")

    def current_digest(self) -> str | None:
        """Return the digest (64 hex) of the version in force; None when the ref was never set or is removed."""
        entry = self.current()
        return None if entry is None else entry.digest

    def history(self, last: int | None = None) -> list[Move]:
        """Return the ref's moves, oldest first, without those that a collector trims meanwhile.

        Args:
            last: at most so many moves, the newest ones; None returns all.

        Raises:
            FormatError: an entry cannot be read.
        """
        moves = []
        for entry in self.listed()[-last if last else None :]:
            name = entry_name(entry)
            try:
                moves.append(Move(name, entry.modified, self.read(name)))
            except ObjectMissing:
                continue
        return moves

    def append(
        self,
        digest: str | None,
        reason: str,
        by: str | None = None,
        *,
        expect: Move | None = None,
        created: str | None = None,
    ) -> RefEntry:
        """Move the ref to a version, or remove it.

        Args:
            digest: the version, 64 hex; None removes the ref.
            reason: why it moves, for the record.
            by: who moves it; by default user@host.
            expect: the move that must still be the last one, UNSET for a ref that was never set; None accepts any.
            created: when it moves, as `now` writes it: an operation gives all its moves one time. None is now.

        Raises:
            RefMoved: another move is the last one, or somebody else moved the ref at the same moment and won.
        """
        self._listed = None
        names = self.names()
        sequence = layout.ref_entry_order(names[-1])[0] + 1 if names else 1
        mine = layout.ref_entry_name(sequence, os.urandom(8).hex())
        if expect is not None:
            self._must_be(expect, names)
            # All who expect the same move write under the same name. A store that honours conditional writes accepts
            # one of these writes; elsewhere one writer at a time is let in.
            mine = layout.ref_entry_name(sequence, hex_of(expect.name.encode())[:16])
        entry = new_entry(digest, reason, by, created)
        self._store.bucket.settle()  # the manifest, which somebody else may have written just now
        with contextlib.nullcontext() if expect is None else self._claim(mine, expect):
            written = self._store.bucket.put(self._key(mine), ENTRIES.encode(entry), Kind.DOCUMENT)
        self._store.bucket.settle()  # the move, before success is told
        names = self.names()
        winner = max((name for name in names if layout.ref_entry_order(name)[0] == sequence), default=mine)
        if winner > mine or not written:
            raise RefMoved(str(self.ref), shown(self.read(winner)))
        return entry

    def _claim(self, name: str, expect: Move) -> contextlib.AbstractContextManager[None]:
        from cas.refs.claim import claim

        return claim(self._store, self._key(name), lambda: self._must_be(expect, self.names()))

    def _must_be(self, last: Move, names: Sequence[str]) -> None:
        """Raise RefMoved when `last` is not the last of the log's moves."""
        if (names or [UNSET.name])[-1] != last.name:
            raise RefMoved(str(self.ref), self._now_named(names), expected=shown(last.entry))

    def _key(self, name: str) -> str:
        return layout.ref_entry_key(RefEntryId(*self.ref, name))

    def _now_named(self, names: Sequence[str]) -> str:
        return shown(self.read(names[-1]) if names else UNSET.entry)


def logs(store: Store, kind: str = "", first: str = "") -> list[RefLog]:
    """Return the logs of all refs, ordered by ref.

    Args:
        store: where the refs are.
        kind: `tags` or `pins`; empty for both.
        first: only the tags of this model, or the pins of this deployment; empty for all.
    """
    found: dict[Ref, list[Entry]] = {}
    for entry in store.bucket.list(layout.ref_folder(*filter(None, (kind, first)))):
        if key := layout.ref_entry(entry.key):
            found.setdefault(Ref(*key[:3]), []).append(entry)
    return [RefLog(store, ref, entries) for ref, entries in sorted(found.items())]


def current(store: Store, kind: RefKind, first: str = "", model: str | None = None) -> dict[Ref, str | None]:
    """Return the digest (64 hex) that each ref names now, without refs that are removed.

    The digest is None for a ref whose last entry cannot be read.

    Args:
        store: where the refs are.
        kind: `tags` or `pins`.
        first: only the tags of this model, or the pins of this deployment; empty for all.
        model: only the refs of this model; None for all. Of pins of other models no entry is read.
    """
    found: dict[Ref, str | None] = {}
    listed = [log for log in logs(store, kind, first) if model in (None, log.ref.model)]

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
    """Return the digest (64 hex) that each tag names now, by model and tag; None where its entry cannot be read."""
    found: dict[str, dict[str, str | None]] = {}
    for ref, digest in current(store, "tags", model or "").items():
        found.setdefault(ref.first, {})[ref.second] = digest
    return found


def entry_name(entry: Entry) -> str:
    """Return the name in its log of a listed object that is a ref's entry."""
    key = layout.ref_entry(entry.key)
    assert key is not None, "RefLog.listed returns entries of refs alone"
    return key.name


def shown(entry: RefEntry) -> str:
    """Return in words what an entry moved its ref to."""
    return entry.manifest or (f"nothing (removed by {entry.by})" if entry.by else "nothing")
