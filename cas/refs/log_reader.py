"""Reading the log of a ref: the entries that the store lists, and which of them is in force.

Where keys are trusted (`Store.trust`), an entry counts only if one of them signed it (`cas/refs/signatures.py`), and
the entry in force only if its number is not below the ref's floor. Nothing is requested for that elsewhere.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from cas.bucket import Entry
from cas.errors import FormatError, ObjectMissing, SignatureError, StoreError
from cas.formats.digest import hex_of
from cas.refs.entry import ENTRIES, RefEntry
from cas.store import layout
from cas.store.layout import RefEntryId, RefKind, RefSignature
from cas.store.store import Store

_MAX_ENTRY = 64 * 1024  # bytes


class Move(NamedTuple):
    """One move of a ref, with what the store says about its entry.

    Attributes:
        name: the entry's name in the log.
        at: when the entry was written, by the server's clock.
        entry: what it holds.
        key_id: of the trusted key that signed it; empty where no keys are trusted.
        entry_digest: the BLAKE3 (64 hex) of the entry's bytes; empty where no keys are trusted.
    """

    name: str
    at: datetime.datetime
    entry: RefEntry
    key_id: str = ""
    entry_digest: str = ""

    @property
    def number(self) -> int:
        """The number of the move in the log, from 1; 0 for none."""
        return layout.ref_entry_order(self.name)[0] if self.name else 0


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


def entry_name(entry: Entry) -> str:
    """Return the name in its log of a listed object that is a ref's entry."""
    key = layout.ref_entry(entry.key)
    assert key is not None, "RefLog.listed returns entries of refs alone"
    return key.name


def shown(entry: RefEntry) -> str:
    """Return in words what an entry moved its ref to."""
    return entry.manifest or (f"nothing (removed by {entry.by})" if entry.by else "nothing")


_Signatures: TypeAlias = dict[str, list[RefSignature]]  # by the name of the entry that each is of


class LogReader:
    """The log of one ref, for reading: `RefLog` appends to it, too.

    Attributes:
        store: where the log is.
        ref: whose log it is.
    """

    def __init__(
        self, store: Store, ref: Ref, listed: Sequence[Entry] | None = None, *, is_verified: bool = True
    ) -> None:
        """Make the log of a ref.

        Args:
            store: where the log is.
            ref: whose log it is.
            listed: the log's objects, where the caller has listed them already; None lists them when needed.
            is_verified: False to read entries as if no keys were trusted. That is for those who only ask what a ref may
                need, such as a collector, and never for a way from a name to a version.
        """
        self.store, self.ref, self._listed = store, ref, listed
        self._trust = store.trust if is_verified else None
        self._seen: Sequence[Entry] | None = listed  # by the last listing
        self._signatures: _Signatures | None = None  # in that listing
        self._signatures_again: _Signatures | None = None  # in the one that followed it
        self._listing = threading.Lock()
        self._verified: dict[str, tuple[str, str]] = {}  # name -> id of the key that signed the entry, and its digest

    @property
    def floor(self) -> int:
        """The lowest number that the entry in force may have; 0 where none is configured, or no keys are trusted."""
        return 0 if self.store.trust is None else self.store.trust.floors.get(str(self.ref), 0)

    def listed(self) -> list[Entry]:
        """Return the log's entries as the bucket lists them, oldest first; none when the ref was never set."""
        found = self.store.bucket.list(self.ref.prefix) if self._listed is None else self._listed
        self._seen, self._signatures, self._signatures_again = found, None, None
        mine = [entry for entry in found if (key := layout.ref_entry(entry.key)) and Ref(*key[:3]) == self.ref]
        return sorted(mine, key=lambda entry: layout.ref_entry_order(entry_name(entry)))

    def last_listing(self) -> Sequence[Entry]:
        """Return all objects of the log that the last listing showed, signatures too."""
        return self._seen or ()

    def names(self) -> list[str]:
        """Return the names of the log's entries, oldest first; none when the ref was never set."""
        return [entry_name(entry) for entry in self.listed()]

    def signatures(self, name: str) -> list[RefSignature]:
        """Return the signatures of an entry that the last listing shows; nothing says that they are true."""
        if self._seen is None:
            self.listed()
        with self._listing:
            if self._signatures is None:
                self._signatures = _signatures_of(self.ref, self._seen or ())
            return self._signatures.get(name, [])

    def signers(self) -> tuple[str, ...]:
        """Return the ids of the keys whose signatures lie beside the entry in force; none is verified."""
        if not (names := self.names()):
            return ()
        return tuple(sorted({signature.key_id for signature in self.signatures(names[-1])}))

    def move(self, listed: Entry) -> Move:
        """Return the move whose entry a listing shows. Raises what `read` raises."""
        name = entry_name(listed)
        entry = self.read(name)
        return Move(name, listed.modified, entry, *self._verified.get(name, ("", "")))

    def claimed(self, name: str) -> RefEntry:
        """Return what an entry says, be it signed or not: to show it to people, and for nothing else."""
        key = self._key(name)
        return self.store.get_document(key, _MAX_ENTRY, lambda data: self.decode(key, data))

    def read(self, name: str) -> RefEntry:
        """Return the entry of that name.

        Raises:
            FormatError: it is malformed.
            SignatureError: keys are trusted, and none of them signed it.
            ObjectMissing: the log has no such entry.
        """
        if self._trust is None:
            return self.claimed(name)
        from cas.refs.signatures import read_signed

        entry = RefEntryId(*self.ref, name)
        data, key_id = read_signed(self.store, self._trust, str(self.ref), entry, self._find_signatures(name))
        self._verified[name] = key_id, hex_of(data)
        return self.decode(self._key(name), data)

    def current(self) -> RefEntry | None:
        """Return the entry in force; None when the ref was never set.

        Raises:
            FormatError: it is malformed.
            SignatureError: keys are trusted, and none of them signed it, or its number is below the ref's floor.
        """
        last = self.last_move()
        return None if last is None else last.entry

    def last_move(self) -> Move | None:
        """Return the last move, whose entry is in force; otherwise as `current`."""
        for _ in range(3):
            listed = self.listed()
            name = entry_name(listed[-1]) if listed else ""
            if self._trust is not None:
                from cas.refs.floors import check_floor

                check_floor(self.store, self._trust, str(self.ref), name)
            if not listed:
                return None
            try:
                return self.move(listed[-1])
            except ObjectMissing:
                self._listed = None  # a collector trimmed the log between listing and reading: list again
        raise StoreError(f"{self.ref} in {self.store.url}: its entries vanish while they are read; try again")

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
            SignatureError: keys are trusted, and none of them signed one of the entries.
        """
        moves = []
        for entry in self.listed()[-last if last else None :]:
            try:
                moves.append(self.move(entry))
            except ObjectMissing:
                continue
        return moves

    def describe(self, name: str) -> str:
        """Return in words what an entry moved the ref to, or that no trusted key signed it."""
        try:
            return shown(self.read(name))
        except SignatureError as error:
            return f"something that is {error.problem}"

    def _find_signatures(self, name: str) -> Callable[[bool], list[RefSignature]]:
        """Return what finds the signatures of an entry: in the last listing, or, called with True, in a new one.

        However many entries of the log do not verify, it is listed once more.
        """

        def find(again: bool) -> list[RefSignature]:
            if not again:
                return self.signatures(name)
            with self._listing:
                if self._signatures_again is None:
                    self._signatures_again = _signatures_of(self.ref, self.store.bucket.list(self.ref.prefix))
                return self._signatures_again.get(name, [])

        return find

    def decode(self, key: str, data: bytes) -> RefEntry:
        """Return the entry that has these bytes; raise FormatError, which names its key, for others."""
        try:
            return ENTRIES.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise FormatError(f"{key} in {self.store.url} is malformed ({error}): set {self.ref} again") from None

    def _key(self, name: str) -> str:
        return layout.ref_entry_key(RefEntryId(*self.ref, name))


def _signatures_of(ref: Ref, listed: Sequence[Entry]) -> _Signatures:
    """Return the signatures in a listing of a ref's log, by the name of the entry that each is of."""
    found: _Signatures = {}
    for entry in listed:
        if (signature := layout.ref_signature(entry.key)) and Ref(*signature.entry[:3]) == ref:
            found.setdefault(signature.entry.name, []).append(signature)
    return found
