"""The sweep: delete what was condemned at least the grace period ago and is still unreferenced.

This is the collector's side of the leases (`cas.store.leases`). A sweep starts while no publisher holds a lease, so no
publisher relies on what it deletes; publishers that come meanwhile see its mark and wait for its end.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

from cas import events
from cas.errors import StoreError
from cas.formats.manifest import timestamp
from cas.formats.printable import no_command
from cas.ops.gc.erase import Eraser
from cas.ops.gc.live import LiveSet
from cas.ops.gc.shards import SHARDS, DigestSet
from cas.store import layout
from cas.store.condemned import CondemnedSet, condemned_chunks, condemned_versions
from cas.store.layout import VersionId, chunk_folder, chunk_key, manifest_key
from cas.store.lease_entries import ActiveLease, Lease, active_leases
from cas.store.store import Store

_POLL = 1.0  # seconds between two looks at leases that a sweep waits for


class SweepPostponed(Exception):
    """Somebody is publishing: another run has to do the sweep."""

    def __init__(self, lease: ActiveLease) -> None:
        super().__init__(no_command(f"{lease.by} has been at work since {timestamp(lease.written)}: {lease.purpose}"))


def wait_for_publishers(
    store: Store, mark: Lease, now: datetime.datetime, wait: float, listen: events.Listener
) -> None:
    """Return once nobody holds a lease, except publishers that wait for this sweep.

    Args:
        store: where the leases are.
        mark: the mark of this sweep, which is in the store already.
        now: the server's time.
        wait: seconds to wait at most.
        listen: is told that the run waits.

    Raises:
        SweepPostponed: somebody still held a lease after `wait` seconds.
        StoreError: another collector is sweeping.
    """
    sweeps = active_leases(store, store.bucket.list(layout.COLLECTIONS), lambda: now)
    others = [sweep for sweep in sweeps if sweep.id != mark.id]
    if others:
        raise StoreError(
            f"{no_command(others[0].by)} is collecting in {store.url} since {timestamp(others[0].written)}: "
            "let it end, then run `cas gc` again; nothing was deleted"
        )
    begun = time.monotonic()
    while publishing := _publishing(store, now + datetime.timedelta(seconds=time.monotonic() - begun)):
        if time.monotonic() - begun >= wait:
            raise SweepPostponed(publishing[0])
        listen(events.Phase("wait"))
        time.sleep(_POLL)


def sweep(
    store: Store, mark: Lease, condemned: CondemnedSet, live: LiveSet, tolerance: datetime.timedelta, eraser: Eraser
) -> tuple[int, int]:
    """Delete what one run condemned and is still unreferenced.

    Args:
        store: to delete from.
        mark: the mark of this sweep, which is checked before each deletion.
        condemned: what the run condemned.
        live: what is retained; its roots were found and marked after `wait_for_publishers` returned.
        tolerance: how far the clocks of the store's servers may differ.
        eraser: deletes the objects.

    Returns:
        How many versions and how many chunks were deleted.

    Raises:
        LeaseLost: the mark was not renewed in time, so a publisher may have started.
    """
    before = condemned.at - tolerance
    retained = live.versions
    by_model: dict[str, list[VersionId]] = {}
    for version in condemned_versions(store, condemned):
        if version not in retained:
            by_model.setdefault(version.model, []).append(version)
    # A power cut must not take back a move of a ref that made a version unreferenced, after the version is deleted.
    store.bucket.settle()
    # Manifests go first: then a manifest in the store has all its chunks, whenever the sweep is interrupted.
    versions = sum(
        eraser.erase(
            layout.manifest_folder(model), [manifest_key(*version) for version in some], before=before, check=mark.check
        )
        for model, some in by_model.items()
    )
    for version in [version for some in by_model.values() for version in some]:
        if version in live.manifests and live.manifests[version].modified < before:
            del live.manifests[version]
    store.bucket.settle()  # a power cut must not bring a manifest back without its chunks
    digests, chunks = DigestSet(), 0
    digests.add_all(condemned_chunks(store, condemned))
    for shard in SHARDS:
        unreferenced = digests.shard(shard) - live.chunks.shard(shard)
        keys = [chunk_key(digest.hex()) for digest in sorted(unreferenced)]
        chunks += eraser.erase(chunk_folder(f"{shard:02x}"), keys, before=before, check=mark.check)
    return versions, chunks


def _publishing(store: Store, now: datetime.datetime) -> Sequence[ActiveLease]:
    leases = active_leases(store, store.bucket.list(layout.LEASES), lambda: now)
    return [lease for lease in leases if not lease.waits]
