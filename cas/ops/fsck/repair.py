"""Repair: write damaged objects anew, from bytes that prove to be what the object's name says, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence

from cas import events
from cas.bucket import Kind
from cas.errors import FormatError, IntegrityError
from cas.formats.digest import Buffer, named
from cas.formats.frame import MAX_CHUNK, Codec
from cas.formats.manifest import Manifest, parse
from cas.host import Limits
from cas.ops.fsck.inventory import Inventory, read_manifests
from cas.ops.fsck.repair_sources import PreparedSource, RepairSource
from cas.parallel import Workers, for_each
from cas.store import leases
from cas.store.layout import VersionId, manifest_key
from cas.store.leases import LeaseHandle
from cas.store.store import Store

_PURPOSE = "cas fsck --repair-from"


class Repair:
    """One repair.

    Attributes:
        chunks: digests (64 hex) of the chunks that were written anew.
        versions: those whose manifests were written anew.
    """

    def __init__(
        self,
        store: Store,
        sources: Sequence[RepairSource],
        inventory: Inventory,
        limits: Limits,
        listen: events.Listener,
    ) -> None:
        """Prepare a repair.

        Args:
            store: to repair.
            sources: where bytes come from, in the order in which they are tried.
            inventory: of the check that found the damage.
            limits: uploads, workers and memory at once.
            listen: is told of progress, and warned of what each source lacks.
        """
        self._store, self._sources, self._inventory = store, sources, inventory
        self._limits, self._listen = limits, listen
        self._guard = threading.Lock()
        self.chunks: set[str] = set()
        self.versions: set[VersionId] = set()

    def run(self, damaged: Collection[str]) -> None:
        """Repair chunks, and then the manifests that a source has.

        Chunks that a source lacks are reported as a warning.

        Args:
            damaged: digests (64 hex) of the chunks.

        Raises:
            StoreError: the store or a source cannot be reached or refuses.
        """
        if not damaged and not self._inventory.recoverable:
            return
        with leases.hold_lease(self._store, _PURPOSE, self._listen) as lease:
            wanted = {digest: self._inventory.plain_size(bytes.fromhex(digest)) for digest in sorted(damaged)}
            for source in self._sources:
                if wanted:
                    self._repair_from(source, wanted, lease)
                wanted = {digest: size for digest, size in wanted.items() if digest not in self.chunks}
            # Children are written before parents, and are durable before them: chunks, then manifests.
            self._store.bucket.settle()
            for version in sorted(self._inventory.recoverable):
                self._put_manifest(version, lease)
            self._store.bucket.settle()

    def _repair_from(self, source: RepairSource, wanted: Mapping[str, int | None], lease: LeaseHandle) -> None:
        before = len(self.chunks)
        sizes = {digest: size for digest, size in wanted.items() if size is not None}
        manifests = read_manifests(
            self._store, self._inventory.versions, lambda version: recover_manifest(self._sources, version)
        )
        with source.prepare(sizes, manifests, self._limits, self._listen) as prepared:
            self._listen(events.Phase("repair", sum(sizes.values())))
            self._repair_chunks(prepared, wanted, lease)
        lacking = len(wanted) - (len(self.chunks) - before)
        if lacking:
            few = [digest for digest in wanted if digest not in self.chunks][:3]
            shown = ", ".join(named(digest)[:19] for digest in few) + (", …" if lacking > len(few) else "")
            self._listen(events.Warned(f"{source.name} lacks {lacking} of {len(wanted)} chunks ({shown})"))

    def _repair_chunks(self, prepared: PreparedSource, wanted: Mapping[str, int | None], lease: LeaseHandle) -> None:
        codecs = Workers(Codec, self._limits.workers)

        def repair(item: tuple[str, int | None]) -> None:
            digest, size = item
            frame = codecs.run(lambda codec: self._make_frame(prepared, digest, size, codec))
            if frame is None:
                return
            lease.check()
            self._store.put_frame(digest, frame, overwrite=True)
            with self._guard:
                self.chunks.add(digest)
            self._listen(events.Moved(size or 0, len(frame)))

        threads = min(self._limits.uploads, len(wanted))
        # A chunk is in memory twice: as the source returned it, and as a frame.
        cost = lambda item: 2 * (item[1] or MAX_CHUNK)  # noqa: E731
        for_each(repair, wanted.items(), threads=threads, cost=cost, budget=self._limits.budget)

    def _make_frame(self, prepared: PreparedSource, digest: str, size: int | None, codec: Codec) -> Buffer | None:
        plain = prepared.read_chunk(digest, size, codec.decoder)
        if plain is None:
            return None
        try:
            return self._store.make_frame(digest, plain, None, codec)
        except IntegrityError:
            return None  # the source has other bytes under the name of this chunk

    def _put_manifest(self, version: VersionId, lease: LeaseHandle) -> None:
        for source in self._sources:
            if (data := source.read_manifest(version)) is not None:
                lease.check()
                self._store.bucket.put(manifest_key(*version), data, Kind.MANIFEST, overwrite=True)
                self.versions.add(version)
                return


def recover_manifest(sources: Sequence[RepairSource], version: VersionId) -> Manifest | None:
    """Return a version's manifest from the first source that has it; None if no source has one that can be read."""
    for source in sources:
        if (data := source.read_manifest(version)) is not None:
            try:
                found = parse(data)
            except FormatError:
                return None  # a newer version wrote it; the bytes have the right digest, so the store's would not help
            return found if found.model == version.model else None
    return None
