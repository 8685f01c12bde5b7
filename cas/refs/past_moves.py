"""The moves of refs as their logs hold them, also those that do not count."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

from cas.bucket import Entry
from cas.errors import FormatError, ObjectMissing, SignatureError
from cas.formats.digest import short
from cas.formats.manifest import timestamp
from cas.parallel import for_each
from cas.refs.entry import RefEntry
from cas.refs.reflog import Move, Ref, RefLog, entry_name
from cas.store import layout

_REQUESTS = 16


class PastMove(NamedTuple):
    """One move in the history of a ref.

    Attributes:
        move: the move; one whose entry cannot be read, or is not signed by a trusted key, counts as a removal.
        lost: whether somebody else's move with the same number won, so that this one never came into force. Where keys
            are trusted, only a signed move wins.
        error: why the entry cannot be read, or does not count; empty when it does. `history` says so, too, of an entry
            in force that is below the floor of its ref.
        problem: the same in a word or two: `unreadable`, or a word of `SignatureError.problem`.
        claimed: what an entry says that does not count: to be shown, and for nothing else.
        signers: ids of the keys whose signatures lie beside the entry; only `move.key_id` is verified.
    """

    move: Move
    lost: bool
    error: str = ""
    problem: str = ""
    claimed: RefEntry | None = None
    signers: tuple[str, ...] = ()

    def __repr__(self) -> str:
        named = self.problem or (short(self.digest) if self.digest else "removed")
        return f"<PastMove {self.number}: {named} at {timestamp(self.move.at)}>"

    @property
    def number(self) -> int:
        """The move's number in the log, from 1."""
        return self.move.number

    @property
    def digest(self) -> str | None:
        """The version (64 hex) that the ref was moved to; None for none."""
        return self.move.entry.digest


def past_moves(logs: Sequence[RefLog]) -> dict[Ref, list[PastMove]]:
    """Return every move of some refs, oldest first, without those that a collector trims meanwhile.

    The entries of all logs are read side by side, sixteen at a time.
    """
    found: dict[Ref, dict[str, PastMove]] = {log.ref: {} for log in logs}
    listed = [(log, log.listed()) for log in logs]
    # The names are in order: the last one of a number wins.
    winners = {(log.ref, _number(entry_name(entry))): entry_name(entry) for log, entries in listed for entry in entries}

    def read(one: tuple[RefLog, Entry]) -> None:
        log, entry = one
        name, at, moves = entry_name(entry), entry.modified, found[log.ref]
        lost = winners[log.ref, _number(name)] != name
        signers = tuple(sorted({signature.key_id for signature in log.signatures(name)}))
        nothing = Move(name, at, RefEntry(None, timestamp(at), "", ""))
        try:
            moves[name] = PastMove(log.move(entry), lost, signers=signers)
        except ObjectMissing:
            return  # a collector trimmed it meanwhile
        except FormatError as error:
            moves[name] = PastMove(nothing, lost, str(error), "unreadable", None, signers)
        except SignatureError as error:
            claimed = None
            with contextlib.suppress(FormatError, ObjectMissing):
                claimed = log.claimed(name)
            moves[name] = PastMove(nothing, lost, str(error), error.problem, claimed, signers)

    entries = [(log, entry) for log, entries in listed for entry in entries]
    if entries:
        for_each(read, entries, threads=min(_REQUESTS, len(entries)))
    return {
        log.ref: _of_signed(moves) if log.store.trust is not None else moves
        for log in logs
        for moves in [sorted(found[log.ref].values(), key=_order)]
    }


def _of_signed(moves: Sequence[PastMove]) -> list[PastMove]:
    """Return moves, oldest first, of which one is lost only to a signed move of its number.

    Otherwise whoever writes an unsigned entry beside a signed one would take that off the way back.
    """
    winners = {move.number: move.move.name for move in moves if move.move.key_id}
    return [move._replace(lost=move.move.name < winners.get(move.number, "")) for move in moves]


def _order(past: PastMove) -> tuple[int, str]:
    return layout.ref_entry_order(past.move.name)


def _number(name: str) -> int:
    return layout.ref_entry_order(name)[0]
