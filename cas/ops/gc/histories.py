"""The logs of refs as the collector reads them.

Every entry counts, whoever wrote it: what an entry names is retained also where no trusted key signed it, as a
signature may follow (`cas sign`). Where keys are trusted, what they signed counts besides, however many entries without
a signature follow it: whoever can only write to the store must not make the collector delete what was released.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

from cas.bucket import Entry
from cas.errors import FormatError, ObjectMissing, SignatureError
from cas.parallel import for_each
from cas.refs import reflog
from cas.refs.reflog import KEPT, Move, Ref, RefLog, entry_name
from cas.store.store import Store


class History(NamedTuple):
    """The moves of one ref that retain versions, oldest first.

    Attributes:
        ref: the tag or pin.
        last: its last KEPT moves, whoever made them.
        signed: its last KEPT moves that trusted keys signed; empty where no key is trusted.
    """

    ref: Ref
    last: list[Move]
    signed: list[Move]


def histories(store: Store, requests: int) -> list[History]:
    """Return the histories of all refs.

    Args:
        store: to read; where it trusts keys, each entry costs one request more, for its signature.
        requests: how many logs are read at once.

    Raises:
        FormatError: one of the last KEPT entries of a log cannot be read: what it named, it may retain.
    """
    found: list[History] = []

    def read(log: RefLog) -> None:
        try:
            found.append(_read(log, RefLog(store, log.ref, log.last_listing())))
        except FormatError as error:  # also of an entry that another followed: the version it named is retained
            raise FormatError(
                f"{error}; then delete that object, as the last {KEPT} entries of each log say what is kept: "
                "nothing was deleted"
            ) from error

    if logs := reflog.logs(store, is_verified=False):
        for_each(read, logs, threads=min(requests, len(logs)))
    return sorted(found)


def since_removal(moves: Sequence[Move]) -> Sequence[Move]:
    """Return the moves of a ref, oldest first, from its last removal on; all of them if it was never removed."""
    removals = [index for index, move in enumerate(moves) if move.entry.digest is None]
    return moves[removals[-1] :] if removals else moves


def _read(log: RefLog, verifying: RefLog) -> History:
    """Read a log from its end.

    Args:
        log: reads entries whoever signed them.
        verifying: the same log, where the signatures of entries are checked.
    """
    last: list[Move] = []
    signed: list[Move] = []
    for age, entry in enumerate(reversed(log.listed())):
        move = _signed_move(verifying, entry) if len(signed) < KEPT else None
        if move is not None:
            signed.append(move)
        if age < KEPT:
            with contextlib.suppress(ObjectMissing):  # another collector trimmed it meanwhile
                last.append(move or log.move(entry))
    return History(log.ref, last[::-1], signed[::-1])


def _signed_move(log: RefLog, entry: Entry) -> Move | None:
    """The move that an entry records, if a trusted key signed it; nothing is read where no signature says so."""
    trust = log.store.trust
    if trust is None or not any(each.key_id in trust.keys for each in log.signatures(entry_name(entry))):
        return None
    try:
        return log.move(entry)
    except (SignatureError, FormatError, ObjectMissing):
        return None
