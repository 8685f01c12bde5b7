"""Commit: write the manifest and move the tags.

Equal content has equal names. So publishers of one content at one moment write the same manifest, and the tag names
what each of them published, whoever moves it.
"""

from __future__ import annotations

from collections.abc import Sequence

from cas import events
from cas.errors import RefMoved
from cas.formats.manifest import Manifest
from cas.refs.entry import PUBLISH
from cas.refs.move import MoveOn, check_last_move, is_at, move, not_named
from cas.refs.reflog import Move, Ref
from cas.store import leases
from cas.store.layout import VersionId
from cas.store.store import Store


def commit(
    store: Store,
    version: VersionId,
    new: Manifest | None,
    tags: Sequence[str],
    parent: str | None,
    lease: leases.LazyLease,
    listen: events.Listener,
    *,
    by: str | None = None,
    expect: Move | None = None,
) -> tuple[str, ...]:
    """Write a manifest whose chunks are in the store, move the tags to it, and return the tags that were moved.

    Args:
        store: the store that has the chunks.
        version: what the tags are to name.
        new: its manifest; None when the first tag names it already.
        tags: the tags to move.
        parent: the digest (64 hex) that the first tag named when the publish began; None when it named nothing.
        lease: the publish's lease, which must have been live all the time.
        listen: told of warnings.
        by: as for `publish`.
        expect: as for `publish`.

    Raises:
        RefMoved: somebody else moved a tag to another version at the same moment, or the first tag since `expect`.
        LeaseLost: the lease was not renewed in time, so a collector may have deleted chunks.
        SignerMissing: keys are trusted, and none signs here: the version is stored, and the tags stay as they are.
    """
    refs = [Ref("tags", version.model, tag) for tag in tags]
    if new is not None:
        lease.check()
        if expect is not None and not is_at(store, refs[0], version.digest):
            check_last_move(store, refs[0], expect)
        store.put_manifest(new)
        # A manifest that was damaged on the way fails here, before any tag names it.
        store.get_manifest(version.model, version.digest)
    try:
        expected = {**dict.fromkeys(refs), refs[0]: expect}
        moved = move(store, expected, version.digest, PUBLISH, by, listen, meanwhile=MoveOn({refs[0]: parent}, lease))
    except RefMoved as error:
        listen(not_named(version, error))
        raise
    lease.check()
    return tuple(ref.second for ref in moved)
