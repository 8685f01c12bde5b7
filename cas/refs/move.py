"""Moving refs by hand: to a version that is there, under a lease, and only from where the mover saw them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cas import events
from cas.errors import FormatError, InputError, RefMoved
from cas.formats.digest import PREFIX, named, parse
from cas.refs.reflog import UNSET, Move, Ref, RefLog
from cas.store import leases
from cas.store.store import Store

NOTHING = "none"
"""What to expect of a ref that is not set."""


def move(
    store: Store,
    expected: Mapping[Ref, Move | None],
    digest: str | None,
    reason: str,
    by: str | None = None,
    listen: events.Listener = events.ignore,
) -> tuple[Ref, ...]:
    """Moves refs of one model to a version (64 hex), or removes them (None), and returns those that were moved.

    expected: each ref, with the move that must still be its last one, or None to take it from wherever it is. What
    names the version already stays as it is. by: who moves them, default user@host. Raises NotFoundError when the
    store does not hold the version, RefMoved when somebody else came first, LeaseLost.
    """
    pending = {ref: last for ref, last in expected.items() if not _is_there(store, ref, digest, last, listen)}
    if not pending:
        return ()
    moved: list[Ref] = []
    with leases.hold_lease(store, f"move {', '.join(map(str, pending))}", listen) as lease:
        for ref, expect in pending.items():
            # Read now that no sweep can begin: what was seen before the lease may be gone.
            if digest is not None:
                store.get_manifest(ref.model, digest)
            lease.check()
            try:
                RefLog(store, ref).append(digest, reason, by, expect=expect)
            except RefMoved:
                if moved:
                    listen(events.Warned(f"{', '.join(map(str, moved))} had been moved by then"))
                raise
            moved.append(ref)
        lease.check()
    return tuple(moved)


def seen(store: Store, ref: Ref, expect: str) -> Move:
    """The last move of a ref, which must have gone to `expect`: a digest, its first 8 digits or more, or `none`.

    Raises RefMoved when it names something else, or its last entry cannot be read; InputError for other words.
    """
    wanted = _digits(expect)
    try:
        last = (RefLog(store, ref).history(1) or [UNSET])[0]
    except FormatError:
        raise RefMoved(str(ref), "something that cannot be read", expect) from None
    digest = last.entry.digest
    fits = digest is None if wanted is None else digest is not None and digest.startswith(wanted)
    if not fits:
        raise RefMoved(str(ref), "nothing" if digest is None else named(digest), expect)
    return last


def _is_there(store: Store, ref: Ref, digest: str | None, expect: Move | None, listen: events.Listener) -> bool:
    if expect is not None:
        return expect.entry.digest == digest
    try:
        return RefLog(store, ref).current_digest() == digest
    except FormatError as error:
        listen(events.Warned(str(error)))
        return False


def _digits(expect: str) -> str | None:
    """The first digits of a digest, None for `none`."""
    if expect == NOTHING:
        return None
    if expect.startswith(PREFIX):
        return parse(expect)
    if not re.fullmatch(r"[0-9a-f]{8,64}", expect):
        raise InputError(f"{expect!r} is no version to expect: write 8 or more lower-case hex digits, or `{NOTHING}`")
    return expect
