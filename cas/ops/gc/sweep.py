"""The sweep: what was condemned long enough ago, and nothing has come to need since, is deleted.

It runs while nobody holds a lease, so nobody relies on what it deletes; who comes meanwhile waits for it.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

from cas import events
from cas.errors import StoreError
from cas.formats.manifest import timestamp
from cas.ops.gc.erase import Eraser
from cas.ops.gc.live import Live
from cas.store import condemned, layout
from cas.store.condemned import Condemnation
from cas.store.layout import VersionId, chunk_folder, chunk_key, manifest_key
from cas.store.leases import Holder, Lease, holders
from cas.store.store import Store

_POLL = 1.0  # seconds


class PutOff(Exception):
    """Somebody is publishing: the sweep has to wait for another run."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"{holder.by} has been at work since {timestamp(holder.at)}: {holder.purpose}")


def alone(store: Store, mark: Lease, now: datetime.datetime, wait: float, listen: events.Listener) -> None:
    """Returns when nobody holds a lease; raises PutOff after `wait` seconds, StoreError beside another collector.

    mark: the mark of this sweep, written already. now: the server's time.
    """
    others = [one for one in holders(store, store.bucket.list(layout.COLLECTIONS), lambda: now) if one.id != mark.id]
    if others:
        raise StoreError(
            f"{others[0].by} is collecting in {store.url} since {timestamp(others[0].at)}: "
            "let it end, then run `cas gc` again; nothing was deleted"
        )
    begun = time.monotonic()
    while busy := _busy(store, now + datetime.timedelta(seconds=time.monotonic() - begun)):
        if time.monotonic() - begun >= wait:
            raise PutOff(busy[0])
        listen(events.Phase("wait"))
        time.sleep(_POLL)


def sweep(
    store: Store, mark: Lease, condemnation: Condemnation, live: Live, tolerance: datetime.timedelta, eraser: Eraser
) -> tuple[int, int]:
    """Deletes what a run condemned and nothing needs; returns how many versions and chunks.

    live: found and marked after `alone` returned. tolerance: how far the clocks of the store's servers may differ.
    """
    before = condemnation.at - tolerance
    kept = live.versions
    doomed = condemned.manifests_of(store, condemnation)
    by_model: dict[str, list[VersionId]] = {}
    for version in doomed:
        if version not in kept:
            by_model.setdefault(version.model, []).append(version)
    # Manifests first: one that is there has all its chunks, whenever this is interrupted.
    versions = sum(
        eraser.erase(
            layout.manifest_folder(model), [manifest_key(*one) for one in some], before=before, allowed=mark.check
        )
        for model, some in by_model.items()
    )
    for version in [one for some in by_model.values() for one in some]:
        if version in live.manifests and live.manifests[version].modified < before:
            del live.manifests[version]
    folders: dict[str, list[str]] = {}
    for digest in condemned.chunks_of(store, condemnation):
        if digest not in live.chunks:
            folders.setdefault(chunk_folder(digest.hex()), []).append(chunk_key(digest.hex()))
    chunks = sum(
        eraser.erase(folder, keys, before=before, allowed=mark.check) for folder, keys in sorted(folders.items())
    )
    return versions, chunks


def _busy(store: Store, now: datetime.datetime) -> Sequence[Holder]:
    return [one for one in holders(store, store.bucket.list(layout.LEASES), lambda: now) if not one.waits]
