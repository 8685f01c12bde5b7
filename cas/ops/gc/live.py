"""What is live: every manifest that a ref, a receipt or its youth keeps, and every chunk of those.

A collector that cannot read something refuses to go on: what it cannot see it might delete.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from cas import events
from cas.bucket import Entry
from cas.config import Limits
from cas.errors import FormatError, IntegrityError, NotFoundError
from cas.formats.manifest import timestamp
from cas.parallel import for_each
from cas.refs import reflog
from cas.refs.reflog import KEPT, Move, Ref, RefLog
from cas.store import layout
from cas.store.layout import VersionId
from cas.store.store import Store

RECEIPTS_KEEP = datetime.timedelta(days=30)
"""How long a receipt keeps the version that it tells of."""


class Root(NamedTuple):
    """What keeps a version, in words."""

    version: VersionId
    why: str


class Live:
    """What is kept, and why. manifests: all that the store holds. chunks: digests (32 bytes) of those that are kept."""

    def __init__(self, store: Store, *, grace: datetime.timedelta, keep: int, limits: Limits) -> None:
        """grace: younger manifests are kept. keep: versions of each tag and pin, the current one among them."""
        self._store, self._grace, self._keep, self._limits = store, grace, keep, limits
        self.manifests: dict[VersionId, Entry] = {}
        self.roots: list[Root] = []
        self.chunks: set[bytes] = set()

    @property
    def versions(self) -> set[VersionId]:
        """What is kept."""
        return {root.version for root in self.roots}

    def unneeded(self) -> list[VersionId]:
        """What the store holds and nothing keeps."""
        return sorted(self.manifests.keys() - self.versions)

    def find(self, now: datetime.datetime) -> None:
        """Reads refs, receipts and listings; raises FormatError or IntegrityError for what cannot be trusted.

        now: the server's time.
        """
        histories = self._histories()
        # After the refs: what one of them names was there before it.
        self.manifests = self._store.list_manifests()
        refs = sorted(root for ref, moves in histories.items() for root in self._kept_by(ref, moves))
        self.roots = [*refs, *self._receipts(now), *self._young(now)]

    def mark(self, listen: events.Listener = events.ignore) -> None:
        """Collects the chunks of all that is kept; raises IntegrityError for a manifest that cannot be read."""
        marking = threading.Lock()
        reasons = {root.version: root.why for root in self.roots}

        def read(version: VersionId) -> None:
            digests = list(map(bytes.fromhex, self._manifest(version, reasons[version])))
            with marking:
                self.chunks.update(digests)

        listen(events.Phase("mark"))
        if reasons:
            for_each(read, reasons, threads=min(self._limits.requests, len(reasons)))

    def _manifest(self, version: VersionId, why: str) -> Iterable[str]:
        try:
            return self._store.get_manifest(*version).chunks()
        except (IntegrityError, FormatError, NotFoundError) as error:
            raise IntegrityError(
                f"{version}, which is kept ({why}), cannot be read, so what it needs is not known: nothing was "
                f"deleted; repair it (`cas fsck`) or let go of it ({error})"
            ) from error

    def _histories(self) -> dict[Ref, list[Move]]:
        logs = reflog.logs(self._store)
        found: dict[Ref, list[Move]] = {}

        def read(log: RefLog) -> None:
            found[log.ref] = log.history(KEPT)

        if logs:
            for_each(read, logs, threads=min(self._limits.requests, len(logs)))
        return found

    def _kept_by(self, ref: Ref, moves: Sequence[Move]) -> Iterator[Root]:
        """The last versions that a ref named, until it was removed."""
        kept: set[VersionId] = set()
        for age, move in enumerate(reversed(moves)):
            digest = move.entry.digest
            if digest is None:
                return
            version = VersionId(ref.model, digest)
            if version in self.manifests:
                kept.add(version)
                if len(kept) > self._keep:
                    return
                yield Root(version, str(ref) if age == 0 else f"history of {ref}")
            elif age == 0:
                raise IntegrityError(
                    f"{ref} names {version}, which is not in {self._store.url}: nothing was deleted; repair it "
                    "(`cas fsck --repair-from`), move it on (`cas tag`, `cas pin`) or remove it (`cas untag`, "
                    "`cas unpin`)"
                )

    def _receipts(self, now: datetime.datetime) -> list[Root]:
        digests: dict[str, str] = {}
        for entry in self._store.bucket.list(layout.RECEIPTS):
            if entry.modified > now - RECEIPTS_KEEP and (digest := layout.receipt_digest(entry.key)):
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


def readable(store: Store, version: VersionId) -> Iterable[str]:
    """Digests (64 hex) of a version's chunks; none when its manifest cannot be read."""
    try:
        return store.get_manifest(*version).chunks()
    except (IntegrityError, FormatError, NotFoundError):
        return ()
