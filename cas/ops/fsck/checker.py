"""Fsck: hash what a store holds again, say what is damaged and which versions need it, and repair it from elsewhere.

    resolve   read refs, then manifests
    list      list the stored chunks (for the whole store, or for a sample)
    fsck      fetch, decode and hash the chunks in the order of their digests; save a checkpoint now and then
    forget    leave out missing chunks whose version a collector deleted meanwhile
    repair    write what is damaged anew from other sources, chunks before manifests; and the refs of a store that has
              lost all of them
    report    count and name what is left

A publisher writes chunks, then the manifest, then the ref. The check reads in the opposite order, so what a ref or a
manifest names was in the store before it, and a publish under way is never taken for damage. As chunks are checked in
the order of their digests, a checkpoint needs only the last digest to say how far the check has come. A manifest that
only a repair source has is read from there at once, because its chunks have to be checked and repaired before it is
written, last.
"""

from __future__ import annotations

import heapq
import math
import os
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from cas import events, host
from cas.errors import InputError
from cas.formats.digest import hex_of, named
from cas.formats.printable import printable
from cas.ops.fsck.check_chunks import check_chunks
from cas.ops.fsck.checkpoint import Checkpoint, Progress, load_checkpoint
from cas.ops.fsck.damage import DamagedObject, Defect
from cas.ops.fsck.inventory import Inventory, read_manifests
from cas.ops.fsck.lost import find_lender, name_again, open_or_make
from cas.ops.fsck.repair import Repair, recover_manifest
from cas.ops.fsck.repair_sources import open_sources
from cas.ops.fsck.report import SHOWN, Checked, Findings, Listed, Orphans
from cas.ops.fsck.shard import Shard
from cas.store.layout import manifest_key
from cas.store.store import Store, open_store

__all__ = ["Checked", "DamagedObject", "Listed", "Orphans", "fsck"]


def fsck(
    scope: str | None = None,
    store: Store | str | None = None,
    *,
    sample: float = 1.0,
    state: str | Path | None = None,
    repair_from: Iterable[str] = (),
    shard: Shard | None = None,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Checked:
    """Fetch, decode and hash every chunk in the scope, and read its manifests and refs.

    Args:
        scope: a reference with a tag, a digest or a pin; the bare name of a model for all its versions; or None for
            the whole store, with the chunks that no version needs.
        store: an open store, a URL, or None for the default.
        sample: the share of the chunks that is fetched, over 0 up to 1, chosen anew each time; all chunks that the
            store lacks are found all the same.
        state: a file with the checkpoint of this check: the check goes on from it, and removes it when it is complete.
        repair_from: stores, folders or `hf`, in the order in which they are tried, whose bytes replace damaged ones.
        shard: check only this share of the chunks; `cas.ops.fsck.shard.merge` sums up the results of all shares.
        limits: requests, workers and memory at once.
        on_event: is told of phases and progress.

    Raises:
        InputError: an argument makes no sense, or the checkpoint is of another check.
        NotFoundError: there is no store, or nothing in the scope.
        FormatError: the store is of a newer version.
        SignatureError: lost refs are to be set again, keys are trusted, and none signs here; nothing was written.
        StoreError: the store cannot be reached or refuses, which is never taken for damage.
    """
    begun = time.monotonic()
    if not 0 < sample <= 1:
        raise InputError(f"a sample of {sample:.6%} of the chunks makes no sense: give more than 0 and at most 100")
    repair_from = tuple(repair_from)
    if shard is not None and repair_from:
        raise InputError("a shard is not repaired, as a manifest may need chunks of others: repair the whole store")
    store = open_store(store)
    limits = limits or host.Limits()
    if not repair_from:
        store.check_format()
    sources = open_sources(repair_from, store)
    open_or_make(store, sources, on_event)
    lender = find_lender(store, sources, on_event) if sources else None
    recover = partial(recover_manifest, sources)
    path = None if state is None else Path(state)
    known = load_checkpoint(path, printable(store.url), scope, sample, shard) if path else None
    known = known or Checkpoint(
        store=printable(store.url),
        scope=scope,
        sample=sample,
        seed=os.urandom(8).hex(),
        shard=msgspec.UNSET if shard is None else str(shard),
    )
    progress = Progress(known, path)
    inventory = Inventory(store, scope, limits, recover, shard, lender)
    first = inventory.read(frozenset(known.versions), on_event)
    if scope is None or sample < 1:
        inventory.list_chunks(on_event)
    _check(store, inventory, progress, _order(inventory, known, first), limits, on_event)
    _forget_deleted(store, inventory, known.found)
    repair = Repair(store, sources, inventory, limits, on_event)
    if sources:
        repair.run(known.found)
    lacking = known.found.keys() - repair.chunks
    named_again, refused = name_again(store, sources, scope, inventory, lacking, on_event)
    versions = len(inventory.versions) + len(inventory.defects.keys() - inventory.recoverable)
    if shard is not None and shard.number > 1:
        inventory.leave_documents_out()
    left, repaired = Findings(store, inventory, known.found, recover).summarize(
        repair.chunks, repair.versions, named_again
    )
    orphans = sorted(digest for digest in inventory.orphans if digest.hex() not in known.found)
    progress.remove()
    return Checked(
        store=store.url,
        scope=scope,
        sample=sample,
        refs=inventory.refs,
        versions=versions,
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
        repaired=repaired,
        refused=tuple(refused),
        orphaned_signatures=inventory.orphaned_signatures,
        seconds=time.monotonic() - begun,
        shard=None if shard is None else str(shard),
    )


def _order(inventory: Inventory, known: Checkpoint, first: int) -> list[bytes]:
    """Return the digests (32 bytes) of the chunks that remain to be checked, sorted.

    Args:
        inventory: of the check.
        known: what earlier sittings have checked.
        first: index of the first version that is newer than `known`.
    """
    everything: Sequence[bytes] = sorted({*inventory.needed, *inventory.orphans})
    if known.sample < 1:
        seed = known.seed.encode()
        count = math.ceil(len(everything) * known.sample)
        chosen = heapq.nsmallest(count, everything, key=lambda digest: hex_of(seed + digest))
        everything = sorted({*chosen, *inventory.absent})
    watermark = bytes.fromhex(known.watermark)

    def remains(digest: bytes) -> bool:
        index = inventory.version_index(digest)
        return digest > watermark or (index is not None and index >= first)

    return [digest for digest in everything if remains(digest)]


def _check(
    store: Store,
    inventory: Inventory,
    progress: Progress,
    order: Sequence[bytes],
    limits: host.Limits,
    listen: events.Listener,
) -> None:
    def size(digest: bytes) -> int:
        return inventory.plain_size(digest) or inventory.orphans.get(digest, 0)

    def on_checked(index: int, digest: bytes, defect: Defect | None, wire: int) -> None:
        if defect is not None and defect.kind == "missing" and inventory.plain_size(digest) is None:
            inventory.orphans.pop(digest, None)  # deleted since it was listed
            defect = None
        progress.done(index, defect, size(digest), wire)
        listen(events.Moved(size(digest), wire))

    listen(events.Phase("fsck", sum(map(size, order))))
    progress.begin(order, [version.digest for version in inventory.versions])
    try:
        check_chunks(store, inventory, order, limits, on_checked)
    finally:
        progress.end()


def _forget_deleted(store: Store, inventory: Inventory, found: dict[str, Defect]) -> None:
    """Leave out missing chunks of versions that a collector deleted meanwhile, unless other versions need them."""
    missing = {digest: inventory.version_index(bytes.fromhex(digest))
               for digest, defect in found.items() if defect.kind == "missing"}  # fmt: skip
    gone = {
        index for index in set(missing.values())
        if index is not None and (version := inventory.versions[index]) not in inventory.recoverable
        and version not in inventory.named and not store.bucket.exists(manifest_key(*version))
    }  # fmt: skip
    suspects = {digest for digest, index in missing.items() if index is None or index in gone}
    if suspects:
        others = [version for index, version in enumerate(inventory.versions) if index not in gone]
        for _, manifest in read_manifests(store, others, lambda version: None):
            suspects -= manifest.chunks().keys()
    for digest in suspects:
        del found[digest]
