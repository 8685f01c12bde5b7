"""The logs behind refs: each move of a tag or pin appends an entry, so no move is ever lost and the history is free.

The last entry, by number and then by name, is in force. Appending never overwrites anything. That is correct on
storage without conditional writes: two writers at once both leave their entry, and both see which of them won.

Where a key signs (`Store.signer`), the signature of an entry is written before the entry (`cas/refs/signatures.py`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cas.bucket import Entry, Kind
from cas.errors import FormatError, ObjectMissing, RefMoved, SignatureError, StoreError
from cas.formats.digest import hex_of
from cas.parallel import for_each
from cas.refs.entry import ENTRIES, RefEntry, new_entry
from cas.refs.log_reader import UNSET, LogReader, Move, Ref, entry_name, shown
from cas.store import layout
from cas.store.layout import RefEntryId, RefKind
from cas.store.store import Store

if TYPE_CHECKING:
    from cas.formats.minisign import SecretKey

__all__ = [
    "KEPT",
    "UNSET",
    "InForce",
    "Move",
    "Ref",
    "RefLog",
    "current",
    "entry_name",
    "in_force",
    "logs",
    "shown",
    "tags",
]

KEPT = 20
"""How many entries at the end of a log are never trimmed."""

_REQUESTS = 16
_MAX_NUMBER = 10**20 - 1  # `layout.ref_entry` reads numbers of up to 20 digits
_FAR = (
    10**19
)  # signed moves alone go on from here: an entry that nobody signed must not use up the numbers that are left


class RefLog(LogReader):
    """The log of one ref: reads its entries, and appends to them."""

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
            SignatureError: keys are trusted, and none of them signs here. Nothing was written.
        """
        signer = self._signer()
        self._listed = None
        names = self.names()
        sequence = self._next_number(names)
        mine = layout.ref_entry_name(sequence, os.urandom(8).hex())
        if expect is not None:
            self._must_be(expect, names)
            # All who expect the same move write under the same name. A store that honours conditional writes accepts
            # one of these writes; elsewhere one writer at a time is let in.
            mine = layout.ref_entry_name(sequence, hex_of(expect.name.encode())[:16])
        entry = new_entry(digest, reason, by, created)
        self.store.bucket.settle()  # the manifest, which somebody else may have written just now
        with contextlib.nullcontext() if expect is None else self._claim(mine, expect):
            data = ENTRIES.encode(entry)
            if signer is not None:
                self._sign(mine, data, signer)
            written = self.store.bucket.put(self._key(mine), data, Kind.DOCUMENT)
        self.store.bucket.settle()  # the move, before success is told
        names = self.names()
        winner = max((name for name in names if layout.ref_entry_order(name)[0] == sequence), default=mine)
        if winner > mine or not written:
            raise RefMoved(str(self.ref), self.describe(winner))
        return entry

    def _signer(self) -> SecretKey | None:
        """Return the key that signs new entries; None where none signs, and none is trusted."""
        if self.store.trust is None and self.store.signer is None:
            return None
        from cas.refs.signatures import signer_of

        return signer_of(self.store, [self.ref])

    def _next_number(self, names: Sequence[str]) -> int:
        """Return the number of the next entry: one more than the highest, and not below the ref's floor."""
        number = layout.ref_entry_order(names[-1])[0] + 1 if names else 1
        if number > _MAX_NUMBER or (number > _FAR and not self._counts(names[-1])):
            raise StoreError(
                f"{self._key(names[-1])} in {self.store.url} has the highest number that an entry can have, or nearly, "
                f"which no program of ours wrote: delete that object, then move {self.ref} again"
            )
        return max(number, self.floor)

    def _counts(self, name: str) -> bool:
        """Whether an entry counts here, so that the next move may be numbered after it, however high its number is."""
        if self._trust is None:
            return True
        try:
            self.read(name)
        except (FormatError, ObjectMissing, SignatureError):
            return False
        return True

    def _sign(self, name: str, data: bytes, signer: SecretKey) -> None:
        """Write the signature of an entry before the entry: after a power cut no entry is without it."""
        from cas.refs.signatures import sign_entry

        sign_entry(self.store, RefEntryId(*self.ref, name), data, signer)
        self.store.bucket.settle()

    def _claim(self, name: str, expect: Move) -> contextlib.AbstractContextManager[None]:
        from cas.refs.claim import claim

        return claim(self.store, self._key(name), lambda: self._must_be(expect, self.names()))

    def _must_be(self, last: Move, names: Sequence[str]) -> None:
        """Raise RefMoved when `last` is not the last of the log's moves."""
        if (names or [UNSET.name])[-1] != last.name:
            raise RefMoved(str(self.ref), self._now_named(names), expected=shown(last.entry))

    def _now_named(self, names: Sequence[str]) -> str:
        return self.describe(names[-1]) if names else shown(UNSET.entry)


def logs(store: Store, kind: str = "", first: str = "", *, is_verified: bool = True) -> list[RefLog]:
    """Return the logs of all refs, ordered by ref.

    Args:
        store: where the refs are.
        kind: `tags` or `pins`; empty for both.
        first: only the tags of this model, or the pins of this deployment; empty for all.
        is_verified: as for `RefLog`.
    """
    found: dict[Ref, list[Entry]] = {}
    with_entries: set[Ref] = set()
    for entry in store.bucket.list(layout.ref_folder(*filter(None, (kind, first)))):
        if key := layout.ref_entry(entry.key):
            with_entries.add(Ref(*key[:3]))
            found.setdefault(Ref(*key[:3]), []).append(entry)
        elif signature := layout.ref_signature(entry.key):
            found.setdefault(Ref(*signature.entry[:3]), []).append(entry)
    return [RefLog(store, ref, found[ref], is_verified=is_verified) for ref in sorted(with_entries)]


class InForce(NamedTuple):
    """What a ref names now, for lists.

    Attributes:
        digest: the version, 64 hex; None where the entry in force cannot be read, or does not count.
        problem: why the digest is None: `unreadable`, or a word of `SignatureError.problem`; empty where it is known.
        key_id: of the trusted key that signed the entry; empty where no keys are trusted.
        signers: ids of the keys whose signatures lie beside the entry in force; only `key_id` is verified.
    """

    digest: str | None
    problem: str = ""
    key_id: str = ""
    signers: tuple[str, ...] = ()


def in_force(store: Store, kind: RefKind, first: str = "", model: str | None = None) -> dict[Ref, InForce]:
    """Return what each ref names now, without refs that are removed.

    Args:
        store: where the refs are.
        kind: `tags` or `pins`.
        first: only the tags of this model, or the pins of this deployment; empty for all.
        model: only the refs of this model; None for all. Of pins of other models no entry is read.
    """
    found: dict[Ref, InForce] = {}
    listed = [log for log in logs(store, kind, first) if model in (None, log.ref.model)]

    def read(log: RefLog) -> None:
        signers = log.signers()
        try:
            last = log.last_move()
        except FormatError:
            found[log.ref] = InForce(None, "unreadable", "", signers)
        except SignatureError as error:
            found[log.ref] = InForce(None, error.problem, "", signers)
        else:
            if last is not None and last.entry.digest is not None:
                found[log.ref] = InForce(last.entry.digest, "", last.key_id, log.signers())

    for_each(read, listed, threads=min(_REQUESTS, len(listed) or 1))
    return dict(sorted(found.items()))


def current(store: Store, kind: RefKind, first: str = "", model: str | None = None) -> dict[Ref, str | None]:
    """Return the digest (64 hex) that each ref names now, without refs that are removed.

    The digest is None for a ref whose last entry cannot be read or, where keys are trusted, does not count. The
    arguments are `in_force`'s.
    """
    return {ref: found.digest for ref, found in in_force(store, kind, first, model).items()}


def tags(store: Store, model: str | None = None) -> dict[str, dict[str, str | None]]:
    """Return the digest (64 hex) that each tag names now, by model and tag; None where its entry cannot be read."""
    found: dict[str, dict[str, str | None]] = {}
    for ref, digest in current(store, "tags", model or "").items():
        found.setdefault(ref.first, {})[ref.second] = digest
    return found
