"""Floors: the lowest number that the entry in force of a ref may have.

A signature proves who released an entry, and not that it is the newest: whoever may delete objects can put an old
signed entry into force again, and so can a copy of the store from last year. The number of an entry is what tells. A
floor is configured (`Trust.floors`: CAS_FLOOR, a file of trusted keys), or was seen: a hub cache keeps the newest entry
that was verified there (`cas/local/seen_entries.py`), and an older one is refused later.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cas.errors import SignatureError
from cas.store import layout
from cas.store.store import Store

if TYPE_CHECKING:
    from cas.local.trusted_keys import Trust
    from cas.refs.log_reader import Move

BELOW = "below the floor"
"""The word of `SignatureError.problem` for an entry that is too old."""


def check_floor(store: Store, trust: Trust, ref: str, name: str) -> None:
    """Raise SignatureError when the number of a ref's last entry is below the configured floor.

    Args:
        store: where the ref is, for the error.
        trust: has the floors.
        ref: the tag or pin in words.
        name: of the entry; empty where the ref was never set.
    """
    floor = trust.floors.get(ref, 0)
    number = layout.ref_entry_order(name)[0] if name else 0
    if number < floor:
        where = trust.where.get(ref, "configured")
        raise SignatureError(
            f"{ref} in {store.url} {_is_at(number)}, below its floor of {floor} ({where}): somebody put an old state "
            f"into force, or deleted newer entries. Move {ref} anew where its key is (`cas tag`, `cas pin`), which "
            f"numbers its entry from {floor} on; or lower the floor if it is wrong",
            BELOW,
        )


def check_seen(hub: Path, store: Store, ref: str, move: Move | None) -> None:
    """Raise SignatureError when a ref's last move is older than one that was verified in a hub cache.

    Args:
        hub: the hub cache; one that does not exist has seen nothing.
        store: where the ref is.
        ref: the tag or pin in words.
        move: the last move, which was verified; None where the ref was never set.
    """
    from cas.local.seen_entries import Seen, read_seen, seen_folder

    before = read_seen(hub, store.name, ref)
    if before is None:
        return
    now = Seen(move.name, move.entry_digest) if move else Seen("", "")
    is_other = now.name == before.name and before.digest not in ("", now.digest)
    if now.order < before.order or is_other:
        number, newest = now.order[0], before.order[0]
        state = f"is at another entry {number}" if number == newest else _is_at(number)
        raise SignatureError(
            f"{ref} in {store.url} {state}, but entry {newest} ({before.name}) was verified in this cache before: "
            f"somebody put an old state into force, or deleted newer entries. Move {ref} anew where its key is, after "
            f"`cas trust floor {ref} {newest + 1}` there, which numbers its entry so; or, if the store was really "
            f"begun anew, delete {seen_folder(hub, store.name, ref)}",
            BELOW,
        )


def keep_seen(hub: Path, store: Store, ref: str, move: Move | None) -> None:
    """Keep in a hub cache that a ref's last move was verified; a cache that cannot be written keeps nothing.

    Args:
        hub: the hub cache.
        store: where the ref is.
        ref: the tag or pin in words.
        move: the last move; one that no trusted key signed is not kept, as anybody could have given it any number.
    """
    from cas.local.seen_entries import Seen, keep_seen, read_seen

    if move is None or not move.key_id:
        return
    now, before = Seen(move.name, move.entry_digest), read_seen(hub, store.name, ref)
    if before is None or now.order > before.order:
        keep_seen(hub, store.name, ref, now)


def _is_at(number: int) -> str:
    return f"is at entry {number}" if number else "has no entries"
