"""What a check found, with names for as much of it as anybody will read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from cas.formats.digest import named
from cas.formats.manifest import Manifest, Repo
from cas.ops.fsck.damage import KINDS, Damage, Kind, Trouble
from cas.ops.fsck.inventory import Inventory, Recover, documents
from cas.store.layout import VersionId
from cas.store.store import Store

SHOWN = 1000
"""Names of one kind that are told; the counts are of all."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Things of one kind. count: of all. items: the first of them."""

    count: int
    items: tuple[Damage, ...]


@dataclass(frozen=True, slots=True)
class Orphans:
    """Chunks that no version needs, which is no damage. size: stored bytes. items: the first digests."""

    count: int
    size: int
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    scope: the reference or model that was checked, None for the whole store. sample: the share of the chunks that was
    fetched. refs, versions, chunks: how many there are; checked: chunks that were fetched; size, wire: their plain
    bytes, and the bytes that crossed the connection for them. missing, corrupt, undecodable: damage that is left.
    repaired: damage that is not.
    """

    store: str
    scope: str | None
    sample: float
    refs: int
    versions: int
    chunks: int
    checked: int
    size: int
    wire: int
    missing: Listed
    corrupt: Listed
    undecodable: Listed
    orphaned: Orphans
    repaired: Listed
    seconds: float

    @property
    def left(self) -> int:
        """How many damaged things are left."""
        return self.missing.count + self.corrupt.count + self.undecodable.count

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged, or not any more."""
        return not self.left


class Findings:
    """All damage of one check, and which of it is repaired."""

    def __init__(self, store: Store, inventory: Inventory, found: Mapping[str, Trouble], recover: Recover) -> None:
        """found: damaged chunks by digest (64 hex)."""
        self._store, self._inventory, self._found, self._recover = store, inventory, found, recover

    def listed(self, chunks: Collection[str], versions: Collection[VersionId]) -> tuple[dict[Kind, Listed], Listed]:
        """What is left, by kind, and what is repaired: these chunks, and the manifests of these versions."""
        inventory = self._inventory
        left = {kind: self._one({digest for digest, trouble in self._found.items()
                                 if trouble.kind == kind and digest not in chunks},
                                [version for version, trouble in inventory.troubles.items()
                                 if trouble.kind == kind and version not in versions],
                                [damage for damage in inventory.damage if damage.kind == kind])
                for kind in KINDS}  # fmt: skip
        return left, self._one(chunks, versions, ())

    def _one(self, chunks: Collection[str], versions: Collection[VersionId], refs: Collection[Damage]) -> Listed:
        items = list(islice((*refs, *map(self._manifest, sorted(versions))), SHOWN))
        items += self._chunks(sorted(chunks)[: SHOWN - len(items)])
        return Listed(len(chunks) + len(versions) + len(refs), tuple(items))

    def _manifest(self, version: VersionId) -> Damage:
        kind, reason = self._inventory.troubles[version]
        return Damage(kind, "manifest", str(version), self._inventory.named.get(version, ""), reason)

    def _chunks(self, digests: Iterable[str]) -> list[Damage]:
        by_version: dict[int | None, set[str]] = {}
        for digest in digests:
            by_version.setdefault(self._inventory.version(bytes.fromhex(digest)), set()).add(digest)
        needing: dict[str, str] = {}
        for number, some in by_version.items():
            if number is not None:
                version = self._inventory.versions[number]
                for _, manifest in documents(self._store, [version], self._recover):
                    needing |= {digest: f"{version} {path}" for digest, path in _files(manifest, some).items()}
        return [
            Damage(kind, "chunk", named(digest), needing.get(digest, ""), reason)
            for some in by_version.values()
            for digest in sorted(some)
            for kind, reason in [self._found[digest]]
        ]


def _files(manifest: Manifest, digests: Collection[str]) -> dict[str, str]:
    """A file of each of these chunks."""
    found: dict[str, str] = {}
    owners: tuple[Repo | Manifest, ...] = (*manifest.repos, manifest)
    for owner in owners:
        for file in owner.files:
            for chunk in file.chunks:
                if chunk.digest in digests:
                    found.setdefault(chunk.digest, file.path)
    return found
