"""The history of a tag or pin, move by move, and how `cas rollback` goes back along it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from cas import events, refs
from cas.errors import InputError, NotFoundError, SignatureError
from cas.formats.digest import named, short
from cas.refs.entry import DERIVE, PUBLISH, SIGN
from cas.refs.grammar import Reference, digits_in
from cas.refs.likely import absent
from cas.refs.meaning import definite
from cas.refs.past_moves import PastMove, past_moves
from cas.refs.ref_named import ref_named
from cas.refs.reflog import Ref, RefLog
from cas.store.layout import VersionId
from cas.store.store import Store


class RolledBack(NamedTuple):
    """What a rollback did.

    Attributes:
        ref: the tag or pin that was rolled back.
        before: the version (64 hex) that the ref named; None for none.
        after: the version (64 hex) that it names now.
        left: what the ref was at, in words: the first digits of a version, an entry that does not count, or `nothing`.
    """

    ref: Ref
    before: str | None
    after: str
    left: str

    def __repr__(self) -> str:
        return f"<RolledBack {self.ref}: {short(self.before or 'nothing')} -> {short(self.after)}>"

    @property
    def moved(self) -> bool:
        """Whether the ref names another version than before."""
        return self.before != self.after


def history(store: Store, text: str) -> list[PastMove]:
    """Return every move of the tag or pin that `text` names, oldest first.

    Raises:
        InputError: `text` names a version by its digest.
        NotFoundError: the ref was never set.
    """
    return _past(store, ref_named(store, text))


def rollback(
    store: Store,
    text: str,
    to: str | None = None,
    *,
    reason: str | None = None,
    by: str | None = None,
    listen: events.Listener = events.ignore,
) -> RolledBack:
    """Move a tag or pin one step back, or to a version that it named before.

    Args:
        store: where the ref is.
        text: names the tag or pin.
        to: a reference to a version that the ref named before; None goes one step back.
        reason: why, for the record; by default `rollback from <version>`, or from an entry that does not count.
        by: who rolls back; by default user@host.
        listen: is told of warnings.

    Raises:
        InputError: there is nothing to go back to, or the ref never named `to`.
        NotFoundError: the store does not hold that version any more.
        RefMoved: somebody else moved the ref meanwhile.
        SignatureError: keys are trusted, and none of them signs here.
    """
    from cas.refs import move as moving

    ref = ref_named(store, text)
    past = _past(store, ref)
    before = None if past[-1].problem else past[-1].digest
    target = _one_step(ref, past) if to is None else _named_before(store, ref, past, to)
    left = _left(past[-1])
    if target != before:
        reason = reason or f"rollback from {left}"
        try:
            moving.move(store, {ref: past[-1].move}, target, reason, by, listen)
        except NotFoundError:
            raise _swept(store, ref, target) from None
    return RolledBack(ref, before, target, left)


def way_back(values: Iterable[str | None], published: Container[int] = ()) -> list[str | None]:
    """Return the versions that a ref can go back along, oldest first; the last one is in force.

    A move to the version before is a step back: the version that it came from is not on the way. A publish is a step
    forward, also where it publishes again what the ref named before.

    Args:
        values: the versions that the ref was moved to, in turn; None stands for a removal.
        published: which of these moves (from 0) a publish or a derivation made.
    """
    steps: list[str | None] = []
    for number, value in enumerate(values):
        before = _before(steps)
        is_forward = number in published and bool(steps) and steps[-1] is not None  # a removed version is put back
        if value is not None and before is not None and value == steps[before] and not is_forward:
            del steps[before + 1 :]
        elif not steps or value != steps[-1]:
            steps.append(value)
    return steps


def step_back(values: Iterable[str | None], published: Container[int] = ()) -> str | None:
    """Return the version that a ref goes back to; None when it is at the first. The arguments are `way_back`'s."""
    steps = way_back(values, published)
    before = _before(steps)
    return None if before is None else steps[before]


def _before(steps: Sequence[str | None]) -> int | None:
    """The index of the last version before the last of `steps`, leaving out removals."""
    return next((index for index in range(len(steps) - 2, -1, -1) if steps[index] is not None), None)


def _past(store: Store, ref: Ref) -> list[PastMove]:
    store.check_format()
    found = past_moves([RefLog(store, ref)])[ref]
    if not found:
        raise absent(store, ref)
    if store.trust is not None and not found[-1].problem:
        from cas.refs.floors import check_floor

        try:
            check_floor(store, store.trust, str(ref), found[-1].move.name)
        except SignatureError as error:  # what it names is known all the same, and can be gone back to
            found[-1] = found[-1]._replace(error=str(error), problem=error.problem)
    return found


def _one_step(ref: Ref, past: Sequence[PastMove]) -> str:
    moves = [move for move in past if not move.lost]
    published = {number for number, past in enumerate(moves) if past.move.entry.reason in (PUBLISH, DERIVE, SIGN)}
    target = step_back((move.digest for move in moves), published)
    if target is None:
        at = past[-1].digest
        raise InputError(
            f"{ref} is at {short(named(at)) if at else 'nothing'}, the first version in its history: there is "
            f"nothing to go back to; see `cas history {ref}`"
        )
    return target


def _named_before(store: Store, ref: Ref, past: Sequence[PastMove], to: str) -> str:
    digits = digits_in(to)
    reference = Reference(ref.model, digest=digits) if digits else definite(store, to)
    by_hand = f"cas tag {to} {ref.second}" if ref.kind == "tags" else f"cas pin {ref.first} {to}"
    if reference.model != ref.model:
        raise InputError(f"{to} is of another model than {ref}: name a version of {ref.model}")
    known = {move.digest for move in past if move.digest is not None}
    try:
        target = refs.resolve(store, reference).digest
    except NotFoundError:
        gone = {digest for digest in known if reference.digest and digest.startswith(reference.digest)}
        if len(gone) != 1:
            raise
        raise _swept(store, ref, gone.pop()) from None
    if target not in known:
        raise InputError(f"{ref} never named {VersionId(ref.model, target)}: move it there with `{by_hand}`")
    return target


def _swept(store: Store, ref: Ref, digest: str) -> NotFoundError:
    return NotFoundError(
        f"{VersionId(ref.model, digest)}, which {ref} would go back to, is not in {store.url} any more (a collector "
        f"may have swept it): choose another from `cas history {ref}` with `cas rollback {ref} --to`"
    )


def _left(past: PastMove) -> str:
    """In words, what a rollback leaves."""
    if past.problem:
        return f"entry {past.number} ({past.problem})"
    return past.digest[:12] if past.digest else "nothing"
