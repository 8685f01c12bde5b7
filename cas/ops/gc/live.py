"""What is live: every manifest that a ref, a receipt or its youth keeps, and every chunk of those.

A collector that cannot read something refuses to go on: what it cannot see it might delete.
"""

from __future__ import annotations

import datetime
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from cas import events
from cas.bucket import Entry
from cas.config import Limits
from cas.errors import FormatError, IntegrityError, NotFoundError
from cas.formats.digest import named
from cas.parallel import for_each
from cas.refs import reflog
from cas.refs.reflog import KEPT, Move, Ref, RefLog
from cas.store.store import Store

RECEIPTS_KEEP = datetime.timedelta(days=30)
"""How long a receipt keeps the version that it tells of."""

_MANIFEST = re.compile(r"manifests/([^/]+)/([0-9a-f]{64})\.json")
_RECEIPT = re.compile(r"receipts/[^/]+/[^/]+/[^/]*-([0-9a-f]{64})-[0-9a-f]+\.json")


class Version(NamedTuple):
    """One version of a model. digest: 64 hex."""

    model: str
    digest: str

    def __str__(self) -> str:
        return f"{self.model}@{named(self.digest)}"


class Root(NamedTuple):
    """What keeps a version, in words."""

    version: Version
    why: str


class Live:
    """What is kept, and why. manifests: all that the store holds. chunks: digests (32 bytes) of those that are kept."""

    def __init__(self, store: Store, *, grace: datetime.timedelta, keep: int, limits: Limits) -> None:
        """grace: younger manifests are kept. keep: versions of each tag and pin, the current one among them."""
        self._store, self._grace, self._keep, self._limits = store, grace, keep, limits
        self.manifests: dict[Version, Entry] = {}
        self.roots: list[Root] = []
        self.chunks: set[bytes] = set()

    @property
    def versions(self) -> set[Version]:
        """What is kept."""
        return {root.version for root in self.roots}

    def unneeded(self) -> list[Version]:
        """What the store holds and nothing keeps."""
        return sorted(self.manifests.keys() - self.versions)

    def find(self, now: datetime.datetime) -> None:
        """Reads refs, receipts and listings; raises FormatError or IntegrityError for what cannot be trusted.

        now: the server's time.
        """
        histories = self._histories()
        # After the refs: what one of them names was there before it.
        listed = self._store.bucket.list("manifests")
        self.manifests = {Version(*match.groups()): entry for entry in listed
                          if (match := _MANIFEST.fullmatch(entry.key))}  # fmt: skip
        refs = sorted(root for ref, moves in histories.items() for root in self._kept_by(ref, moves))
        self.roots = [*refs, *self._receipts(now), *self._young(now)]

    def mark(self, listen: events.Listener = events.ignore) -> None:
        """Collects the chunks of all that is kept; raises IntegrityError for a manifest that cannot be read."""
        marking = threading.Lock()
        reasons = {root.version: root.why for root in self.roots}

        def read(version: Version) -> None:
            digests = list(map(bytes.fromhex, self._manifest(version, reasons[version])))
            with marking:
                self.chunks.update(digests)

        listen(events.Phase("mark"))
        if reasons:
            for_each(read, reasons, threads=min(self._limits.requests, len(reasons)))

    def keepers(self, holds: Callable[[Version], bool]) -> Iterator[Root]:
        """The roots whose version `holds` says yes to."""
        asked: dict[Version, bool] = {}
        for root in self.roots:
            if root.version not in asked:
                asked[root.version] = holds(root.version)
            if asked[root.version]:
                yield root

    def _manifest(self, version: Version, why: str) -> Iterable[str]:
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
        kept: set[Version] = set()
        for age, move in enumerate(reversed(moves)):
            digest = move.entry.digest
            if digest is None:
                return
            version = Version(ref.model, digest)
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
        for entry in self._store.bucket.list("receipts"):
            if entry.modified > now - RECEIPTS_KEEP and (match := _RECEIPT.fullmatch(entry.key)):
                digests[match[1]] = entry.key
        return [
            Root(version, f"receipt {digests[version.digest]}")
            for version in self.manifests
            if version.digest in digests
        ]

    def _young(self, now: datetime.datetime) -> list[Root]:
        return [
            Root(version, f"published at {entry.modified:%Y-%m-%dT%H:%M:%SZ}, within the grace period")
            for version, entry in self.manifests.items()
            if entry.modified > now - self._grace
        ]


def readable(store: Store, version: Version) -> Iterable[str]:
    """Digests (64 hex) of a version's chunks; none when its manifest cannot be read."""
    try:
        return store.get_manifest(*version).chunks()
    except (IntegrityError, FormatError, NotFoundError):
        return ()
