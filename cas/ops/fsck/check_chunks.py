"""Chunks, one frame after the other: fetched, decoded, hashed. What stays damaged however often it is fetched, is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from cas.config import Limits
from cas.errors import ChunkMissing, FormatError, IntegrityError
from cas.formats.digest import Buffer, hex_of, named
from cas.formats.frame import MAX_CHUNK, Decoder, claimed_size
from cas.formats.manifest import ChunkRef
from cas.ops.fsck.damage import Trouble
from cas.ops.fsck.inventory import Inventory
from cas.parallel import Pool, ReusableBuffer, Workers, for_each
from cas.store.store import CHUNK_FETCHES, Store

Told = Callable[[int, bytes, Trouble | None, int], None]
"""Called, in whatever thread, with a chunk's place in the order, its digest, what is wrong, and the frame's bytes."""


def examine(store: Store, inventory: Inventory, digests: Sequence[bytes], limits: Limits, told: Told) -> None:
    """Looks into each chunk, beginning them in the order given; raises StoreError when the store cannot be asked."""
    if not digests:
        return
    threads = min(limits.requests, len(digests))
    rooms, decoders = Pool(ReusableBuffer, threads), Workers(Decoder, limits.workers)

    def examine_one(item: tuple[int, bytes]) -> None:
        place, digest = item
        with rooms.acquire() as room:
            trouble, wire = _look(store, digest.hex(), inventory.size(digest), room, decoders)
        told(place, digest, trouble, wire)

    def cost(item: tuple[int, bytes]) -> int:
        size = inventory.size(item[1])
        return inventory.orphans.get(item[1], MAX_CHUNK) if size is None else size

    for_each(examine_one, enumerate(digests), threads=threads, cost=cost, budget=limits.budget)


def _look(
    store: Store, digest: str, size: int | None, room: ReusableBuffer, decoders: Workers[Decoder]
) -> tuple[Trouble | None, int]:
    """What is wrong with a chunk, and the bytes its frame took."""
    trouble, wire = None, 0
    for _ in range(CHUNK_FETCHES):
        try:
            frame = store.get_frame(ChunkRef(digest, size or MAX_CHUNK), room)
        except ChunkMissing:
            return Trouble("missing", ""), wire
        except FormatError as error:  # larger than any frame of it
            return Trouble("undecodable", str(error)), wire
        wire += len(frame)
        trouble = decoders.run(partial(_trouble, frame, digest, size))
        if trouble is None:
            break
    return trouble, wire


def _trouble(frame: Buffer, digest: str, size: int | None, decoder: Decoder) -> Trouble | None:
    try:
        # By its own word, so that another chunk's frame is told from one that cannot be read.
        plain = decoder.decode(frame, claimed_size(frame))
    except (IntegrityError, FormatError) as error:
        return Trouble("undecodable", str(error))
    if (got := hex_of(plain)) != digest:
        return Trouble("corrupt", f"it holds {len(plain)} bytes of digest {named(got)}")
    if size not in (None, len(plain)):
        return Trouble("corrupt", f"it holds {len(plain)} bytes where the version says {size}")
    return None
