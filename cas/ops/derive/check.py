"""Proves an existing variant again, from nothing but what is in the store."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cas import config, events, refs
from cas.errors import IntegrityError
from cas.formats.digest import parse
from cas.formats.frame import Codec
from cas.formats.manifest import Manifest
from cas.ops.derive import plan, proof, variant
from cas.ops.derive.cast_units import walk
from cas.ops.derive.plan import CastFile, Unit
from cas.ops.derive.variant import Chunks, Made
from cas.parallel import Pool, ReusableBuffer
from cas.store.store import Store, open_store
from cas.store.stored_file import ByteRange, StoredFile


@dataclass(frozen=True, slots=True)
class Proven:
    """What was proven of a variant. tensors: how many were compared, element by element. total: plain bytes read."""

    reference: str
    original: str
    transform: str
    tensors: int
    proof: str
    total: int
    seconds: float


def check(
    reference: str,
    store: Store | str | None = None,
    *,
    limits: config.Limits | None = None,
    on_event: events.Listener = events.ignore,
) -> Proven:
    """Reads a cast variant and its original from the store and compares them as `derive` did.

    Raises IntegrityError when anything differs: an element, a header, a carried file, a commit, the listing's digest.
    InputError for a version that is no cast variant; NotFoundError when the original is no longer in the store.
    """
    begun = time.monotonic()
    held = open_store(store)
    resolved = refs.resolve(held, reference)
    new, derived = resolved.manifest, resolved.manifest.derived
    target = variant.target_of(derived, reference)
    assert derived is not None, "it has a target"
    original = held.get_manifest(new.model, parse(derived.parent))
    limits = limits or config.Limits()
    codecs = Pool(Codec, limits.workers)
    now_chunks = _counterparts(original, new)
    stored: dict[CastFile, tuple[Chunks, StoredFile]] = {}
    on_event(events.Phase("plan"))
    for file, chunks in plan.plan_files(held, original, target, codecs).items():
        now = StoredFile(held, now_chunks[chunks], codecs)
        if now.size != file.size:
            raise IntegrityError(f"{file.name} has {now.size} bytes in the variant, where its cast has {file.size}")
        stored[file] = chunks, now

    def fill(unit: Unit, source: memoryview, target: memoryview, room: ReusableBuffer) -> None:
        stored[unit.file][1].read([ByteRange(unit.start, unit.size, 0)], target, room)

    total = sum(file.original.size + file.size for file in stored)
    on_event(events.Phase("prove", sum(file.original.size for file in stored)))
    ledgers = walk(list(stored), fill, lambda unit, target: lambda: 0, limits, on_event)
    made = {
        chunks: Made(file.size, ledger.blob, now_chunks[chunks])
        for ledger in ledgers
        for file, (chunks, _) in [(ledger.file, stored[ledger.file])]
    }
    expected = variant.repos(original, derived.transform, made), variant.plain_files(original, made)
    if not made or expected != (new.repos, new.files):
        raise IntegrityError(f"{resolved.exact} has other files, blobs or commits than its original and its cast have")
    listing = proof.digest(ledgers)
    if new.annotations.get(variant.PROOF) != listing:
        raise IntegrityError(f"{resolved.exact} records another proof than {listing}, which is that of its content")
    return Proven(
        reference=resolved.exact,
        original=f"{new.model}@{derived.parent}",
        transform=derived.transform,
        tensors=sum(file.cast_tensors for file in stored),
        proof=listing,
        total=total,
        seconds=time.monotonic() - begun,
    )


def _counterparts(original: Manifest, new: Manifest) -> dict[Chunks, Chunks]:
    """The variant's chunks of each safetensors file of the original; raises IntegrityError when files differ."""
    before, after = plan.named_files(original), plan.named_files(new)
    if [name for name, _ in before] != [name for name, _ in after]:
        raise IntegrityError(f"the variant's files are not those of its original, {original.model}")
    return {
        old.chunks: now.chunks
        for (_, old), (_, now) in reversed(list(zip(before, after, strict=True)))
        if old.path.endswith(variant.SUFFIX)
    }
