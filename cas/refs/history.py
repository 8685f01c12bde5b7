"""The history of a tag or pin, move by move, and how `cas rollback` goes back along it."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from cas import events, refs
from cas.bucket import Entry
from cas.errors import FormatError, InputError, NotFoundError, ObjectMissing, SignatureError
from cas.formats.digest import named, short
from cas.formats.manifest import timestamp
from cas.parallel import for_each
from cas.refs.entry import DERIVE, PUBLISH, SIGN, RefEntry
from cas.refs.reflog import Move, Ref, RefLog, entry_name
from cas.store import layout
from cas.store.layout import VersionId
from cas.store.store import Store

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


class RolledBack(NamedTuple):
    """What a rollback did.

    Attributes:
        ref: the tag or pin that was rolled back.
        before: the version (64 hex) that the ref named; None for none.
        after: the version (64 hex) that it names now.
    """

    ref: Ref
    before: str | None
    after: str

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
    if target != before:
        reason = reason or f"rollback from {_left(past[-1])}"
        try:
            moving.move(store, {ref: past[-1].move}, target, reason, by, listen)
        except NotFoundError:
            raise _swept(store, ref, target) from None
    return RolledBack(ref, before, target)


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


def ref_named(store: Store, text: str) -> Ref:
    """Return the tag or pin that a text names.

    Raises:
        InputError: `text` names a version by its digest.
    """
    reference = refs.parse_reference(text)
    if reference.digest is not None:
        raise InputError(f"{text} is one version, which never changes: name a tag (model:tag) or pin:deployment/model")
    return refs.log_of(store, reference).ref


def _past(store: Store, ref: Ref) -> list[PastMove]:
    store.check_format()
    found = past_moves([RefLog(store, ref)])[ref]
    if not found:
        raise refs.absent(store, ref)
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
            f"{ref} is at {named(at) if at else 'nothing'}, the first version in its history: there is nothing to go "
            f"back to; see `cas history {ref}`"
        )
    return target


def _named_before(store: Store, ref: Ref, past: Sequence[PastMove], to: str) -> str:
    reference = refs.parse_reference(to)
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


def _order(past: PastMove) -> tuple[int, str]:
    return layout.ref_entry_order(past.move.name)


def _number(name: str) -> int:
    return layout.ref_entry_order(name)[0]
