"""Where everything in a store lies: every key is made, and read back, here (docs/design.md, "The store").

format.json                                              which layout this is; refused when newer
chunks/<hh>/<64 hex>                                     frames, named by the digest of their plain bytes
manifests/<model>/<64 hex>.json                          manifests, named by the digest of their own bytes
refs/tags/<model>/<tag>/<seq:08d>-<id>.json              entries of a ref's log
refs/pins/<deployment>/<model>/<seq:08d>-<id>.json
receipts/<deployment>/<yyyy-mm-dd>/<hhmmss>-<64 hex>-<id>.json
leases/<id>-<seq:06d>.json                               who depends on what the store holds
gc/<run>-<part:04d>.json                                 what a collector's run has condemned
gc/<run>-sweep-<seq:06d>.json                            a sweep under way, of the form of a lease
gc/<run>-probe.json                                      written and erased at the start of a run
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias, cast

from cas.formats.digest import named

LAYOUT_VERSION = 1

FORMAT_KEY = "format.json"
CHUNKS = "chunks"
MANIFESTS = "manifests"
RECEIPTS = "receipts"
LEASES = "leases"
COLLECTIONS = "gc"

CHUNK_FOLDERS = tuple(f"{CHUNKS}/{number:02x}" for number in range(256))
"""The folders of all chunks: by the first two digits of their digests."""

RefKind: TypeAlias = Literal["tags", "pins"]

_CHUNK = re.compile(r"chunks/[0-9a-f]{2}/([0-9a-f]{64})")
_MANIFEST = re.compile(r"manifests/([^/]+)/([0-9a-f]{64})\.json")
_REF = re.compile(r"refs/(tags|pins)/([^/]+)/([^/]+)/([0-9]{8,}-[0-9a-f]{16}\.json)")
_RECEIPT = re.compile(r"receipts/[^/]+/[^/]+/[^/]*-([0-9a-f]{64})-[0-9a-f]+\.json")
_LEASE = re.compile(r"(leases/[0-9a-f]{16}|gc/[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}-sweep)-([0-9]{6,})\.json")
_CONDEMNED = re.compile(r"gc/([0-9]{8}T[0-9]{6}Z-[0-9a-f]{8})-[0-9]{4}\.json")


class VersionId(NamedTuple):
    """One version of a model: the manifest with this digest (64 hex)."""

    model: str
    digest: str

    def __str__(self) -> str:
        """The reference that names it for ever: `f5-tts@blake3:…`."""
        return f"{self.model}@{named(self.digest)}"


class LeaseEntry(NamedTuple):
    """One entry of a lease or a sweep: the id that all its entries share, and its number among them."""

    id: str
    sequence: int


def chunk_folder(digest: str) -> str:
    """The folder of a chunk, of whose digest (64 hex) the first two digits are enough."""
    return f"{CHUNKS}/{digest[:2]}"


def chunk_key(digest: str) -> str:
    """The key of a chunk's frame. digest: 64 hex."""
    return f"{CHUNKS}/{digest[:2]}/{digest}"


def chunk_digest(key: str) -> str | None:
    """The digest (64 hex) of the chunk whose frame lies at `key`; None where that is no chunk's key."""
    match = _CHUNK.fullmatch(key)
    return match[1] if match else None


def manifest_folder(model: str) -> str:
    """The folder of a model's manifests."""
    return f"{MANIFESTS}/{model}"


def manifest_key(model: str, digest: str) -> str:
    """The key of a manifest. digest: 64 hex."""
    return f"{MANIFESTS}/{model}/{digest}.json"


def version_id(key: str) -> VersionId | None:
    """The version whose manifest lies at `key`; None where that is no manifest's key."""
    match = _MANIFEST.fullmatch(key)
    return VersionId(match[1], match[2]) if match else None


def ref_folder(*parts: str) -> str:
    """The folder of the logs of all refs, of those of a kind, of those of a model or deployment, or of one ref."""
    return "/".join(("refs", *parts))


def ref_entry_name(sequence: int, identity: str) -> str:
    """The name of an entry in a ref's log. identity: 16 hex."""
    return f"{sequence:08d}-{identity}.json"


def ref_entry(key: str) -> tuple[RefKind, str, str, str] | None:
    """Kind, first and second part of the ref, and the entry's name in its log; None where `key` is no entry's."""
    match = _REF.fullmatch(key)
    return (cast(RefKind, match[1]), match[2], match[3], match[4]) if match else None


def receipt_key(deployment: str, when: str, digest: str, identity: str) -> str:
    """The key of a receipt.

    Args:
        deployment: whose restore it tells of.
        when: when that restore began, as `cas.formats.manifest.timestamp` writes it.
        digest: of the version that was restored, 64 hex: a collector reads it from the key.
        identity: random hex digits.
    """
    date, _, clock = when.rstrip("Z").partition("T")
    return f"{RECEIPTS}/{deployment}/{date}/{clock.replace(':', '')}-{digest}-{identity}.json"


def receipt_digest(key: str) -> str | None:
    """The digest (64 hex) of the version that the receipt at `key` tells of; None where that is no receipt's key."""
    match = _RECEIPT.fullmatch(key)
    return match[1] if match else None


def lease_id(identity: str) -> str:
    """What the keys of a lease's entries begin with. identity: 16 random hex digits."""
    return f"{LEASES}/{identity}"


def sweep_id(run: str) -> str:
    """What the keys of the entries of a sweep begin with, which are of the form of a lease's. run: the run's name."""
    return f"{COLLECTIONS}/{run}-sweep"


def lease_entry_key(entry: LeaseEntry) -> str:
    """The key of an entry of a lease or a sweep."""
    return f"{entry.id}-{entry.sequence:06d}.json"


def lease_entry(key: str) -> LeaseEntry | None:
    """Which entry of which lease or sweep lies at `key`; None where that is neither's."""
    match = _LEASE.fullmatch(key)
    return LeaseEntry(match[1], int(match[2])) if match else None


def condemned_key(run: str, part: int) -> str:
    """The key of a document of what a run has condemned. part: its number, from 0."""
    return f"{COLLECTIONS}/{run}-{part:04d}.json"


def condemned_run(key: str) -> str | None:
    """The name of the run whose condemned chunks and manifests the document at `key` lists; None where it is none."""
    match = _CONDEMNED.fullmatch(key)
    return match[1] if match else None


def probe_key(run: str) -> str:
    """The key of the object that a run writes and erases to learn the server's time and its own permissions."""
    return f"{COLLECTIONS}/{run}-probe.json"


def is_probe(key: str) -> bool:
    """Whether a run's probe lies at `key`."""
    return key.startswith(f"{COLLECTIONS}/") and key.endswith("-probe.json")
