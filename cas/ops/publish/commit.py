"""Commit: write the manifest and move the tags, unless somebody else published the same or moved a tag meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cas import events
from cas.errors import RefMoved
from cas.formats import manifest
from cas.formats.manifest import Manifest
from cas.refs.move import MoveOn, check_last_move, move, not_named
from cas.refs.reference import version_of_same_content
from cas.refs.reflog import Move, Ref
from cas.store import leases
from cas.store.layout import VersionId
from cas.store.store import Store


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did.

    Attributes:
        digest: the version that the tags name now (64 hex).
        moved: the tags that named another version before.
        created: whether this commit made the version.
    """

    digest: str
    moved: tuple[str, ...]
    created: bool


def commit(
    store: Store,
    new: Manifest,
    tags: Sequence[str],
    parent: str | None,
    lease: leases.LazyLease,
    listen: events.Listener,
    *,
    created: bool,
    by: str | None = None,
    expect: Move | None = None,
) -> Committed:
    """Write a manifest whose chunks are in the store, and move the tags to it.

    Args:
        store: the store that has the chunks.
        new: the manifest.
        tags: the tags to move.
        parent: the digest (64 hex) that the first tag named when the publish began; None when it named nothing.
        lease: the publish's lease, which must have been live all the time.
        listen: told of warnings.
        created: whether the content of `new` differs from the parent's.
        by: as for `publish`.
        expect: as for `publish`.

    Raises:
        RefMoved: somebody else moved a tag at the same moment, or the first tag since `expect`.
        LeaseLost: the lease was not renewed in time, so a collector may have deleted chunks.
    """
    refs = [Ref("tags", new.model, tag) for tag in tags]
    digest = manifest.digest_of(new) if created or parent is None else parent
    if created:
        lease.check()
        # Several workers may publish the same content at once: the later ones find that it is done.
        theirs = version_of_same_content(store, refs[0], new, listen)
        digest, created = theirs or digest, theirs is None
    if created:
        if expect is not None:
            check_last_move(store, refs[0], expect)
        store.put_manifest(new)
        # A damaged manifest of the same name is not overwritten: it fails here, before any tag names it.
        store.get_manifest(new.model, digest)
    try:
        expected = {**dict.fromkeys(refs), refs[0]: expect}
        moved = move(store, expected, digest, "publish", by, listen, meanwhile=MoveOn({refs[0]: parent}, lease))
    except RefMoved as error:
        # Only if the first tag was lost. Once that names this version, somebody else has chosen what a later tag names.
        first = error.ref == str(refs[0])
        theirs = version_of_same_content(store, refs[0], new, listen) if first else None
        if theirs is None:
            listen(not_named(VersionId(new.model, digest), error))
            raise
        digest, created = theirs, False
        moved = move(
            store, dict.fromkeys(refs), digest, "publish", by, listen, meanwhile=MoveOn({refs[0]: theirs}, lease)
        )
    lease.check()
    return Committed(digest, tuple(ref.second for ref in moved), created)
