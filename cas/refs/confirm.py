"""Confirm a move: find out, after a ref's entry was written, that no collector swept the version before that.

A machine can be suspended between the last look at its lease and the write of the entry, for longer than a collector
trusts the lease; and storage without conditional writes accepts the entry all the same. So the mover looks at the lease
once more when the entry is written. If the lease was live, every later sweep sees the entry. If it lapsed, the mover
takes a new lease, under which no sweep is under way, and takes the entry back unless its version is whole. A version of
which only the manifest was swept, because others need all its chunks, is made whole from the manifest that the mover
read.
"""

from __future__ import annotations

import contextlib

from cas import events
from cas.errors import (
    CasError,
    FormatError,
    IntegrityError,
    NotFoundError,
    ObjectMissing,
    RefMoved,
    SignatureError,
    StoreError,
)
from cas.formats.digest import named
from cas.formats.manifest import Manifest, digest_of
from cas.host import Limits
from cas.refs.reflog import Move, Ref, RefLog, entry_name
from cas.store import layout
from cas.store.layout import VersionId
from cas.store.lease_entries import LeaseLost
from cas.store.leases import LazyLease, LeaseHandle, hold_lease
from cas.store.lookup import stored_chunks
from cas.store.store import Store

_TRIES = 5  # how often the look begins anew because this machine slept again


def confirm(
    store: Store,
    ref: Ref,
    digest: str | None,
    lease: LeaseHandle | LazyLease,
    by: str | None,
    listen: events.Listener,
    manifest: Manifest | None = None,
) -> None:
    """Return if the lease was live when the ref's entry was written; otherwise mend the ref, and raise.

    Args:
        store: where the ref and the version are.
        ref: that was moved.
        digest: the version (64 hex) that it was moved to; None for a removal, which depends on nothing.
        lease: under which it was moved.
        by: who moved it, as `RefLog.append` takes it.
        listen: is told when a sweep is waited for.
        manifest: the version's, if the mover has read it.

    Raises:
        LeaseLost: the lease had lapsed. The ref names a version that is whole, or none.
    """
    try:
        lease.check()
    except LeaseLost as lost:
        if digest is None:
            raise
        try:
            now, is_mended = _mend(store, ref, by, listen, manifest)
        except CasError as error:
            raise LeaseLost(
                f"{lost}. Whether {ref} names a version that is still whole could not be found out ({error})"
            ) from error
        if not is_mended:
            raise
        raise LeaseLost(
            f"{ref} was moved to {VersionId(ref.model, digest)}, which a collector had deleted while this machine "
            f"slept or could not write to {store.url}; {ref} {f'names {named(now)}' if now else 'is removed'} now: "
            f"publish that version again, or choose another (`cas ls {ref.model}`)"
        ) from lost


def _mend(
    store: Store, ref: Ref, by: str | None, listen: events.Listener, manifest: Manifest | None
) -> tuple[str | None, bool]:
    """Take the ref's last entry back if its version is not whole, and `manifest` does not make it so.

    Returns:
        The version (64 hex) that the ref names now, None for none; and whether an entry was taken back.
    """
    is_mended = False
    for _ in range(_TRIES):
        with contextlib.suppress(LeaseLost, RefMoved), hold_lease(store, f"look after {ref}", listen) as lease:
            log = RefLog(store, ref)
            moves = _last_two(log)
            digest = moves[-1].entry.digest if moves else None
            if digest is not None and not _is_whole(store, VersionId(ref.model, digest), manifest):
                back = moves[0].entry.digest if len(moves) > 1 else None
                if back is not None and not _is_whole(store, VersionId(ref.model, back)):
                    back = None
                log.append(back, f"{digest[:12]} was swept before it was named", by, expect=moves[-1])
                digest, is_mended = back, True
            lease.check()
            return digest, is_mended
    raise StoreError(f"{ref} was moved, or this machine slept, {_TRIES} times meanwhile")


def _last_two(log: RefLog) -> list[Move]:
    """The last move of a log, and before it the one that was in force, which is of a lower number.

    That one is left out if it cannot be read, or no trusted key signed it. The list is empty for a ref never set.
    """
    listed = log.listed()
    if not listed:
        return []
    number = layout.ref_entry_order(entry_name(listed[-1]))[0]
    before = [entry for entry in listed if layout.ref_entry_order(entry_name(entry))[0] < number][-1:]
    moves = [log.move(listed[-1])]
    with contextlib.suppress(FormatError, ObjectMissing, SignatureError):
        moves = [log.move(entry) for entry in before] + moves
    return moves


def _is_whole(store: Store, version: VersionId, manifest: Manifest | None = None) -> bool:
    """Whether the store has a version's manifest, readable, and every chunk of it.

    A manifest that the store lacks is written from `manifest`, if that is the version's and the chunks are all there.
    """
    is_swept = False
    try:
        found = store.get_manifest(*version)
    except NotFoundError:
        if manifest is None or digest_of(manifest) != version.digest:
            return False
        found, is_swept = manifest, True
    except (IntegrityError, FormatError):
        return False
    chunks = found.chunks()
    is_whole = stored_chunks(store, chunks, Limits()) == chunks.keys()
    if is_whole and is_swept:
        store.put_manifest(found)
    return is_whole
