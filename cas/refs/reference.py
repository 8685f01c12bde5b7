"""References: how people name a version, and which version a name stands for now."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cas import events
from cas.errors import FormatError, InputError, IntegrityError, NotFoundError, RefUnset, SignatureError
from cas.formats.digest import PREFIX, named, parse, short
from cas.formats.manifest import Manifest, check_name
from cas.parallel import BackgroundCall
from cas.refs import reflog
from cas.refs.reflog import Move, Ref, RefLog
from cas.store.layout import VersionId
from cas.store.store import Store

DEFAULT_TAG = "latest"

_SHORTEST_PREFIX = 8


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference. Of `tag`, `digest` and `deployment` exactly one is set.

    Attributes:
        model: the model.
        tag: the model's tag.
        digest: the version, 64 hex, or its first 8 digits or more.
        deployment: the deployment whose pin of the model is meant.
    """

    model: str
    tag: str | None = None
    digest: str | None = None
    deployment: str | None = None

    def __str__(self) -> str:
        if self.deployment is not None:
            return f"pin:{self.deployment}/{self.model}"
        if self.digest is not None:
            return f"{self.model}@{named(self.digest) if len(self.digest) == 64 else self.digest}"
        return f"{self.model}:{self.tag}"


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


def parse_reference(text: str) -> Reference:
    """Return the parsed form of a reference; raise InputError for other text.

    Args:
        text: `model`, which means `model:latest`, `model:tag`, `model@<8 to 64 hex>`, `model@blake3:<64 hex>` or
            `pin:deployment/model`.
    """
    if text.startswith("pin:"):
        deployment, slash, model = text.removeprefix("pin:").partition("/")
        if not slash:
            raise InputError(f"{text!r} is not a pin: write pin:deployment/model")
        return Reference(check_name(model, "model"), deployment=check_name(deployment, "deployment"))
    model, at, digest = text.partition("@")
    if at:
        check_name(model, "model")
        if digest.startswith(PREFIX):
            return Reference(model, digest=parse(digest))
        if not re.fullmatch(r"[0-9a-f]{1,64}", digest):
            raise InputError(f"{text!r}: after @ write 8 or more lower-case hex digits, or blake3: and 64")
        if len(digest) < _SHORTEST_PREFIX:
            raise InputError(f"{text!r}: {digest} is too short: give at least {_SHORTEST_PREFIX} digits")
        return Reference(model, digest=digest)
    model, colon, tag = text.partition(":")
    return Reference(check_name(model, "model"), tag=check_name(tag, "tag") if colon else DEFAULT_TAG)


def resolve(store: Store, reference: Reference | str, hubs: Sequence[Path] = (), *, keep: bool = False) -> Resolved:
    """Return the version that a reference names now, with its manifest.

    Args:
        store: where the version is.
        reference: a parsed reference, or its text.
        hubs: hub caches. Where keys are trusted, a tag or pin must not be older than what any of them has seen.
        keep: keep in these caches what was seen.

    Raises:
        InputError: the text is no reference, or the first digits of a digest stand for several versions.
        StoreMissing: there is no store.
        RefUnset: the tag or pin was never set.
        ManifestMissing: the store does not hold the version (any more).
        NotFoundError: the tag or pin was removed; the base of the three above.
        SignatureError: keys are trusted, and none of them signed the tag or pin as it is, or it is older than its floor
            or than what a cache has seen; or no signed entry ever named the version of which some digits are given.
        IntegrityError: the manifest is damaged.
        FormatError: a newer program wrote the store or the manifest, or something in them is malformed.
    """
    reference = parse_reference(reference) if isinstance(reference, str) else reference
    # A second thread checks meanwhile that there is a store and that we may read it. One after the other, both requests
    # would cost a round trip more, which may take 100 ms.
    checked = BackgroundCall(store.check_format)
    try:
        digest, move = reference.digest, None
        if digest is None:
            digest, move = _current(store, log_of(store, reference), hubs, keep=keep)
        elif len(digest) < 64:
            digest = _find_version(store, reference, digest)
        return Resolved(reference, digest, store.get_manifest(reference.model, digest), move)
    finally:
        checked.result()  # raises when there is no store: that error replaces the one about the version


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


def absent(store: Store, ref: Ref) -> RefUnset:
    """Return the error for a tag or pin that was never set; it names tags or pins of the same model that are set."""
    kind, first, second = ref
    others = sorted(other for other in reflog.current(store, kind, first) if other != ref)
    if others:
        names = ", ".join(other.second for other in others[:8])
        hint = f"its tags are {names}" if kind == "tags" else f"{first} has pins of {names}"
    elif kind == "pins":
        hint = f"set it with `cas pin {first} {second}`"
    elif models := store.models():
        hint = f"the store's models are {', '.join(models[:8])}"
    else:
        hint = "the store is empty: publish a model with `cas publish`"
    return RefUnset(f"{ref} is not in {store.url}: {hint}")


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


def _find_version(store: Store, reference: Reference, digits: str) -> str:
    """Return the digest (64 hex) that begins with some digits: where keys are trusted, of what was released.

    A few digits are no proof of content: whoever can write manifests can make one that shares 8 of them (32 bits). So
    there they mean a version that a signed entry names, or named before, and no other is looked for. The whole digest
    proves itself.
    """
    if store.trust is None:
        return store.find_version(reference.model, digits)
    from cas.refs.history import past_moves

    logs = [log for log in reflog.logs(store) if log.ref.model == reference.model]
    digests = {move.digest for moves in past_moves(logs).values() for move in moves if move.digest is not None}
    fitting = sorted(digest for digest in digests if digest.startswith(digits))
    if len(fitting) > 1:
        shown = ", ".join(digest[:16] for digest in fitting[:4])
        raise InputError(f"{reference} is ambiguous ({shown}): give more digits")
    if not fitting:
        raise SignatureError(
            f"{reference} in {store.url}: no signed entry of a tag or pin names a version that begins so, and another "
            "version can be made to share these digits: if you know which is right, write all 64 of them "
            f"(`cas --json ls {reference.model}`)",
            "unsigned",
        )
    return fitting[0]


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
        raise absent(store, log.ref)
    entry = move.entry
    if entry.digest is None:
        raise NotFoundError(
            f"{log.ref} was removed from {store.url} by {entry.by} ({entry.reason}): see `cas history {log.ref}`, and "
            f"`cas rollback {log.ref}` puts it back"
        )
    return entry.digest, move
