"""The result of a check: counts of everything, and names of as many damaged objects as a person reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from cas.formats.digest import named
from cas.formats.manifest import Manifest, Repo
from cas.ops.fsck.damage import KINDS, DamagedObject, Defect, Kind
from cas.ops.fsck.inventory import Inventory, RecoverManifest, read_manifests
from cas.store.layout import VersionId
from cas.store.store import Store

SHOWN = 1000
"""How many damaged objects of one kind are named; all are counted."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Damaged objects of one kind.

    Attributes:
        count: how many there are.
        items: the first of them.
    """

    count: int
    items: tuple[DamagedObject, ...]


@dataclass(frozen=True, slots=True)
class Orphans:
    """Chunks that no version needs, which is no damage.

    Attributes:
        count: how many there are.
        size: their stored bytes.
        items: the digests of the first of them.
    """

    count: int
    size: int
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        store: URL of the store.
        scope: the reference or the model that was checked, None for the whole store.
        sample: the share of the chunks that was fetched.
        refs: how many refs there are in the scope.
        versions: how many versions.
        chunks: how many chunks those need.
        checked: how many chunks were fetched.
        size: plain bytes of the fetched chunks.
        wire: bytes that crossed the connection for them.
        missing: damage that is left: needed objects that the store lacks.
        corrupt: damage that is left: objects that hold other bytes.
        undecodable: damage that is left: objects that cannot be read.
        orphaned: chunks that no version needs.
        repaired: damage that was repaired.
        seconds: wall time.
        shard: which share of the chunks was checked, such as `3/16`; None for all.
        orphaned_signatures: how many signatures belong to no entry of a ref, which is no damage.
        refused: why lost refs were not set again that a repair source names: no trusted key signed them there.
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
    shard: str | None = None
    orphaned_signatures: int = 0
    refused: tuple[str, ...] = ()

    @property
    def left(self) -> int:
        """How many damaged objects are left."""
        return self.missing.count + self.corrupt.count + self.undecodable.count

    @property
    def sound(self) -> bool:
        """Whether nothing was damaged, or everything was repaired."""
        return not self.left


class Findings:
    """All damage of one check, sorted into what is left and what is repaired."""

    def __init__(
        self, store: Store, inventory: Inventory, found: Mapping[str, Defect], recover: RecoverManifest
    ) -> None:
        """Take what a check found.

        Args:
            store: that was checked.
            inventory: with the damaged refs and manifests.
            found: the defects of chunks, by digest (64 hex).
            recover: called for manifests that cannot be read, to name the files that need a chunk.
        """
        self._store, self._inventory, self._found, self._recover = store, inventory, found, recover

    def summarize(
        self, chunks: Collection[str], versions: Collection[VersionId], refs: Collection[DamagedObject] = ()
    ) -> tuple[dict[Kind, Listed], Listed]:
        """Return the damage that is left, by kind, and the damage that is repaired.

        Args:
            chunks: digests (64 hex) of the chunks that were repaired.
            versions: those whose manifests were repaired.
            refs: lost refs that were set again.
        """
        inventory = self._inventory
        left = {kind: self._list({digest for digest, defect in self._found.items()
                                  if defect.kind == kind and digest not in chunks},
                                 [version for version, defect in inventory.defects.items()
                                  if defect.kind == kind and version not in versions],
                                 [damaged for damaged in inventory.damaged_refs if damaged.kind == kind])
                for kind in KINDS}  # fmt: skip
        return left, self._list(chunks, versions, refs)

    def _list(
        self, chunks: Collection[str], versions: Collection[VersionId], refs: Collection[DamagedObject]
    ) -> Listed:
        items = list(islice((*refs, *map(self._manifest, sorted(versions))), SHOWN))
        items += self._chunks(sorted(chunks)[: SHOWN - len(items)])
        return Listed(len(chunks) + len(versions) + len(refs), tuple(items))

    def _manifest(self, version: VersionId) -> DamagedObject:
        kind, reason = self._inventory.defects[version]
        return DamagedObject(kind, "manifest", str(version), self._inventory.named.get(version, ""), reason)

    def _chunks(self, digests: Iterable[str]) -> list[DamagedObject]:
        by_version: dict[int | None, set[str]] = {}
        for digest in digests:
            by_version.setdefault(self._inventory.version_index(bytes.fromhex(digest)), set()).add(digest)
        needed_by: dict[str, str] = {}
        for index, some in by_version.items():
            if index is not None:
                version = self._inventory.versions[index]
                for _, manifest in read_manifests(self._store, [version], self._recover):
                    needed_by |= {digest: f"{version} {path}" for digest, path in _files(manifest, some).items()}
        # A collector may have deleted that version meanwhile. Another one may need the chunk, too.
        unnamed = {
            digest for index, some in by_version.items() if index is not None for digest in some - needed_by.keys()
        }
        for version, manifest in read_manifests(
            self._store, self._inventory.versions if unnamed else (), self._recover
        ):
            needed_by |= {digest: f"{version} {path}" for digest, path in _files(manifest, unnamed).items()}
            unnamed -= needed_by.keys()
        return [
            DamagedObject(kind, "chunk", named(digest), needed_by.get(digest, ""), reason)
            for some in by_version.values()
            for digest in sorted(some)
            for kind, reason in [self._found[digest]]
        ]


def _files(manifest: Manifest, digests: Collection[str]) -> dict[str, str]:
    """Return the path of a file that needs the chunk, for each of these chunks."""
    found: dict[str, str] = {}
    owners: tuple[Repo | Manifest, ...] = (*manifest.repos, manifest)
    for owner in owners:
        for file in owner.files:
            for chunk in file.chunks:
                if chunk.digest in digests:
                    found.setdefault(chunk.digest, file.path)
    return found
