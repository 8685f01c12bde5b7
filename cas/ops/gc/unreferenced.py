"""What nothing retains: the listed chunks and manifests that are not in the live set, found shard by shard."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cas.host import Limits
from cas.ops.gc.live import LiveSet
from cas.ops.gc.shards import SHARDS, ChunkListing, DigestSet
from cas.store import lookup
from cas.store.condemned import CondemnedSet, condemned_chunks, condemned_versions
from cas.store.layout import VersionId
from cas.store.store import Store


class Unreferenced(NamedTuple):
    """What nothing retains and no run has condemned.

    Attributes:
        versions: whose manifests are unreferenced.
        chunks: digests.
        size: stored bytes of both.
        waiting: how many more chunks are unreferenced, but condemned already.
    """

    versions: list[VersionId]
    chunks: DigestSet
    size: int
    waiting: int


def list_all_chunks(store: Store, limits: Limits) -> ChunkListing:
    """Return all chunks that the store has. limits: how many folders are listed at once."""
    listing = ChunkListing()
    lookup.list_chunks(store, listing.add, limits)
    return listing


def find_unreferenced(
    store: Store, live: LiveSet, listing: ChunkListing, pending: Sequence[CondemnedSet], now: datetime.datetime
) -> Unreferenced:
    """Find what to condemn, without what was written after `now`, whose version may be on its way.

    Args:
        store: that is collected in.
        live: what is retained, marked before the chunks were listed.
        listing: the chunks of the store.
        pending: what runs have condemned and no run has swept.
        now: the server's time when the run began.
    """
    known, new = _digests(store, pending), DigestSet()
    size = waiting = 0
    for shard in SHARDS:
        condemned = known.shard(shard)
        listed = listing.shard_without(shard, live.chunks.shard(shard))
        chunks = [chunk for chunk in listed if chunk.modified <= now]
        fresh = [chunk for chunk in chunks if chunk.digest not in condemned]
        new.add([chunk.digest for chunk in fresh])
        size += sum(chunk.size for chunk in fresh)
        waiting += len(chunks) - len(fresh)
    known_versions = {version for each in pending for version in condemned_versions(store, each)}
    versions = [version for version in live.unreferenced_versions() if version not in known_versions]
    return Unreferenced(versions, new, size + sum(live.manifests[version].size for version in versions), waiting)


def preview_sweep(
    store: Store, live: LiveSet, listing: ChunkListing, due: Sequence[CondemnedSet], tolerance: datetime.timedelta
) -> tuple[int, int, int]:
    """Return how many versions and chunks a sweep of the sets that are `due` would delete, and their stored bytes.

    Args:
        store: that is looked at.
        live: what is retained.
        listing: the chunks of the store.
        due: what was condemned at least the grace period ago.
        tolerance: as for `sweep`.
    """
    sets = [(each.at - tolerance, _digests(store, [each])) for each in due]
    count = size = 0
    for shard in SHARDS if sets else ():
        before = {digest: time for time, digests in sets for digest in digests.shard(shard)}
        for chunk in listing.shard_without(shard, live.chunks.shard(shard)):
            if (time := before.get(chunk.digest)) and chunk.modified < time:
                count, size = count + 1, size + chunk.size
    versions = {version: each.at - tolerance for each in due for version in condemned_versions(store, each)}
    manifests = [
        live.manifests[version] for version in live.unreferenced_versions()
        if (time := versions.get(version)) and live.manifests[version].modified < time
    ]  # fmt: skip
    return len(manifests), count, size + sum(entry.size for entry in manifests)


def _digests(store: Store, sets: Iterable[CondemnedSet]) -> DigestSet:
    found = DigestSet()
    found.add_all(digest for each in sets for digest in condemned_chunks(store, each))
    return found
