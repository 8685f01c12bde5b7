"""The keys of all objects in a store: this module alone makes and parses them (docs/design.md, "The store").

format.json                                              which layout this is; refused when newer
chunks/<hh>/<64 hex>                                     frames, named by the digest of their plain bytes
manifests/<model>/<64 hex>.json                          manifests, named by the digest of their own bytes
refs/tags/<model>/<tag>/<seq:08d>-<id>.json              entries of a ref's log
refs/pins/<deployment>/<model>/<seq:08d>-<id>.json
refs/<kind>/<first>/<second>/<seq:08d>-<id>-<key id>-<16 hex>.minisig   the signature of the entry beside it, by a key
receipts/<deployment>/<yyyy-mm-dd>/<hhmmss>-<64 hex>-<id>.json
receipts/<deployment>/<yyyy-mm-dd>/<hhmmss>-<64 hex>-<id>.phases-<id>-<seq:04d>.json   later phases of the same start
leases/<id>-<seq:06d>.json                               who relies on chunks that are stored, so that none is swept
gc/<run>-<page:04d>.json                                 what a run of the collector has condemned
gc/<run>-sweep-<seq:06d>.json                            a sweep under way, of the same form as a lease
gc/<run>-probe.json                                      written and deleted again at the start of a run
probes/conditional-writes.json                           whether the server honours `If-None-Match: *`
doctor/<id>/<name>                                       what `cas doctor` writes, and deletes before it ends
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
EXAMINATIONS = "doctor"
PROBES = "probes"

CONDITIONAL_WRITES = f"{PROBES}/conditional-writes.json"
"""Says whether the server honours conditional writes (`cas.store.conditional_writes`)."""

CHUNK_FOLDERS = tuple(f"{CHUNKS}/{number:02x}" for number in range(256))
"""The 256 folders of chunks, by the first two digits of their digests."""

RefKind: TypeAlias = Literal["tags", "pins"]

_CHUNK = re.compile(r"chunks/[0-9a-f]{2}/([0-9a-f]{64})")
# As `cas.formats.manifest.NAME_PATTERN`: under other names nothing of ours is stored, and their keys are left alone.
_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_MANIFEST = re.compile(rf"manifests/({_NAME})/([0-9a-f]{{64}})\.json")
_REF = re.compile(rf"refs/(tags|pins)/({_NAME})/({_NAME})/([0-9]{{8,20}}-[0-9a-f]{{16}}\.json)")
_SIGNATURE = re.compile(
    rf"refs/(tags|pins)/({_NAME})/({_NAME})/([0-9]{{8,20}}-[0-9a-f]{{16}})-([0-9a-f]{{16}})-([0-9a-f]{{16}})\.minisig"
)
_RECEIPT = re.compile(r"receipts/([^/]+)/[^/]+/[^/]*-([0-9a-f]{64})-([0-9a-f]+)\.json")
_LATER_PHASES = re.compile(
    r"(receipts/[^/]+/[^/]+/[^/]*-[0-9a-f]{64}-[0-9a-f]+)\.phases-([0-9a-f]{16})-([0-9]{4})\.json"
)
_LEASE = re.compile(r"(leases/[0-9a-f]{16}|gc/[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}-sweep)-([0-9]{6,20})\.json")
_CONDEMNED = re.compile(r"gc/([0-9]{8}T[0-9]{6}Z-[0-9a-f]{8})-[0-9]{4}\.json")


class VersionId(NamedTuple):
    """One version of a model.

    Attributes:
        model: the name of the model.
        digest: of the version's manifest, 64 hex.
    """

    model: str
    digest: str

    def __str__(self) -> str:
        """Return the reference that always names this version: `f5-tts@blake3:…`."""
        return f"{self.model}@{named(self.digest)}"


class RefEntryId(NamedTuple):
    """One entry of a ref's log.

    Attributes:
        kind: `tags` or `pins`.
        first: the tag's model, or the pin's deployment.
        second: the tag, or the pin's model.
        name: of the entry in the log, as `ref_entry_name` makes it.
    """

    kind: RefKind
    first: str
    second: str
    name: str


class RefSignature(NamedTuple):
    """The signature of a ref's entry, as its key in the store tells it; whether that is true, only its bytes prove.

    Attributes:
        entry: the entry that is signed.
        key_id: of the key that signed, 16 upper-case hex digits, as minisign prints it.
        digest: the first 16 hex digits of the BLAKE3 of the signed entry's bytes. Two writers of one entry's name sign
            different bytes, and so neither replaces the signature of the other.
    """

    entry: RefEntryId
    key_id: str
    digest: str


class LeaseEntry(NamedTuple):
    """One entry in the log of a lease or a sweep.

    Attributes:
        id: what the keys of all entries of that lease or sweep begin with.
        sequence: the number of the entry, from 1.
    """

    id: str
    sequence: int


def chunk_folder(digest: str) -> str:
    """Return the folder of a chunk, given its digest or at least the first two digits."""
    return f"{CHUNKS}/{digest[:2]}"


def chunk_key(digest: str) -> str:
    """Return the key of the frame of a chunk (64 hex)."""
    return f"{CHUNKS}/{digest[:2]}/{digest}"


def chunk_digest(key: str) -> str | None:
    """Return the digest (64 hex) of the chunk whose frame is at `key`, or None if that is not the key of a chunk."""
    match = _CHUNK.fullmatch(key)
    return match[1] if match else None


def manifest_folder(model: str) -> str:
    """Return the folder of a model's manifests."""
    return f"{MANIFESTS}/{model}"


def manifest_key(model: str, digest: str) -> str:
    """Return the key of the manifest of a version of `model`, given its digest (64 hex)."""
    return f"{MANIFESTS}/{model}/{digest}.json"


def version_id(key: str) -> VersionId | None:
    """Return the version whose manifest is at `key`, or None if that is not the key of a manifest."""
    match = _MANIFEST.fullmatch(key)
    return VersionId(match[1], match[2]) if match else None


def ref_folder(*components: str) -> str:
    """Return a folder of refs.

    Args:
        components: none for all refs; a kind, for the refs of that kind; then a model (tags) or a deployment (pins);
            then a tag or the pin's model, for the log of that one ref.
    """
    return "/".join(("refs", *components))


def ref_entry_name(sequence: int, identity: str) -> str:
    """Return the name of an entry in the log of a ref, given its number and its id (16 hex)."""
    return f"{sequence:08d}-{identity}.json"


def ref_entry_order(name: str) -> tuple[int, str]:
    """The number in an entry's name, and the name: what the entries of a log are sorted by.

    Names alone would sort wrongly once numbers have more than eight digits.
    """
    return int(name.partition("-")[0]), name


def ref_entry_key(entry: RefEntryId) -> str:
    """The key of an entry of a ref's log."""
    return f"{ref_folder(*entry[:3])}/{entry.name}"


def ref_entry(key: str) -> RefEntryId | None:
    """Return which entry of which ref's log is at `key`, or None if that is not the key of an entry."""
    match = _REF.fullmatch(key)
    return RefEntryId(cast(RefKind, match[1]), match[2], match[3], match[4]) if match else None


def ref_signature_key(entry: RefEntryId, key_id: str, digest: str) -> str:
    """Return the key of the signature of a ref's entry, which lies beside the entry.

    Args:
        entry: the entry that is signed.
        key_id: of the key that signs, 16 hex digits.
        digest: the BLAKE3 of the entry's bytes, hex; the first 16 digits count.
    """
    return f"{ref_entry_key(entry).removesuffix('.json')}-{key_id.lower()}-{digest[:16]}.minisig"


def ref_signature(key: str) -> RefSignature | None:
    """Return which signature of which entry is at `key`, or None if that is not the key of a signature."""
    if not (match := _SIGNATURE.fullmatch(key)):
        return None
    entry = RefEntryId(cast(RefKind, match[1]), match[2], match[3], f"{match[4]}.json")
    return RefSignature(entry, match[5].upper(), match[6])


def receipt_key(deployment: str, when: str, digest: str, identity: str) -> str:
    """Return the key of a receipt.

    Args:
        deployment: that the restore was for.
        when: when the restore began, as `cas.formats.manifest.timestamp` writes it.
        digest: of the version that was restored, 64 hex; the collector reads it from the key.
        identity: random hex digits.
    """
    date, _, clock = when.rstrip("Z").partition("T")
    return f"{RECEIPTS}/{deployment}/{date}/{clock.replace(':', '')}-{digest}-{identity}.json"


def receipt_digest(key: str) -> str | None:
    """Return the digest (64 hex) of the version that the receipt at `key` names, or None if that is no receipt."""
    return match[2] if (match := _RECEIPT.fullmatch(key)) else None


def receipt_deployment(key: str) -> str:
    """Return the deployment of the receipt at `key`; empty if that is no receipt."""
    return match[1] if (match := _RECEIPT.fullmatch(key)) else ""


def receipt_identity(key: str) -> str:
    """Return the random hex digits of the receipt at `key`; empty if that is no receipt."""
    return match[3] if (match := _RECEIPT.fullmatch(key)) else ""


def later_phases_key(receipt: str, identity: str, number: int) -> str:
    """Return the key of the document `number` (0 to 9999) of later phases, by a program (16 random hex digits)."""
    return f"{receipt.removesuffix('.json')}.phases-{identity}-{number:04d}.json"


def later_phases(key: str) -> tuple[str, str] | None:
    """Return the key of the receipt, and the program, that the later phases at `key` are of; None if there are none."""
    match = _LATER_PHASES.fullmatch(key)
    return (f"{match[1]}.json", match[2]) if match else None


def lease_id(identity: str) -> str:
    """Return what the keys of a lease's entries begin with, given 16 random hex digits."""
    return f"{LEASES}/{identity}"


def sweep_id(run: str) -> str:
    """Return what the keys of a sweep's entries begin with, given the name of its run."""
    return f"{COLLECTIONS}/{run}-sweep"


def lease_entry_key(entry: LeaseEntry) -> str:
    """Return the key of an entry of a lease or a sweep."""
    return f"{entry.id}-{entry.sequence:06d}.json"


def lease_entry(key: str) -> LeaseEntry | None:
    """Return which entry of which lease or sweep is at `key`, or None if that is the key of neither."""
    match = _LEASE.fullmatch(key)
    return LeaseEntry(match[1], int(match[2])) if match else None


def condemned_key(run: str, page: int) -> str:
    """Return the key of a page of the list of what a run has condemned; pages are numbered from 0."""
    return f"{COLLECTIONS}/{run}-{page:04d}.json"


def condemned_run(key: str) -> str | None:
    """Return the name of the run of whose condemned list a page is at `key`, or None if that is no such page."""
    match = _CONDEMNED.fullmatch(key)
    return match[1] if match else None


def probe_key(run: str) -> str:
    """Return the key of the object that a run writes and deletes to learn the server's time and its own permissions."""
    return f"{COLLECTIONS}/{run}-probe.json"


def is_probe(key: str) -> bool:
    """Return whether a run's probe is at `key`."""
    return key.startswith(f"{COLLECTIONS}/") and key.endswith("-probe.json")


def examination_folder(identity: str) -> str:
    """Return the folder in which a run of `cas doctor` writes, given 16 random hex digits."""
    return f"{EXAMINATIONS}/{identity}"


def is_ours(key: str) -> bool:
    """Return whether a store writes objects under such a key; all others are left alone."""
    of_versions = (chunk_digest, version_id, ref_entry, ref_signature, receipt_digest, later_phases)
    of_runs = (lease_entry, condemned_run)
    return (
        key in (FORMAT_KEY, CONDITIONAL_WRITES)
        or is_probe(key)
        or key.startswith(f"{EXAMINATIONS}/")
        or any(parse(key) is not None for parse in (*of_versions, *of_runs))
    )
