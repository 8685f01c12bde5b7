"""Finds the version that some digits of a digest mean, with or without its model."""

from __future__ import annotations

from collections.abc import Iterable

from cas.errors import InputError, NotFoundError, SignatureError
from cas.formats.digest import SHORT
from cas.refs import reflog
from cas.store.layout import VersionId
from cas.store.store import Store


def find_version(store: Store, digits: str, model: str | None = None) -> VersionId:
    """Return the only version whose digest begins with some digits: where keys are trusted, of what was released.

    A few digits are no proof of content: whoever can write manifests can make one that shares 8 of them (32 bits). So
    where keys are trusted they mean a version that a signed entry names, or named before, and no other is looked for.
    The whole digest proves itself.

    Args:
        store: where the version is.
        digits: 8 to 64 hex digits, lower case.
        model: the model; None for any.

    Raises:
        InputError: several versions begin so; the error lists them.
        NotFoundError: none does.
        SignatureError: keys are trusted, and no signed entry names one that does.
        Unsupported: the store is read over https, which cannot list.
    """
    if store.trust is None or len(digits) == 64:
        found = _beginning(store.list_manifests(model), digits)
        if not found and model is None:
            found = _named(store, digits)
    else:
        found = _released(store, digits, model)
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(f"{version.model}@{version.digest[:SHORT]}" for version in found[:8])
        raise InputError(f"{f'{model}@' if model else ''}{digits} is ambiguous ({shown}): give more digits")
    if store.trust is not None and (model or _beginning(store.list_manifests(), digits)):
        raise SignatureError(
            f"{model or 'MODEL'}@{digits} in {store.url}: no signed entry of a tag or pin names a version that begins "
            "so, and another version can be made to share these digits: if you know which is right, write all 64 of "
            f"them (`cas --json ls{f' {model}' if model else ''}`)",
            "unsigned",
        )
    if model is None:
        raise NotFoundError(f"no version in {store.url} begins with {digits}, and no model is named so: see `cas ls`")
    raise NotFoundError(f"model {model} has no version {digits}… in {store.url}: see `cas ls {model}`")


def _beginning(versions: Iterable[VersionId], digits: str) -> list[VersionId]:
    return sorted({version for version in versions if version.digest.startswith(digits)})


def _named(store: Store, digits: str) -> list[VersionId]:
    """The versions that refs name and whose manifests the store has lost: it is told which they are."""
    from cas.refs.names import named_versions

    return _beginning(named_versions(store).versions(), digits)


def _released(store: Store, digits: str, model: str | None) -> list[VersionId]:
    from cas.refs.past_moves import past_moves

    logs = [log for log in reflog.logs(store) if model in (None, log.ref.model)]
    moves = [(ref.model, move.digest) for ref, moves in past_moves(logs).items() for move in moves]
    return _beginning((VersionId(owner, digest) for owner, digest in moves if digest is not None), digits)
