"""References: how people name a version, and what a name stands for now."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cas.errors import InputError, NotFoundError, RefUnset
from cas.formats.digest import PREFIX, named, parse
from cas.formats.manifest import Manifest, check_name
from cas.parallel import BackgroundCall
from cas.refs import reflog
from cas.refs.reflog import Ref, RefLog
from cas.store.store import Store

DEFAULT_TAG = "latest"

_SHORTEST_PREFIX = 8


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference: a model with a tag, a digest or its first digits, or a deployment's pin."""

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
    """What a reference names now. digest: 64 hex."""

    reference: Reference
    digest: str
    manifest: Manifest

    @property
    def exact(self) -> str:
        """The reference that names this version for ever."""
        return f"{self.manifest.model}@{named(self.digest)}"


def parse_reference(text: str) -> Reference:
    """`model`, `model:tag`, `model@<8+ hex>`, `model@blake3:<64 hex>` or `pin:deployment/model`; raises InputError."""
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


def resolve(store: Store, text: str) -> Resolved:
    """The manifest that `text` names now.

    Raises InputError, IntegrityError, FormatError, or NotFoundError: StoreMissing, RefUnset for what was never set,
    ManifestMissing for a version that is gone.
    """
    reference = parse_reference(text)
    # Whether this is a store at all, and one we may read, is asked meanwhile: a bucket may be 100 ms away.
    checked = BackgroundCall(store.check_format)
    try:
        digest = reference.digest
        if digest is None:
            digest = _current(store, log_of(store, reference))
        elif len(digest) < 64:
            digest = store.find_version(reference.model, digest)
        return Resolved(reference, digest, store.get_manifest(reference.model, digest))
    finally:
        checked.result()  # if it is not, that is what there is to say


def log_of(store: Store, reference: Reference) -> RefLog:
    """The log behind a tag or pin."""
    if reference.deployment is not None:
        return RefLog(store, Ref("pins", reference.deployment, reference.model))
    return RefLog(store, Ref("tags", reference.model, reference.tag or DEFAULT_TAG))


def absent(store: Store, ref: Ref) -> RefUnset:
    """The error that says that a tag or pin was never set, and what is."""
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


def _current(store: Store, log: RefLog) -> str:
    entry = log.current()
    if entry is None:
        raise absent(store, log.ref)
    if entry.digest is None:
        raise NotFoundError(
            f"{log.ref} was removed from {store.url} by {entry.by} ({entry.reason}): see `cas history {log.ref}`, and "
            f"`cas rollback {log.ref}` puts it back"
        )
    return entry.digest
