"""What publishing verbs do with tags: look what one names, build upon it, and move it on."""

from __future__ import annotations

from collections.abc import Sequence

from cas import events, refs
from cas.errors import FormatError, IntegrityError, NotFoundError, RefMoved
from cas.formats.digest import named
from cas.formats.manifest import Manifest
from cas.refs.reference import Reference
from cas.refs.reflog import UNSET, Move, shown
from cas.store.store import Store


def current(store: Store, model: str, tag: str, listen: events.Listener) -> str | None:
    """The digest that a tag names now; None when it names none, or its last entry cannot be read."""
    try:
        return refs.log_of(store, Reference(model, tag=tag)).current_digest()
    except FormatError as error:
        listen(events.Warned(str(error)))
        return None


def version(store: Store, model: str, tag: str, listen: events.Listener) -> tuple[str | None, Manifest | None]:
    """Digest and manifest of the version that a tag names now, if any."""
    digest = current(store, model, tag, listen)
    if digest is None:
        return None, None
    try:
        return digest, store.get_manifest(model, digest)
    except (NotFoundError, IntegrityError) as error:
        listen(events.Warned(f"the version that {model}:{tag} names cannot be read and is not built upon: {error}"))
        return None, None


def naming(store: Store, model: str, tag: str, same: Manifest, listen: events.Listener) -> str | None:
    """The digest of the version that a tag names now, if it has the content of another manifest; else None."""
    digest, manifest = version(store, model, tag, listen)
    return digest if manifest is not None and manifest.content() == same.content() else None


def check(store: Store, model: str, tag: str, expect: Move) -> None:
    """Raises RefMoved when a tag's last move is not the one expected, UNSET for none."""
    log = refs.log_of(store, Reference(model, tag=tag))
    last = (log.history(1) or [UNSET])[0]
    if last.name != expect.name:
        raise RefMoved(str(log.ref), shown(last.entry), expected=shown(expect.entry))


def lost(model: str, digest: str, error: RefMoved) -> events.Warned:
    """What to tell whoever made a version (64 hex), and then was too late to move a tag to it."""
    return events.Warned(f"{model}@{named(digest)} is in the store, but {error.ref} names another")


def readable(store: Store, model: str, digest: str) -> Manifest | None:
    """A version's manifest, None when it is not there or cannot be read."""
    try:
        return store.get_manifest(model, digest)
    except (NotFoundError, IntegrityError, FormatError):
        return None


def move(
    store: Store,
    model: str,
    tags: Sequence[str],
    digest: str,
    parent: str | None,
    verb: str,
    listen: events.Listener,
    *,
    by: str | None = None,
    expect: Move | None = None,
) -> tuple[str, ...]:
    """Moves each tag that names something else to a version, and returns those; raises RefMoved.

    parent: what the first tag named when `verb` (such as `publish`) began: somebody may have moved it since.
    by: who moves them, by default user@host. expect: the move that must still be the first tag's last one, if any.
    """
    moved = []
    for tag in tags:
        now = current(store, model, tag, listen)
        if now == digest:
            continue
        first = tag == tags[0]
        if first and expect is None and now not in (None, parent):
            listen(
                events.Warned(
                    f"{model}:{tag} was moved to {model}@{now} by somebody else during this {verb}, "
                    "and is moved on from there"
                )
            )
        log = refs.log_of(store, Reference(model, tag=tag))
        log.append(digest, reason=verb, by=by, expect=expect if first else None)
        moved.append(tag)
    return tuple(moved)
