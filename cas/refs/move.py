"""Moves refs: tags and pins get to name another version, or none."""

from __future__ import annotations

import contextlib
import datetime
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cas import events
from cas.errors import FormatError, InputError, RefMoved, SignatureError, SignerMissing, StoreError
from cas.formats.digest import named
from cas.formats.manifest import timestamp
from cas.refs.confirm import confirm
from cas.refs.grammar import digits_in
from cas.refs.reflog import UNSET, Move, Ref, RefLog, shown
from cas.store import leases
from cas.store.layout import VersionId
from cas.store.store import Store

NOTHING = "none"
"""What a user writes to expect that a ref is not set."""


@dataclass(frozen=True, slots=True)
class MoveOn:
    """The rule of an operation such as a publish: it moves a ref on from whatever version the ref names by then.

    Attributes:
        began: the versions (64 hex, None for nothing) that refs named when the operation began. `move` warns about a
            ref in here that somebody else moved since then.
        lease: the operation's lease. Where it is acquired already, the operation made or found the version under it.
            Otherwise `move` acquires it when a ref is to be moved, and reads the version under it.
    """

    began: Mapping[Ref, str | None]
    lease: leases.LazyLease


def move(
    store: Store,
    expected: Mapping[Ref, Move | None],
    digest: str | None,
    reason: str,
    by: str | None = None,
    listen: events.Listener = events.ignore,
    *,
    meanwhile: MoveOn | None = None,
    created: str | None = None,
) -> tuple[Ref, ...]:
    """Move refs of one model to a version, or remove them, and return the refs that were moved.

    A ref that names the version already stays as it is. A ref whose last entry cannot be read, or is not signed by a
    trusted key, is moved, with a warning.
    When this returns, a power cut undoes none of it.

    Args:
        store: where the refs and the version are.
        expected: the refs, each with the move that must still be its last one; None accepts any last move.
        digest: the version, 64 hex; None removes the refs.
        reason: why they move, for the record; with `meanwhile`, the name of the operation, such as `publish`.
        by: who moves them; by default user@host.
        listen: is told of warnings.
        meanwhile: what happens when somebody else moved a ref meanwhile. None is the rule for moves by hand: a ref
            must still be at the move expected of it, even when it names the version by now. `move` then takes a lease
            and reads the version under it. A `MoveOn` also accepts a ref that names the version by now.
        created: when they were moved, as `cas.formats.manifest.now` writes it, where that was elsewhere: a copy keeps
            the time of the store that it copies from. None is now.

    Raises:
        NotFoundError: the store does not hold the version.
        RefMoved: somebody else moved a ref first.
        LeaseLost: the lease was not renewed in time. No ref names a version that was swept meanwhile.
        SignatureError: keys are trusted, and none of them signs here: nothing was moved, and by hand nothing written.
    """
    by_hand = meanwhile is None
    pending: list[Ref] = []
    for ref, expect in expected.items():
        # By hand, the expected move says what the ref names: `append` refuses when it is no longer the last one. One
        # below the floor names nothing.
        log = RefLog(store, ref)
        trusted = expect if by_hand and expect is not None and expect.number >= log.floor else None
        try:
            now = trusted.entry.digest if trusted else log.current_digest()
        except (FormatError, SignatureError) as error:
            listen(events.Warned(str(error)))
        else:
            if now == digest:
                continue
            if meanwhile is not None and expect is None and now not in (None, meanwhile.began.get(ref, now)):
                listen(
                    events.Warned(
                        f"{ref} was moved to {ref.model}@{now} by somebody else during this {reason}, "
                        "and is moved on from there"
                    )
                )
        pending.append(ref)
    if not pending:
        store.bucket.settle()  # what somebody else moved just now, and chunks that the caller sent again
        return ()
    _check_signer(store, pending, digest, reason, meanwhile)
    moved: list[Ref] = []
    purpose = f"move {', '.join(map(str, pending))}"
    with _lease(store, purpose, listen, meanwhile) as (lease, is_fresh):
        # One operation, one time: what is published with two tags was made once.
        created = created or timestamp(datetime.datetime.now(datetime.UTC))
        lease.check()
        for ref in pending:
            # No sweep can begin now. One that ended before the lease may have removed what was seen earlier.
            manifest = store.get_manifest(ref.model, digest) if is_fresh and digest is not None else None
            lease.check()
            try:
                RefLog(store, ref).append(digest, reason, by, expect=expected[ref], created=created)
            except RefMoved:
                if not by_hand and is_at(store, ref, digest):
                    continue  # somebody else moved it to the same version at the same moment
                if by_hand and moved:
                    listen(events.Warned(f"{', '.join(map(str, moved))} had been moved by then"))
                raise
            except StoreError:
                confirm(store, ref, digest, lease, by, listen, manifest)  # the entry may have been written all the same
                raise
            confirm(store, ref, digest, lease, by, listen, manifest)
            moved.append(ref)
    return tuple(moved)


@contextlib.contextmanager
def _lease(
    store: Store, purpose: str, listen: events.Listener, meanwhile: MoveOn | None
) -> Iterator[tuple[leases.LeaseHandle | leases.LazyLease, bool]]:
    """The lease to move refs under, and whether it is acquired only now, after the version was looked at."""
    if meanwhile is not None:
        yield meanwhile.lease, meanwhile.lease.start_acquiring()
        return
    with leases.hold_lease(store, purpose, listen) as lease:
        yield lease, True


def expected_move(store: Store, ref: Ref, expect: str) -> Move:
    """Return the last move of a ref, which must have gone to the version that a user expects.

    Args:
        store: where the ref is.
        ref: the ref.
        expect: a digest, its first 8 digits or more, or `none` for a ref that is not set.

    Raises:
        RefMoved: the ref names something else, or its last entry cannot be read.
        InputError: `expect` is something else.
    """
    _digits(expect)
    try:
        last = _last_move(store, ref)
    except FormatError:
        raise RefMoved(str(ref), "something that cannot be read", expect) from None
    except SignatureError as error:
        raise RefMoved(str(ref), f"something that is {error.problem}", expect) from None
    check_expected(ref, last.entry.digest, expect)
    return last


def check_expected(ref: Ref, digest: str | None, expect: str) -> None:
    """Raise RefMoved unless a ref names the version that a user expects.

    Args:
        ref: the ref.
        digest: what it names, 64 hex; None for nothing.
        expect: a digest, its first 8 digits or more, or `none`.

    Raises:
        RefMoved: it names something else.
        InputError: `expect` is something else.
    """
    wanted = _digits(expect)
    fits = digest is None if wanted is None else digest is not None and digest.startswith(wanted)
    if not fits:
        raise RefMoved(str(ref), "nothing" if digest is None else named(digest), expect)


def check_last_move(store: Store, ref: Ref, expect: Move) -> None:
    """Raise RefMoved when the last move of a ref is not `expect`, which is UNSET for a ref that was never set."""
    log = RefLog(store, ref)
    last = (log.names() or [UNSET.name])[-1]
    if last != expect.name:
        now = log.describe(last) if last else shown(UNSET.entry)
        raise RefMoved(str(ref), now, expected=shown(expect.entry))


def not_named(version: VersionId, error: RefMoved) -> events.Warned:
    """The warning that a new version is stored, but came too late for the ref that `error` is about to name it."""
    return events.Warned(f"{version} is in the store, but {error.ref} names another")


def refuse_signer(store: Store) -> None:
    """Raise an error for a key that cannot sign here, before an operation writes anything.

    Args:
        store: that is to be written.

    Raises:
        SignatureError: the key is not trusted here.
        CasError: it cannot be read.
    """
    if store.signer is not None:
        from cas.refs.signatures import refuse_foreign_signer

        refuse_foreign_signer(store)


def _check_signer(
    store: Store, pending: Sequence[Ref], digest: str | None, reason: str, meanwhile: MoveOn | None
) -> None:
    """Raise SignatureError unless these refs can be moved: where keys are trusted, one of them must sign."""
    if store.trust is None:
        return
    from cas.refs.signatures import signer_of

    try:
        signer_of(store, pending)
    except SignerMissing:
        if meanwhile is None or digest is None:
            raise
        version = VersionId(pending[0].model, digest)
        tags = " ".join(f"--tag {ref.second}" for ref in pending if ref.kind == "tags")
        there = f"--store {shlex.quote(store.url)}"
        ways = [f"cas sign {version} {tags} {there}"] if tags else []
        ways += [f"cas pin {ref.first} {version} {there}" for ref in pending if ref.kind == "pins"]
        raise SignerMissing(
            f"{version} is in {store.url}, and {', '.join(map(str, pending))} not moved there, as only signed moves "
            f"count here and this {reason} has no key to sign with: go on where the key is, before a collector's grace "
            "period has passed, with "
            f"{' and '.join(f'`{way}`' for way in ways)} (--sign-with, CAS_SIGNING_KEY)"
        ) from None


def is_at(store: Store, ref: Ref, digest: str | None) -> bool:
    """Return whether a ref names a version (64 hex); not if its last entry cannot be read, or does not count."""
    try:
        return RefLog(store, ref).current_digest() == digest
    except (FormatError, SignatureError):
        return False


def _last_move(store: Store, ref: Ref) -> Move:
    return (RefLog(store, ref).history(1) or [UNSET])[0]


def _digits(expect: str) -> str | None:
    """The first digits of a digest; None for `none`."""
    if expect == NOTHING:
        return None
    if digits := digits_in(expect.rpartition("@")[2]):
        return digits
    raise InputError(f"{expect!r} is no version to expect: write 8 or more hex digits of its digest, or `{NOTHING}`")
