"""What a tag or pin named, move by move, and the way back along it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cas import events, refs
from cas.errors import FormatError, InputError, NotFoundError, ObjectMissing
from cas.formats.digest import named
from cas.formats.manifest import timestamp
from cas.parallel import for_each
from cas.refs import move as moving
from cas.refs.reflog import Move, Ref, RefEntry, RefLog
from cas.store.store import Store

_REQUESTS = 16


class Past(NamedTuple):
    """One move of a ref. error: why its entry cannot be read, empty when it can; one that cannot names nothing.

    lost: somebody else's move of the same number won, so that it never came into force.
    """

    move: Move
    lost: bool
    error: str = ""

    @property
    def number(self) -> int:
        """Its number in the log, from 1."""
        return _number(self.move.name)

    @property
    def digest(self) -> str | None:
        """The version (64 hex) that the ref was moved to, None for none."""
        return self.move.entry.digest


class RolledBack(NamedTuple):
    """What a rollback did. before: the version (64 hex) that the ref named, None for none. after: what it names now."""

    ref: Ref
    before: str | None
    after: str

    @property
    def moved(self) -> bool:
        """Whether it did anything."""
        return self.before != self.after


def history(store: Store, text: str) -> list[Past]:
    """Every move of the tag or pin that `text` names, oldest first.

    Raises InputError for a digest, NotFoundError when the ref was never set.
    """
    return _past(store, _ref(store, text))


def rollback(
    store: Store,
    text: str,
    to: str | None = None,
    *,
    reason: str | None = None,
    by: str | None = None,
    listen: events.Listener = events.ignore,
) -> RolledBack:
    """Moves the tag or pin that `text` names one step back, or to a version that it named before.

    to: a reference to that version. Raises InputError when there is nothing to go back to, NotFoundError when the
    store no longer holds it, RefMoved when somebody else moved the ref meanwhile.
    """
    ref = _ref(store, text)
    past = _past(store, ref)
    before = past[-1].digest
    target = _one_step(ref, past) if to is None else _named_before(store, ref, past, to)
    if target != before:
        reason = reason or f"rollback from {before[:12] if before else 'nothing'}"
        try:
            moving.move(store, {ref: past[-1].move}, target, reason, by, listen)
        except NotFoundError:
            raise _swept(store, ref, target) from None
    return RolledBack(ref, before, target)


def way(values: Iterable[str | None]) -> list[str | None]:
    """The values from which a ref, moved to each of `values` in turn, can go back one by one; the last is in force.

    None stands for a removed ref. A move to the version before is a step back: what it came from is not on the way.
    """
    steps: list[str | None] = []
    for value in values:
        before = _before(steps)
        if value is not None and before is not None and value == steps[before]:
            del steps[before + 1 :]
        elif not steps or value != steps[-1]:
            steps.append(value)
    return steps


def step_back(values: Iterable[str | None]) -> str | None:
    """The version that a ref moved to each of `values` goes back to; None when it is at the first."""
    steps = way(values)
    before = _before(steps)
    return None if before is None else steps[before]


def _before(steps: Sequence[str | None]) -> int | None:
    """Where the version before the last of `steps` stands."""
    return next((place for place in range(len(steps) - 2, -1, -1) if steps[place] is not None), None)


def _ref(store: Store, text: str) -> Ref:
    reference = refs.parse_reference(text)
    if reference.digest is not None:
        raise InputError(f"{text} is one version, which never changes: name a tag (model:tag) or pin:deployment/model")
    return refs.log_of(store, reference).ref


def _past(store: Store, ref: Ref) -> list[Past]:
    store.check_format()
    log = RefLog(store, ref)
    listed = log.listed()
    names = [entry.key.rpartition("/")[2] for entry in listed]
    winners = {_number(name): name for name in names}  # the last of a number, as they are in order
    found: dict[str, Past] = {}

    def read(place: int) -> None:
        name, at = names[place], listed[place].modified
        lost = winners[_number(name)] != name
        try:
            found[name] = Past(Move(name, at, log.read(name)), lost)
        except ObjectMissing:
            return  # trimmed meanwhile
        except FormatError as error:
            found[name] = Past(Move(name, at, RefEntry(None, timestamp(at), "", "")), lost, str(error))

    if names:
        for_each(read, range(len(names)), threads=min(_REQUESTS, len(names)))
    if not found:
        raise refs.absent(store, ref)
    return [found[name] for name in names if name in found]


def _one_step(ref: Ref, past: Sequence[Past]) -> str:
    target = step_back(one.digest for one in past if not one.lost)
    if target is None:
        at = past[-1].digest
        raise InputError(
            f"{ref} is at {named(at) if at else 'nothing'}, the first version in its history: there is nothing to go "
            f"back to; see `cas history {ref}`"
        )
    return target


def _named_before(store: Store, ref: Ref, past: Sequence[Past], to: str) -> str:
    reference = refs.parse_reference(to)
    by_hand = f"cas tag {to} {ref.second}" if ref.kind == "tags" else f"cas pin {ref.first} {to}"
    if reference.model != ref.model:
        raise InputError(f"{to} is of another model than {ref}: name a version of {ref.model}")
    known = {one.digest for one in past if one.digest is not None}
    try:
        target = refs.resolve(store, reference).digest
    except NotFoundError:
        gone = {digest for digest in known if reference.digest and digest.startswith(reference.digest)}
        if len(gone) != 1:
            raise
        raise _swept(store, ref, gone.pop()) from None
    if target not in known:
        raise InputError(f"{ref} never named {ref.model}@{named(target)}: move it there with `{by_hand}`")
    return target


def _swept(store: Store, ref: Ref, digest: str) -> NotFoundError:
    return NotFoundError(
        f"{ref.model}@{named(digest)}, which {ref} would go back to, is not in {store.url} any more (a collector may "
        f"have swept it): choose another from `cas history {ref}` with `cas rollback {ref} --to`"
    )


def _number(name: str) -> int:
    return int(name.partition("-")[0])
