"""Check chunks: fetch each frame, decode it and hash it. Damage is what stays however often a chunk is fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from cas.errors import ChunkMissing, FormatError, IntegrityError, ObjectArchived
from cas.formats.digest import Buffer, hex_of, named
from cas.formats.frame import MAX_CHUNK, Decoder, claimed_size
from cas.formats.manifest import ChunkRef
from cas.host import Limits
from cas.ops.fsck.damage import Defect
from cas.ops.fsck.inventory import Inventory
from cas.parallel import Pool, ReusableBuffer, Workers, for_each
from cas.store.store import CHUNK_FETCHES, Store

OnChecked: TypeAlias = Callable[[int, bytes, Defect | None, int], None]
"""Takes a chunk's index in the order, its digest (32 bytes), its defect, and the bytes that were fetched for it."""


def check_chunks(
    store: Store, inventory: Inventory, digests: Sequence[bytes], limits: Limits, on_checked: OnChecked
) -> None:
    """Check chunks in parallel, starting them in the order given.

    Args:
        store: that has the chunks.
        inventory: tells the plain size of each chunk that a version needs.
        digests: the chunks, 32 bytes each.
        limits: requests, workers and memory at once.
        on_checked: called for each chunk, from any thread.

    Raises:
        StoreError: the store cannot be reached or refuses, which is never taken for damage.
    """
    if not digests:
        return
    threads = min(limits.requests, len(digests))
    buffers, decoders = Pool(ReusableBuffer, threads), Workers(Decoder, limits.workers)

    def check(item: tuple[int, bytes]) -> None:
        index, digest = item
        with buffers.acquire() as buffer:
            defect, wire = _check_chunk(store, digest.hex(), inventory.plain_size(digest), buffer, decoders)
        on_checked(index, digest, defect, wire)

    def cost(item: tuple[int, bytes]) -> int:
        size = inventory.plain_size(item[1])
        return inventory.orphans.get(item[1], MAX_CHUNK) if size is None else size

    for_each(check, enumerate(digests), threads=threads, cost=cost, budget=limits.budget)


def _check_chunk(
    store: Store, digest: str, size: int | None, buffer: ReusableBuffer, decoders: Workers[Decoder]
) -> tuple[Defect | None, int]:
    """Return the defect of a chunk, and how many bytes were fetched for it."""
    defect, wire = None, 0
    for _ in range(CHUNK_FETCHES):
        try:
            frame = store.get_frame(ChunkRef(digest, size or MAX_CHUNK), buffer)
        except ChunkMissing:
            return Defect("missing", ""), wire
        except ObjectArchived as error:
            return Defect("undecodable", str(error)), wire
        except FormatError as error:  # the object is larger than any frame of a chunk of that size
            return Defect("undecodable", str(error)), wire
        wire += len(frame)
        defect = decoders.run(partial(_frame_defect, frame, digest, size))
        if defect is None:
            break
    return defect, wire


def _frame_defect(frame: Buffer, digest: str, size: int | None, decoder: Decoder) -> Defect | None:
    try:
        # The frame is decoded by the size that it claims. So the frame of another chunk is told from one that cannot be
        # read at all.
        plain = decoder.decode(frame, claimed_size(frame))
    except (IntegrityError, FormatError) as error:
        return Defect("undecodable", str(error))
    if (got := hex_of(plain)) != digest:
        return Defect("corrupt", f"it holds {len(plain)} bytes of digest {named(got)}")
    if size not in (None, len(plain)):
        return Defect("corrupt", f"it holds {len(plain)} bytes where the version says {size}")
    return None
