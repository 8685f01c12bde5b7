"""Where versions come from: the first move that named a version says when, by whom and after what it was made.

A manifest of version 2 says nothing of that, because its name is that of its content. The logs of a model's tags do:
each move is on record with its time, author and program, and the version that the tag named before is the parent.
Pins are no source: they say what a deployment runs, not what was made from what. A manifest of version 1 says itself
when, with which program and after what it was made.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Collection
from typing import NamedTuple, TypeAlias

from cas.formats.digest import parse
from cas.formats.manifest import Manifest, Manifest1, timestamp
from cas.refs.past_moves import PastMove, past_moves
from cas.refs.reflog import Ref, logs
from cas.store.layout import VersionId
from cas.store.store import Store

StoredAt: TypeAlias = Callable[[VersionId], datetime.datetime | None]
"""Tells when the manifest of a version was written, by the server's clock; None if that is not known."""

_SOON = datetime.timedelta(minutes=1)
"""A publish moves its tags this soon after it wrote its manifest; mostly it takes less than a second."""


class Lineage(NamedTuple):
    """When, by whom and after what a version was made.

    Attributes:
        created: when (RFC 3339): the time of the first move that named the version or, if none did, when the store got
            the manifest.
        by: who; empty if that is not known.
        program: with which program, such as `cas 0.1.0`; empty if that is not known.
        tag: the tag that was the first to name the version; None if that is not known.
        parent: the version (64 hex) that the tag named before; None for none.
    """

    created: str
    by: str = ""
    program: str = ""
    tag: Ref | None = None
    parent: str | None = None


class FirstMove(NamedTuple):
    """The first move of any tag that named a version.

    Attributes:
        ref: the tag that was moved.
        at: when its entry was written, by the server's clock.
        created: when it was moved, by the mover's clock (RFC 3339). A copy of a store keeps this time.
        by: who moved it.
        program: with which program, such as `cas 0.1.0`; empty where the entry does not tell.
        parent: the version (64 hex) that the tag named before; None for none.
    """

    ref: Ref
    at: datetime.datetime
    created: str
    by: str
    program: str
    parent: str | None


def lineage_of(store: Store, version: VersionId, manifest: Manifest) -> Lineage:
    """Return the lineage of one version.

    Args:
        store: where the version is.
        version: the version.
        manifest: its manifest; one of version 1 has the lineage in it, so that the store is not asked.

    Raises:
        Unsupported: the store is read over plain https, which cannot list.
    """
    if isinstance(manifest, Manifest1):
        return Lineage(manifest.created, "", manifest.created_by, None, manifest.parent and parse(manifest.parent))

    stored = functools.cache(lambda: store.stored_at(version))
    moves = first_moves(store, {version.model}, lambda other: stored() if other == version else None)
    if (move := moves.get(version)) is None:
        return Lineage(timestamp(stored()))
    return Lineage(move.created, move.by, move.program, move.ref, move.parent)


def first_moves(store: Store, models: Collection[str], stored_at: StoredAt) -> dict[VersionId, FirstMove]:
    """Return the first move that named each version of some models, as far as the logs of their tags tell.

    The store is asked for one listing, and for every entry of these logs, sixteen at a time. Where a version is first
    named is in no entry's name, so a version of last year and one of today cost the same.

    Args:
        store: where the logs are.
        models: whose versions are wanted.
        stored_at: is asked about versions of models with a log of which a collector has trimmed the beginning.
    """
    only = next(iter(models)) if len(models) == 1 else ""
    wanted = [log for log in logs(store, "tags", only) if log.ref.model in models] if models else []
    found: dict[VersionId, FirstMove] = {}
    trimmed: dict[str, datetime.datetime] = {}  # model -> the time from which on none of its logs lacks a move
    for ref, moves in past_moves(wanted).items():
        if moves and moves[0].number > 1:
            trimmed[ref.model] = max(trimmed.get(ref.model, moves[0].move.at), moves[0].move.at)
        for version, move in _first_of_log(ref, moves, stored_at).items():
            if version not in found or _order(move) < _order(found[version]):
                found[version] = move
    return {
        version: move
        for version, move in found.items()
        if version.model not in trimmed or not _may_be_later(move, stored_at(version), trimmed[version.model])
    }


def _first_of_log(ref: Ref, moves: list[PastMove], stored_at: StoredAt) -> dict[VersionId, FirstMove]:
    """Return the first move that named each version in one log, given its moves, oldest first.

    A move that somebody else's replaced in the same moment counts, as it tells of the version that it named; but no
    version came after that one. Removals, and entries that cannot be read, are passed over.
    """
    found: dict[VersionId, FirstMove] = {}
    before: str | None = None
    for past in moves:
        digest, entry = past.digest, past.move.entry
        if digest is None:
            continue
        version = VersionId(ref.model, digest)
        if version not in found and not _may_be_trimmed(version, moves[0], stored_at):
            found[version] = FirstMove(ref, past.move.at, entry.created, entry.by, entry.program, before)
        if not past.lost:
            before = digest
    return found


def _may_be_trimmed(version: VersionId, oldest: PastMove, stored_at: StoredAt) -> bool:
    """Whether the first move that named a version may be among those that a collector trimmed from a log.

    A version that is older than all that remains of the log may have been named before; what remains is then, say, a
    rollback to it, which tells neither when it was made nor after what.
    """
    if oldest.number == 1:
        return False
    written = stored_at(version)
    return written is None or written < oldest.move.at


def _may_be_later(move: FirstMove, stored: datetime.datetime | None, trimmed: datetime.datetime) -> bool:
    """Whether a move that another tag's log lacks may have named the version before `move` did.

    The first move is that of the publish that stored the version. One that came long after it is, say, the promotion
    of a version that another tag named first. In a copy of a store every manifest is younger than the moves are by
    their movers' clocks, so that there this cannot be told, and the move is believed.

    Args:
        move: the first move that is left.
        stored: when the manifest was written; None if that is not known.
        trimmed: the time from which on no log lacks a move.
    """
    if stored is None:
        return True
    return stored < trimmed and min(move.created, timestamp(move.at)) > timestamp(stored + _SOON)


def _order(move: FirstMove) -> tuple[str, bool, datetime.datetime, Ref]:
    """What moves of several tags are ordered by.

    A publish moves all its tags at one time. Of these, a tag that named a version before tells the parent.
    """
    return move.created, move.parent is None, move.at, move.ref
