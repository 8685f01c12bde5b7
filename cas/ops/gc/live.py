"""The live set: every version that a ref, a receipt or its youth retains, and every chunk of those versions.

A collector that cannot read something ends the run: what it cannot see it might delete.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from cas import events
from cas.bucket import Entry
from cas.errors import FormatError, IntegrityError, ListingUnbounded, NotFoundError
from cas.formats.manifest import timestamp
from cas.formats.outline import chunk_names
from cas.host import Limits
from cas.ops.gc.histories import histories, since_removal
from cas.ops.gc.shards import DigestSet
from cas.parallel import for_each
from cas.refs.reflog import Move, Ref
from cas.store import layout
from cas.store.layout import VersionId
from cas.store.manifests import read_manifest
from cas.store.store import Store

RECEIPTS_RETAIN = datetime.timedelta(days=30)
"""How long a receipt retains the version that it tells of."""


_DIGEST = 32  # bytes
_DECODED = 6  # times the size of a manifest, which it takes of memory while the names of its chunks are read
_BUDGET = 64 * 1024 * 1024  # bytes of memory for manifests that are read


class Root(NamedTuple):
    """A root of the mark phase: a version that is retained, and the reason in words."""

    version: VersionId
    reason: str


class LiveSet:
    """What a store must retain, and why.

    Attributes:
        manifests: every version whose manifest the store has, with its entry in the listing.
        roots: the versions that are retained, once for each reason.
        signed: for each ref the names of the last entries that trusted keys signed, back to a removal: no run trims
            them, however many entries follow; empty where no key is trusted.
        chunks: digests (32 bytes) of the chunks of all retained versions; empty before `mark`.
    """

    def __init__(self, store: Store, *, grace: datetime.timedelta, keep: int, limits: Limits) -> None:
        """Prepare an empty set.

        Args:
            store: to look at.
            grace: a manifest younger than this is retained.
            keep: how many versions each tag and pin retains, the current one among them.
            limits: how many requests are made at once.
        """
        self._store, self._grace, self._keep, self._limits = store, grace, keep, limits
        self.manifests: dict[VersionId, Entry] = {}
        self.roots: list[Root] = []
        self.signed: Mapping[Ref, Collection[str]] = {}
        self.chunks = DigestSet()

    @property
    def versions(self) -> set[VersionId]:
        """The versions that are retained."""
        return {root.version for root in self.roots}

    def unreferenced_versions(self) -> list[VersionId]:
        """Return the versions in the store that nothing retains, sorted."""
        return sorted(self.manifests.keys() - self.versions)

    def find_roots(self, now: datetime.datetime, listen: events.Listener = events.ignore) -> None:
        """Read refs, receipts and listings into `manifests` and `roots`.

        Args:
            now: the server's time.
            listen: is told when receipts cannot be listed to their end.

        Raises:
            FormatError: an entry of a ref cannot be read.
            IntegrityError: a ref names a version that the store lacks.
        """
        read = histories(self._store, self._limits.requests)
        self.signed = {history.ref: {move.name for move in since_removal(history.signed)} for history in read}
        # Manifests are listed after the refs are read: a version that a ref names was in the store before the ref.
        self.manifests = self._store.list_manifests()
        refs: list[Root] = []
        for history in read:
            named = list(self._named_by(history.ref, history.last))
            versions = {root.version for root in named}
            signed = self._signed_before(history.ref, history.signed)
            refs += [*named, *(root for root in signed if root.version not in versions)]
        refs.sort()
        self.roots = [*refs, *self._receipts(now, listen), *self._young(now)]

    def mark(self, listen: events.Listener = events.ignore) -> None:
        """Read the manifests of all roots into `chunks`; raise IntegrityError for a manifest that cannot be read."""
        marking = threading.Lock()
        reasons = {root.version: root.reason for root in self.roots}

        def read(version: VersionId) -> None:
            packed = self._chunks_of(version, reasons[version])
            digests = [packed[at : at + _DIGEST] for at in range(0, len(packed), _DIGEST)]
            with marking:
                self.chunks.add(digests)

        def age(version: VersionId) -> tuple[str, datetime.datetime]:
            return version.model, self.manifests[version].modified

        listen(events.Phase("mark"))
        if reasons:
            # Versions that follow each other share most of their chunks, which the set then takes once.
            for_each(
                read,
                sorted(reasons, key=age),
                threads=min(self._limits.requests, len(reasons)),
                cost=lambda version: _DECODED * self.manifests[version].size,
                budget=_BUDGET,
            )

    def _chunks_of(self, version: VersionId, reason: str) -> bytes:
        try:
            return read_manifest(self._store, version, chunk_names).digests
        except (IntegrityError, FormatError, NotFoundError) as error:
            raise IntegrityError(
                f"{version}, which is kept ({reason}), cannot be read, so what it needs is not known: nothing was "
                f"deleted; repair it (`cas fsck`) or let go of it ({error})"
            ) from error

    def _named_by(self, ref: Ref, moves: Sequence[Move]) -> Iterator[Root]:
        """Yield the last versions that a ref named, back to the ref's last removal, `keep` at most."""
        found: set[VersionId] = set()
        for age, move in enumerate(reversed(moves)):
            digest = move.entry.digest
            if digest is None:
                return
            version = VersionId(ref.model, digest)
            if version in self.manifests:
                found.add(version)
                if len(found) > self._keep:
                    return
                yield Root(version, str(ref) if age == 0 else f"history of {ref}")
            elif age == 0:
                raise IntegrityError(
                    f"{ref} names {version}, which is not in {self._store.url}: nothing was deleted; repair it "
                    "(`cas fsck --repair-from`), move it on (`cas tag`, `cas pin`) or remove it (`cas untag`, "
                    "`cas unpin`)"
                )

    def _signed_before(self, ref: Ref, moves: Sequence[Move]) -> Iterator[Root]:
        """Yield the last versions that trusted keys let a ref name, as `_named_by` does, whatever was written since."""
        found: set[VersionId] = set()
        for move in reversed(since_removal(moves)):
            version = VersionId(ref.model, move.entry.digest or "")
            if version in self.manifests and len(found | {version}) <= self._keep:
                found.add(version)
                yield Root(version, f"what trusted keys signed of {ref}")

    def _receipts(self, now: datetime.datetime, listen: events.Listener) -> list[Root]:
        digests: dict[str, str] = {}
        try:
            listed = self._store.bucket.list(layout.RECEIPTS)
        except ListingUnbounded as error:
            # Whoever may only write receipts must not end the collector's runs, nor hide a receipt from it.
            listen(events.Warned(f"every version is kept, as receipts cannot be read: {error}"))
            return [Root(version, "receipts, which are too many to be listed") for version in self.manifests]
        for entry in listed:
            if entry.modified > now - RECEIPTS_RETAIN and (digest := layout.receipt_digest(entry.key)):
                digests[digest] = entry.key
        return [
            Root(version, f"receipt {digests[version.digest]}")
            for version in self.manifests
            if version.digest in digests
        ]

    def _young(self, now: datetime.datetime) -> list[Root]:
        return [
            Root(version, f"published at {timestamp(entry.modified)}, within the grace period")
            for version, entry in self.manifests.items()
            if entry.modified > now - self._grace
        ]
