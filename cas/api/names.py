"""What names a version, for Python: set and remove tags and pins, and go back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cas import events
from cas.store.store import Store, open_store

if TYPE_CHECKING:
    from cas.refs.history import RolledBack
    from cas.refs.reference import Resolved
    from cas.refs.reflog import Ref


@dataclass(frozen=True, slots=True)
class Moved:
    """What moving or removing tags or pins did.

    Attributes:
        reference: the version that they name now, as `model@blake3:<64 hex>`; empty when they were removed.
        refs: the tags and pins that were meant, such as `minilm:prod` or `pin:eu-prod/minilm`.
        moved: those of them that named another version before.
        store: URL or path of the store.
    """

    reference: str
    refs: tuple[str, ...]
    moved: tuple[str, ...]
    store: str

    def __repr__(self) -> str:
        from cas.formats.digest import short

        return f"<Moved {', '.join(self.refs)} -> {short(self.reference) or 'removed'}>"


def tag(
    reference: str,
    tags: str | Sequence[str],
    store: Store | str | None = None,
    *,
    by: str | None = None,
    reason: str = "tag",
    expect: str | None = None,
    on_event: events.Listener = events.log,
) -> Moved:
    """Point tags of a model at a version of it.

    Args:
        reference: names the version.
        tags: one tag or several: `prod`, or with the model as in `minilm:prod`.
        store: an open store, a URL, or None for the default.
        by: who moves them, by default user@host.
        reason: why, for the record.
        expect: the version (a digest of 8 or more hex digits) that each tag must name now, or `none`.
        on_event: hears of warnings.

    Raises:
        InputError: a name is not valid.
        NotFoundError: the store has no such version.
        RefMoved: a tag names something else than `expect` says, or somebody else moved it meanwhile.
        SignatureError: keys are trusted, and none of them signs here.
    """
    from cas.refs.given_names import tag_to_set
    from cas.refs.reference import resolve

    opened = open_store(store)
    resolved = resolve(opened, reference, listen=on_event)
    names = [tags] if isinstance(tags, str) else tags
    refs = list(dict.fromkeys(tag_to_set(resolved.manifest.model, name) for name in names))
    return _point(opened, resolved, refs, by, reason, expect, on_event)


def untag(
    tags: str | Sequence[str],
    store: Store | str | None = None,
    *,
    by: str | None = None,
    reason: str = "untag",
    on_event: events.Listener = events.log,
) -> Moved:
    """Remove tags; the versions stay until `gc` finds that nothing needs them.

    Args:
        tags: one tag or several, each as `model:tag`.
        store: an open store, a URL, or None for the default.
        by: who removes them, by default user@host.
        reason: why, for the record.
        on_event: hears of warnings.

    Raises:
        InputError: something else than a tag is named.
        NotFoundError: a tag is not set.
        SignatureError: keys are trusted, and none of them signs here.
    """
    from cas.refs.given_names import tag_to_remove

    opened = open_store(store)
    texts = [tags] if isinstance(tags, str) else tags
    refs = [tag_to_remove(opened, text) for text in dict.fromkeys(texts)]
    return _remove(opened, refs, by, reason, on_event)


def pin(
    deployment: str,
    reference: str,
    store: Store | str | None = None,
    *,
    by: str | None = None,
    reason: str = "pin",
    expect: str | None = None,
    on_event: events.Listener = events.log,
) -> Moved:
    """Pin a version for a deployment, which restores it as `pin:deployment/model` until it is pinned anew.

    Args:
        deployment: its name, such as `eu-prod`, also written as its pin, `pin:eu-prod/minilm`.
        reference: names the version.
        store: an open store, a URL, or None for the default.
        by: who pins it, by default user@host.
        reason: why, for the record.
        expect: as for `tag`.
        on_event: hears of warnings.

    Raises:
        CasError: as for `tag`.
    """
    from cas.refs.given_names import pin_to_set
    from cas.refs.reference import resolve

    opened = open_store(store)
    resolved = resolve(opened, reference, listen=on_event)
    refs = [pin_to_set(deployment, reference, resolved.manifest.model)]
    return _point(opened, resolved, refs, by, reason, expect, on_event)


def unpin(
    deployment: str,
    model: str | None = None,
    store: Store | str | None = None,
    *,
    by: str | None = None,
    reason: str = "unpin",
    on_event: events.Listener = events.log,
) -> Moved:
    """Remove a deployment's pin.

    Args:
        deployment: its name, also written as its pin, `pin:eu-prod/minilm`.
        model: the pinned model; None for the only one.
        store: an open store, a URL, or None for the default.
        by: who removes it, by default user@host.
        reason: why, for the record.
        on_event: hears of warnings.

    Raises:
        NotFoundError: there is no such pin.
        InputError: `model` is None, and the deployment has several pins.
        SignatureError: keys are trusted, and none of them signs here.
    """
    from cas.refs.given_names import pin_to_remove

    opened = open_store(store)
    return _remove(opened, [pin_to_remove(opened, deployment, model)], by, reason, on_event)


def rollback(
    reference: str,
    store: Store | str | None = None,
    *,
    to: str | None = None,
    by: str | None = None,
    reason: str | None = None,
    on_event: events.Listener = events.log,
) -> RolledBack:
    """Move a tag or pin one step back, or to a version that it named before; a removed one is put back.

    Args:
        reference: the tag or pin.
        store: an open store, a URL, or None for the default.
        to: names a version that it named before; None goes one step back.
        by: who rolls back, by default user@host.
        reason: why, for the record.
        on_event: hears of warnings.

    Raises:
        InputError: there is nothing to go back to, or it never named `to`.
        NotFoundError: the store does not hold that version any more.
        RefMoved: somebody else moved it meanwhile.
        SignatureError: keys are trusted, and none of them signs here.
    """
    from cas.refs import history

    return history.rollback(open_store(store), reference, to, reason=reason, by=by, listen=on_event)


def _point(
    store: Store,
    version: Resolved,
    refs: Sequence[Ref],
    by: str | None,
    reason: str,
    expect: str | None,
    on_event: events.Listener,
) -> Moved:
    from cas.refs import move

    before = {ref: move.expected_move(store, ref, expect) if expect else None for ref in refs}
    moved = move.move(store, before, version.digest, reason, by, on_event)
    return Moved(version.exact, tuple(map(str, refs)), tuple(map(str, moved)), store.url)


def _remove(store: Store, refs: Sequence[Ref], by: str | None, reason: str, on_event: events.Listener) -> Moved:
    from cas.refs import move

    removed = move.move(store, dict.fromkeys(refs), None, reason, by, on_event)
    return Moved("", tuple(map(str, refs)), tuple(map(str, removed)), store.url)
