"""The end of a publish: the manifest, then its tags, unless somebody published the same or chose otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cas import events
from cas.errors import RefMoved
from cas.formats import manifest
from cas.formats.manifest import Manifest
from cas.refs import tagging
from cas.refs.reflog import Move, Ref
from cas.store import leases
from cas.store.store import Store


@dataclass(frozen=True, slots=True)
class Committed:
    """digest: of the version that the tags name (64 hex). moved: those that named another. created: if it is new."""

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
    """Writes a manifest whose chunks are in the store, and moves the tags to it; raises RefMoved, LeaseLost.

    parent: what the first tag named when the publish began. created: whether `new` has another content than that.
    by, expect: as for `publish`.
    """
    digest = manifest.digest_of(new) if created or parent is None else parent
    if created:
        lease.check()
        # Several workers may publish the same at once: who comes later finds it done.
        theirs = tagging.naming(store, new.model, tags[0], new, listen)
        digest, created = theirs or digest, theirs is None
    if created:
        if expect is not None:
            tagging.check(store, new.model, tags[0], expect)
        store.put_manifest(new)
        # A damaged one of the same name would have stayed; no tag may ever name it.
        store.get_manifest(new.model, digest)
    try:
        moved = tagging.move(store, new.model, tags, digest, parent, "publish", listen, by=by, expect=expect)
    except RefMoved as error:
        # Of the first tag alone: once it names this version, another one that was lost is somebody's choice.
        first = error.ref == str(Ref("tags", new.model, tags[0]))
        theirs = tagging.naming(store, new.model, tags[0], new, listen) if first else None
        if theirs is None:
            listen(tagging.lost(new.model, digest, error))
            raise
        digest, created = theirs, False
        moved = tagging.move(store, new.model, tags, digest, theirs, "publish", listen, by=by)
    lease.check()
    return Committed(digest, moved, created)
