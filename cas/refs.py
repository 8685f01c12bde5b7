"""Mutable names for manifests: append-only logs, so that no update is ever lost and history comes free.

    refs/tags/<model>/<tag>/<seq:08d>-<id>.json
    refs/pins/<deployment>/<model>/<seq:08d>-<id>.json

The last entry in name order is the current one. Appending never overwrites: correct on storage without
conditional writes, and two writers at once both leave their entry and both see who won.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass

import msgspec

from cas.bucket import Kind
from cas.digest import PREFIX, named, parse
from cas.errors import FormatError, InputError, NotFoundError, ObjectMissing, RefMoved
from cas.manifest import DigestName, Manifest, Text, Time, check_name, now
from cas.parallel import Later
from cas.store import Store

DEFAULT_TAG = "latest"

_ENTRY = re.compile(r"[0-9]{8,}-[0-9a-f]{16}\.json")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SHORTEST_PREFIX = 8


class RefEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One move of a ref: to which manifest, when, by whom and why."""

    manifest: DigestName
    created: Time
    by: Text
    reason: Text


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
    """The manifest that `text` names now; raises InputError, NotFoundError, IntegrityError, FormatError."""
    reference = parse_reference(text)
    # Whether this is a store at all, and one we may read, is asked meanwhile: a bucket may be 100 ms away.
    checked = Later(store.check_format)
    try:
        digest = reference.digest
        if digest is None:
            digest = log_of(store, reference).current_digest()
        elif len(digest) < 64:
            digest = store.find_version(reference.model, digest)
        return Resolved(reference, digest, store.get_manifest(reference.model, digest))
    finally:
        checked.result()  # if it is not, that is what there is to say


def log_of(store: Store, reference: Reference) -> RefLog:
    """The log behind a tag or pin."""
    if reference.deployment is not None:
        return RefLog(store, f"refs/pins/{reference.deployment}/{reference.model}", str(reference))
    return RefLog(store, f"refs/tags/{reference.model}/{reference.tag}", str(reference))


def tags(store: Store, model: str | None = None) -> dict[str, dict[str, str | None]]:
    """The current digest (64 hex) of every tag, by model and tag name; None where its entry cannot be read."""
    last: dict[tuple[str, str], tuple[int, str]] = {}
    for entry in store.bucket.list(f"refs/tags/{model}" if model else "refs/tags"):
        parts = entry.key.split("/")
        if len(parts) == 5 and _ENTRY.fullmatch(parts[4]):
            place = (parts[2], parts[3])
            last[place] = max(last.get(place, (0, "")), _order(parts[4]))
    found: dict[str, dict[str, str | None]] = {}
    for (owner, tag), (_, name) in sorted(last.items()):
        log = RefLog(store, f"refs/tags/{owner}/{tag}", f"{owner}:{tag}")
        try:
            digest: str | None = parse(log.read(name).manifest)
        except FormatError:
            digest = None
        found.setdefault(owner, {})[tag] = digest
    return found


class RefLog:
    """The history of one ref."""

    def __init__(self, store: Store, prefix: str, name: str) -> None:
        self._store, self._prefix, self._name = store, prefix, name

    def names(self) -> list[str]:
        """Entry names, oldest first; empty when the ref was never set."""
        listed = (entry.key.removeprefix(f"{self._prefix}/") for entry in self._store.bucket.list(self._prefix))
        return sorted((name for name in listed if _ENTRY.fullmatch(name)), key=_order)

    def read(self, name: str) -> RefEntry:
        """One entry; raises FormatError when it is not one."""
        key = f"{self._prefix}/{name}"

        def read(data: bytes) -> RefEntry:
            try:
                return msgspec.json.decode(data, type=RefEntry)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                raise FormatError(
                    f"{key} in {self._store.url} is malformed ({error}): set {self._name} again"
                ) from None

        return self._store.document(key, 64 * 1024, read)

    def current(self) -> RefEntry | None:
        """The entry in force, None when the ref was never set."""
        for _ in range(3):
            names = self.names()
            if not names:
                return None
            try:
                return self.read(names[-1])
            except ObjectMissing:
                continue  # trimmed between listing and reading: list again
        raise NotFoundError(f"{self._name} in {self._store.url}: its entries vanish while they are read")

    def current_digest(self) -> str:
        """The digest (64 hex) in force; raises NotFoundError when the ref was never set."""
        entry = self.current()
        if entry is None:
            model = self._prefix.split("/")[2]
            known = sorted(tags(self._store, model).get(model, {})) if self._prefix.startswith("refs/tags/") else []
            if known:
                hint = f"its tags are {', '.join(known[:8])}"
            elif others := self._store.models():
                hint = f"the store's models are {', '.join(others[:8])}"
            else:
                hint = "the store is empty: publish a model with `cas publish`"
            raise NotFoundError(f"{self._name} is not in {self._store.url}: {hint}")
        return parse(entry.manifest)

    def append(self, digest: str, reason: str, by: str | None = None) -> RefEntry:
        """Moves the ref to a manifest (64 hex); raises RefMoved when somebody else's move of the same moment won."""
        names = self.names()
        sequence = _order(names[-1])[0] + 1 if names else 1
        mine = f"{sequence:08d}-{os.urandom(8).hex()}.json"
        entry = RefEntry(named(digest), now(), _text(by or whoami()), _text(reason))
        self._store.bucket.put(f"{self._prefix}/{mine}", msgspec.json.encode(entry), Kind.DOCUMENT)
        siblings = [name for name in self.names() if _order(name)[0] == sequence]
        if siblings and max(siblings) > mine:
            raise RefMoved(self._name, self.read(max(siblings)).manifest)
        return entry


def _order(name: str) -> tuple[int, str]:
    """What entries are ordered by: their names, were the numbers all of one length."""
    return int(name.partition("-")[0]), name


def _text(given: str) -> str:
    """`given` as an entry may hold it, whatever a host or a caller is called."""
    return _CONTROL.sub(" ", given.encode(errors="replace").decode())[:4096]


def whoami() -> str:
    """user@host, for the record of who moved a ref."""
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
