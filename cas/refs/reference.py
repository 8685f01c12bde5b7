"""Which version a reference stands for now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cas import events
from cas.errors import FormatError, InputError, IntegrityError, NotFoundError, RefUnset, SignatureError
from cas.formats.digest import short
from cas.formats.manifest import Manifest
from cas.formats.printable import no_command
from cas.parallel import BackgroundCall
from cas.refs.grammar import DEFAULT_TAG, Reference, parse_reference
from cas.refs.reflog import Move, Ref, RefLog
from cas.store.layout import VersionId
from cas.store.store import Store

__all__ = [
    "DEFAULT_TAG",
    "Reference",
    "Resolved",
    "last_move",
    "log_of",
    "parse_reference",
    "resolve",
    "signed_entry",
    "version_to_build_on",
]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The version that a reference names now.

    Attributes:
        reference: the reference.
        digest: the version, 64 hex.
        manifest: the version's manifest.
        move: the last move of the tag or pin; None where no ref was read. Where keys are trusted, it was verified.
    """

    reference: Reference
    digest: str
    manifest: Manifest
    move: Move | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        return f"<Resolved {self.reference}: {short(self.exact)}>"

    @property
    def exact(self) -> str:
        """The reference that names this version for ever."""
        return str(VersionId(self.manifest.model, self.digest))


def resolve(
    store: Store,
    reference: Reference | str,
    hubs: Sequence[Path] = (),
    *,
    keep: bool = False,
    listen: events.Listener = events.ignore,
) -> Resolved:
    """Return the version that a reference names now, with its manifest.

    A text that names nothing as it is written may mean something all the same (`cas/refs/meaning.py`).

    Args:
        store: where the version is.
        reference: a parsed reference, which means what it says; or its text.
        hubs: hub caches. Where keys are trusted, a tag or pin must not be older than what any of them has seen.
        keep: keep in these caches what was seen.
        listen: is told what a text was taken for.

    Raises:
        InputError: the text is no reference, or several things fit it.
        StoreMissing: there is no store.
        RefUnset: the tag or pin was never set.
        ManifestMissing: the store does not hold the version (any more).
        NotFoundError: the tag or pin was removed; the base of the three above.
        SignatureError: keys are trusted, and none of them signed the tag or pin as it is, or it is older than its floor
            or than what a cache has seen; or no signed entry ever named the version of which some digits are given.
        IntegrityError: the manifest is damaged.
        FormatError: a newer program wrote the store or the manifest, or something in them is malformed.
    """
    if isinstance(reference, Reference):
        return _resolve(store, reference, hubs, keep=keep)
    try:
        parsed = parse_reference(reference)
    except InputError:
        from cas.refs.meaning import definite

        return _resolve(store, definite(store, reference, listen), hubs, keep=keep)
    try:
        return _resolve(store, parsed, hubs, keep=keep)
    except RefUnset:
        from cas.refs.meaning import other_meaning

        meant = other_meaning(store, reference, listen)
        if meant is None:
            raise
    return _resolve(store, meant, hubs, keep=keep)


def log_of(store: Store, reference: Reference) -> RefLog:
    """Return the log of the tag or pin that a reference names."""
    if reference.deployment is not None:
        return RefLog(store, Ref("pins", reference.deployment, reference.model))
    return RefLog(store, Ref("tags", reference.model, reference.tag or DEFAULT_TAG))


def version_to_build_on(store: Store, ref: Ref, listen: events.Listener) -> tuple[str | None, Manifest | None]:
    """Return digest (64 hex) and manifest of the version that a ref names now.

    Both are None when the ref names none, or, with a warning, when its last entry cannot be read or is not signed by a
    trusted key. The manifest alone is None, with a warning, when the store has lost or damaged it.
    """
    try:
        digest = RefLog(store, ref).current_digest()
    except (FormatError, SignatureError) as error:
        listen(events.Warned(str(error)))
        return None, None
    if digest is None:
        return None, None
    try:
        return digest, store.get_manifest(ref.model, digest)
    except (NotFoundError, IntegrityError) as error:
        listen(events.Warned(f"the version that {ref} names cannot be read and is not built upon: {error}"))
        return digest, None


def last_move(log: RefLog, hubs: Sequence[Path], *, keep: bool) -> Move | None:
    """Return the last move of a tag or pin; None when it was never set.

    Args:
        log: of the ref.
        hubs: as for `resolve`, and `keep` likewise.
        keep: keep in these caches what was seen.

    Raises:
        SignatureError: as `resolve`.
    """
    store = log.store
    if store.trust is None:
        return log.last_move()
    from cas.refs.floors import check_seen, keep_seen

    # Loading what verifies takes as long as the listing does, so one costs nothing beside the other.
    BackgroundCall(_load_verification)
    move = log.last_move()
    try:
        for hub in hubs:
            check_seen(hub, store, str(log.ref), move)
    except SignatureError:
        # Since the log was listed the ref may have been moved, and another reader have seen that in a cache they share.
        move = RefLog(store, log.ref).last_move()
        for hub in hubs:
            check_seen(hub, store, str(log.ref), move)
    for hub in hubs if keep else ():
        keep_seen(hub, store, str(log.ref), move)
    return move


def _resolve(store: Store, reference: Reference, hubs: Sequence[Path], *, keep: bool) -> Resolved:
    # A second thread checks meanwhile that there is a store and that we may read it. One after the other, both requests
    # would cost a round trip more, which may take 100 ms.
    checked = BackgroundCall(store.check_format)
    try:
        digest, move = reference.digest, None
        if reference.deployment is not None or reference.tag is not None:
            digest, move = _current(store, log_of(store, reference), hubs, keep=keep)
            _must_agree(store, reference, digest)
        elif digest is not None and len(digest) < 64:
            from cas.refs.digits import find_version

            digest = find_version(store, digest, reference.model).digest
        assert digest is not None, "a reference has a tag, a deployment or a digest"
        return Resolved(reference, digest, store.get_manifest(reference.model, digest), move)
    finally:
        checked.result()  # raises when there is no store: that error replaces the one about the version


def _must_agree(store: Store, reference: Reference, now: str) -> None:
    """Raise NotFoundError where a tag does not name the version that stands beside it."""
    if reference.digest is None or now.startswith(reference.digest):
        return
    model, tag = reference.model, reference.tag
    raise NotFoundError(
        f"{reference} is not in {store.url}: {model}:{tag} names {Reference(model, digest=now[:12])} now; "
        f"write {model}:{tag} for that, or {Reference(model, digest=reference.digest)} for the version of that digest"
    )


def signed_entry(ref: Reference | Ref | None, move: Move | None, store: Store) -> events.SignedEntry | None:
    """Return what a boot or a receipt says of the entry that named a version; None where no entry was verified.

    Args:
        ref: the tag or pin.
        move: its last move.
        store: where it is.
    """
    if ref is None or move is None or move.entry.digest is None or not move.key_id:
        return None
    return events.SignedEntry(str(ref), move.number, move.key_id, store.name)


def _load_verification() -> None:
    from cas.formats.minisign_lines import ed25519
    from cas.refs import floors, signatures  # noqa: F401

    ed25519()


def _current(store: Store, log: RefLog, hubs: Sequence[Path], *, keep: bool) -> tuple[str, Move]:
    move = last_move(log, hubs, keep=keep)
    if move is None:
        from cas.refs.likely import absent

        raise absent(store, log.ref)
    entry = move.entry
    if entry.digest is None:
        raise NotFoundError(
            f"{log.ref} was removed from {store.url} by {no_command(entry.by)} ({no_command(entry.reason)}): "
            f"see `cas history {log.ref}`, and "
            f"`cas rollback {log.ref}` puts it back"
        )
    return entry.digest, move
