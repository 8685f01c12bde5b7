"""Fsck: re-hashes what is in the store, says what is damaged and who needs it, and repairs it from elsewhere."""

from __future__ import annotations

import heapq
import math
import os
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from cas import config, events
from cas.errors import InputError
from cas.formats.digest import hex_of, named
from cas.ops.fsck.check_chunks import examine
from cas.ops.fsck.checkpoint import Progress, State, load
from cas.ops.fsck.damage import Damage, Trouble
from cas.ops.fsck.inventory import Inventory, documents
from cas.ops.fsck.repair import Repair, recovered
from cas.ops.fsck.repair_sources import open_sources
from cas.ops.fsck.report import SHOWN, Checked, Findings, Listed, Orphans
from cas.store.layout import manifest_key
from cas.store.store import Store, open_store

__all__ = ["Checked", "Damage", "Listed", "Orphans", "fsck"]


def fsck(
    scope: str | None = None,
    store: Store | str | None = None,
    *,
    sample: float = 1.0,
    state: str | Path | None = None,
    repair_from: Iterable[str] = (),
    limits: config.Limits | None = None,
    on_event: events.Listener = events.ignore,
) -> Checked:
    """Fetches, decodes and hashes every chunk of `scope`, and reads its manifests and refs.

    scope: a reference with a tag, a digest or a pin; the bare name of a model for all its versions; or None for the
    whole store, with what no version needs. store: an open one, a URL, or None for the default. sample: the share of
    the chunks that is fetched, over 0 up to 1, chosen anew each time; missing ones are found all the same. state: a
    file to go on from, removed in the end. repair_from: stores, folders or `hf`, in this order, whose bytes replace
    what is damaged. Raises InputError, NotFoundError, FormatError for a store of another version, StoreError when the
    store cannot be asked or refuses, which is never taken for damage.
    """
    begun = time.monotonic()
    if not 0 < sample <= 1:
        raise InputError(f"a sample of {sample:.6%} of the chunks makes no sense: give more than 0 and at most 100")
    held = open_store(store)
    held.check_format()
    limits = limits or config.Limits()
    sources = open_sources(repair_from, held)
    recover = partial(recovered, sources)
    path = None if state is None else Path(state)
    known = load(path, held.url, scope, sample) if path else None
    known = known or State(store=held.url, scope=scope, sample=sample, seed=os.urandom(8).hex())
    progress = Progress(known, path)
    inventory = Inventory(held, scope, limits, recover)
    first = inventory.read(frozenset(known.versions), on_event)
    if scope is None or sample < 1:
        inventory.list_chunks(on_event)
    _look(held, inventory, progress, _order(inventory, known, first), limits, on_event)
    _forget_deleted(held, inventory, known.found)
    repair = Repair(held, sources, inventory, limits, on_event)
    if sources:
        repair.run(known.found)
    left, mended = Findings(held, inventory, known.found, recover).listed(repair.chunks, repair.versions)
    orphans = sorted(digest for digest in inventory.orphans if digest.hex() not in known.found)
    progress.remove()
    return Checked(
        store=held.url,
        scope=scope,
        sample=sample,
        refs=inventory.refs,
        versions=len(inventory.versions) + len(inventory.troubles.keys() - inventory.recovered),
        chunks=len(inventory.needed),
        checked=known.checked,
        size=known.size,
        wire=known.wire,
        **left,
        orphaned=Orphans(
            len(orphans),
            sum(inventory.orphans[digest] for digest in orphans),
            tuple(named(digest.hex()) for digest in orphans[:SHOWN]),
        ),
        repaired=mended,
        seconds=time.monotonic() - begun,
    )


def _order(inventory: Inventory, known: State, first: int) -> list[bytes]:
    """The chunks to look into, by digest. first: number of the first version that is new since `known`."""
    everything: Sequence[bytes] = sorted({*inventory.needed, *inventory.orphans})
    if known.sample < 1:
        seed = known.seed.encode()
        count = math.ceil(len(everything) * known.sample)
        chosen = heapq.nsmallest(count, everything, key=lambda digest: hex_of(seed + digest))
        everything = sorted({*chosen, *inventory.absent})
    done = bytes.fromhex(known.watermark)

    def due(digest: bytes) -> bool:
        number = inventory.version(digest)
        return digest > done or (number is not None and number >= first)

    return [digest for digest in everything if due(digest)]


def _look(
    store: Store,
    inventory: Inventory,
    progress: Progress,
    order: Sequence[bytes],
    limits: config.Limits,
    listen: events.Listener,
) -> None:
    def size(digest: bytes) -> int:
        return inventory.size(digest) or inventory.orphans.get(digest, 0)

    def told(place: int, digest: bytes, trouble: Trouble | None, wire: int) -> None:
        if trouble is not None and trouble.kind == "missing" and inventory.size(digest) is None:
            inventory.orphans.pop(digest, None)  # deleted since it was listed
            trouble = None
        progress.done(place, trouble, size(digest), wire)
        listen(events.Moved(size(digest), wire))

    listen(events.Phase("fsck", sum(map(size, order))))
    progress.begin(order, [version.digest for version in inventory.versions])
    try:
        examine(store, inventory, order, limits, told)
    finally:
        progress.end()


def _forget_deleted(store: Store, inventory: Inventory, found: dict[str, Trouble]) -> None:
    """Leaves out missing chunks of versions that a collector deleted meanwhile, unless others need them, too."""
    missing = {digest: inventory.version(bytes.fromhex(digest))
               for digest, trouble in found.items() if trouble.kind == "missing"}  # fmt: skip
    gone = {
        number for number in set(missing.values())
        if number is not None and (version := inventory.versions[number]) not in inventory.recovered
        and version not in inventory.named and not store.bucket.exists(manifest_key(*version))
    }  # fmt: skip
    suspects = {digest for digest, number in missing.items() if number is None or number in gone}
    if suspects:
        others = [version for number, version in enumerate(inventory.versions) if number not in gone]
        for _, manifest in documents(store, others, lambda version: None):
            suspects -= manifest.chunks().keys()
    for digest in suspects:
        del found[digest]
