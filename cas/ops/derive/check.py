"""Proves a variant that exists once more, from the store alone."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cas import events, host, refs
from cas.errors import IntegrityError
from cas.formats.digest import parse
from cas.formats.frame import Codec
from cas.formats.manifest import Manifest, Manifest1, ordered
from cas.ops.derive import plan, proof, variant
from cas.ops.derive.cast_units import process_units
from cas.ops.derive.plan import CastFile, Unit
from cas.ops.derive.variant import Chunks, NewContent
from cas.parallel import Pool, ReusableBuffer
from cas.store.store import Store, open_store
from cas.store.stored_file import ByteRange, StoredFile


@dataclass(frozen=True, slots=True)
class Proven:
    """What was proven about a variant.

    Attributes:
        reference: names the variant for ever.
        original: names the version that it was derived from.
        transform: the recorded name of the cast.
        tensors: how many cast tensors were compared, element by element.
        proof: the digest of the proof's listing.
        total: plain bytes that were read.
        seconds: wall time.
    """

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
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Proven:
    """Read a cast variant and its original from the store, and compare them as `derive` did.

    Args:
        reference: names the variant.
        store: an open store, its URL, or None for the default.
        limits: how much memory and how many requests to use.
        on_event: is told of phases and of bytes that were compared.

    Raises:
        IntegrityError: something differs: an element, a header, another file, a commit, or the listing's digest.
        InputError: the version is no cast variant.
        NotFoundError: the store does not hold the variant, or no longer its original.
    """
    begun = time.monotonic()
    store = open_store(store)
    resolved = refs.resolve(store, reference, listen=on_event)
    new, derived = resolved.manifest, resolved.manifest.derived
    target = variant.target_of(derived, reference)
    assert derived is not None, "it has a target"
    original = store.get_manifest(new.model, parse(derived.parent))
    if not isinstance(new, Manifest1):
        original = ordered(original)  # of version 1, whose repos are in its publisher's order
    limits = limits or host.Limits()
    codecs = Pool(Codec, limits.workers)
    new_chunks = _counterparts(original, new)
    stored: dict[CastFile, tuple[Chunks, StoredFile]] = {}
    on_event(events.Phase("plan"))
    for file, chunks in plan.plan_files(store, original, target, codecs).items():
        variant_file = StoredFile(store, new_chunks[chunks], codecs)
        if variant_file.size != file.size:
            raise IntegrityError(
                f"{file.name} has {variant_file.size} bytes in the variant, where its cast has {file.size}"
            )
        stored[file] = chunks, variant_file

    def fill(unit: Unit, source: memoryview, target: memoryview, frames: ReusableBuffer) -> None:
        stored[unit.file][1].read([ByteRange(unit.start, unit.size, 0)], target, frames)

    total = sum(file.original.size + file.size for file in stored)
    on_event(events.Phase("prove", sum(file.original.size for file in stored)))
    # Nothing is stored: the bytes came from the store.
    ledgers = process_units(list(stored), fill, lambda unit, target: lambda: 0, limits, on_event)
    made = {
        chunks: NewContent(file.size, ledger.blob, new_chunks[chunks])
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
    """Return the variant's chunks of each safetensors file, by the original's chunks.

    Raises:
        IntegrityError: the variant does not have the files of the original.
    """
    before, after = plan.named_files(original), plan.named_files(new)
    if [name for name, _ in before] != [name for name, _ in after]:
        raise IntegrityError(f"the variant's files are not those of its original, {original.model}")
    return {
        old.chunks: now.chunks
        for (_, old), (_, now) in reversed(list(zip(before, after, strict=True)))
        if old.path.endswith(variant.SUFFIX)
    }
