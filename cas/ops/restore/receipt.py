"""The form of a receipt: the document about one restore, which `receipts.py` writes."""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from cas.events import SignedEntry
from cas.formats.digest import parse
from cas.formats.manifest import DigestName, Name, Time
from cas.host import Host
from cas.store.fetch import Second
from cas.store.layout import receipt_key


class PhaseTime(msgspec.Struct, frozen=True):
    """How long one phase of a restore took, in seconds of wall time; several phases may have one name."""

    name: str
    seconds: float


class Bytes(msgspec.Struct, frozen=True, kw_only=True):
    """Where the bytes of the files came from; plain bytes, but for `wire`.

    Attributes:
        total: of all files.
        present: bytes that were not moved: they were verified before, or occur in the version twice. None after a
            failure.
        fetched: from the store.
        wire: bytes that crossed the connection for them.
        reused: copied from other files on this machine.
        reused_from: the same, by the seed in which the files were found; empty after a failure.
    """

    total: int
    present: int | None
    fetched: int
    wire: int
    reused: int
    reused_from: dict[str, int] = {}


class Failure(msgspec.Struct, frozen=True, rename={"kind": "class"}):
    """Why a restore failed: the class of the error (`class` in JSON), and its message."""

    kind: str
    message: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One restore, or the boot that it was part of.

    Attributes:
        version: of this format.
        manifest: `blake3:<64 hex>`, the version that was restored.
        model: the name under which it is published.
        deployment: where this machine belongs; see `cas.host.deployment`.
        reason: why this version, in words.
        directory: where a boot restored it to; empty for a restore of its own.
        directory_reason: why there, in words.
        fallback: what might have stood in for the store in a boot: `bytes`, `hub` or `none`; else empty.
        signed: the entry of a ref that named the version and was verified. Absent where no keys are trusted, or no ref
            was read.
        when: when it began, UTC.
        seconds: wall time until what was restored could be used.
        ok: whether it succeeded.
        error: why it failed, None when it succeeded.
        changed: False when every file was complete and verified before; None after a failure.
        phases: the phases of the restore, and after them those of the boot.
        bytes: where the bytes came from.
        second_requests: requests for chunks whose first body was far behind; None after a failure.
        rate: bytes a second that crossed the connection during the phases `fetch`.
        host: this machine.
        versions: of the software, by package.
    """

    version: Literal[1] = 1
    manifest: DigestName
    model: Name
    deployment: Name
    reason: str
    directory: str = ""
    directory_reason: str = ""
    fallback: str = ""
    signed: SignedEntry | msgspec.UnsetType = msgspec.UNSET
    when: Time
    seconds: float
    ok: bool
    error: Failure | None = None
    changed: bool | None = None
    phases: tuple[PhaseTime, ...]
    bytes: Bytes
    second_requests: Second | None = None
    rate: float
    host: Host
    versions: dict[str, str]

    def key(self) -> str:
        """Return a new key to store the receipt under; the collector reads the manifest's digest from the key."""
        return receipt_key(self.deployment, self.when, parse(self.manifest), os.urandom(8).hex())
