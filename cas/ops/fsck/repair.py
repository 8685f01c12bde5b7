"""Repair: what is damaged is written anew, from bytes that prove to be what its name says, and nothing else is."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence

from cas import events
from cas.bucket import Kind
from cas.config import Limits
from cas.errors import FormatError, IntegrityError
from cas.formats.digest import named
from cas.formats.frame import MAX_CHUNK, Codec
from cas.formats.manifest import Manifest, parse
from cas.ops.fsck.inventory import Inventory, documents
from cas.ops.fsck.repair_sources import Ready, Source
from cas.parallel import Workers, for_each
from cas.store import leases
from cas.store.layout import VersionId, manifest_key
from cas.store.leases import LeaseHandle
from cas.store.store import Store

_PURPOSE = "cas fsck --repair-from"


class Repair:
    """One repair. chunks: digests (64 hex) of those that were written anew. versions: whose manifests were."""

    def __init__(
        self, store: Store, sources: Sequence[Source], inventory: Inventory, limits: Limits, listen: events.Listener
    ) -> None:
        """sources: asked in this order."""
        self._store, self._sources, self._inventory = store, sources, inventory
        self._limits, self._listen = limits, listen
        self._guard = threading.Lock()
        self.chunks: set[str] = set()
        self.versions: set[VersionId] = set()

    def run(self, damaged: Collection[str]) -> None:
        """Repairs these chunks (64 hex), and the manifests that a source has; raises StoreError, and as a source does.

        A source that lacks something is told as a warning.
        """
        if not damaged and not self._inventory.recovered:
            return
        with leases.hold_lease(self._store, _PURPOSE, self._listen) as held:
            wanted = {digest: self._inventory.size(bytes.fromhex(digest)) for digest in sorted(damaged)}
            for source in self._sources:
                if wanted:
                    self._from(source, wanted, held)
                wanted = {digest: size for digest, size in wanted.items() if digest not in self.chunks}
            # Children first, parent last.
            for version in sorted(self._inventory.recovered):
                self._put_manifest(version, held)

    def _from(self, source: Source, wanted: Mapping[str, int | None], held: LeaseHandle) -> None:
        before = len(self.chunks)
        sized = {digest: size for digest, size in wanted.items() if size is not None}
        needing = documents(self._store, self._inventory.versions, lambda version: recovered(self._sources, version))
        with source.ready(sized, needing, self._limits, self._listen) as ready:
            self._listen(events.Phase("repair", sum(sized.values())))
            self._mend(ready, wanted, held)
        lacking = len(wanted) - (len(self.chunks) - before)
        if lacking:
            few = [digest for digest in wanted if digest not in self.chunks][:3]
            shown = ", ".join(named(digest)[:19] for digest in few) + (", …" if lacking > len(few) else "")
            self._listen(events.Warned(f"{source.name} lacks {lacking} of {len(wanted)} chunks ({shown})"))

    def _mend(self, ready: Ready, wanted: Mapping[str, int | None], held: LeaseHandle) -> None:
        codecs = Workers(Codec, self._limits.workers)

        def mend(item: tuple[str, int | None]) -> None:
            digest, size = item
            frame = codecs.run(lambda codec: self._frame(ready, digest, size, codec))
            if frame is None:
                return
            held.check()
            self._store.put_frame(digest, frame, overwrite=True)
            with self._guard:
                self.chunks.add(digest)
            self._listen(events.Moved(size or 0, len(frame)))

        threads = min(self._limits.uploads, len(wanted))
        # A chunk is held as the source gave it, and as a frame.
        cost = lambda item: 2 * (item[1] or MAX_CHUNK)  # noqa: E731
        for_each(mend, wanted.items(), threads=threads, cost=cost, budget=self._limits.budget)

    def _frame(self, ready: Ready, digest: str, size: int | None, codec: Codec) -> bytearray | None:
        plain = ready.plain(digest, size, codec.decoder)
        if plain is None:
            return None
        try:
            return self._store.make_frame(digest, plain, None, codec)
        except IntegrityError:
            return None  # it was not what it seemed to be

    def _put_manifest(self, version: VersionId, held: LeaseHandle) -> None:
        for source in self._sources:
            if (data := source.document(version)) is not None:
                held.check()
                self._store.bucket.put(manifest_key(*version), data, Kind.MANIFEST, overwrite=True)
                self.versions.add(version)
                return


def recovered(sources: Sequence[Source], version: VersionId) -> Manifest | None:
    """What the first source that has a manifest has under its name; None when no source has it."""
    for source in sources:
        if (data := source.document(version)) is not None:
            try:
                found = parse(data)
            except FormatError:
                return None  # of a newer version, in the store, too
            return found if found.model == version.model else None
    return None
