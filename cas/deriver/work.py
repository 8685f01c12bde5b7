"""The work of a cast, unit by unit in parallel: read the original, fill in the variant, compare, record, store."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Sequence

from cas import events
from cas.cast import cast
from cas.chunking import CHUNK
from cas.config import MIB, Limits
from cas.deriver import proof
from cas.deriver.plan import CastFile, Unit, units
from cas.deriver.proof import Ledger, Turns
from cas.deriver.ranges import Codec
from cas.digest import hex_of
from cas.frame import largest_frame
from cas.manifest import ChunkRef
from cas.parallel import Pool, for_each
from cas.store import Store

Fill = Callable[[Unit, memoryview, memoryview, bytearray], None]
Keep = Callable[[Unit, memoryview], int]

# The original of 8 MiB cast from float32; pages that are not touched take no memory.
_SIDE = 2 * CHUNK

# What a thread holds of a float32 model at 8 MiB of the variant: both sides (24), a frame that came (8), the variant's
# frame and its copy in the client (14), a codec's buffers (24), and what the allocator wastes: 260 MiB at three.
_THREAD = 80 * MIB


class _Bench:
    """A thread's memory for frames and for both sides of a unit. Fresh one each time would leave holes of all sizes."""

    def __init__(self) -> None:
        self._source, self._target = mmap.mmap(-1, _SIDE), mmap.mmap(-1, CHUNK)
        self.room = bytearray(largest_frame(CHUNK))

    def sides(self, unit: Unit) -> tuple[memoryview, memoryview]:
        if len(self._source) < unit.source_size:
            self._source = mmap.mmap(-1, unit.source_size)
        return memoryview(self._source)[: unit.source_size], memoryview(self._target)[: unit.size]


def walk(files: Sequence[CastFile], fill: Fill, keep: Keep, limits: Limits, listen: events.Listener) -> list[Ledger]:
    """Goes through all units of `files` and returns what became of each file.

    fill: puts the variant's bytes into the second buffer, given the original's in the first, and room for frames.
    keep: does what is to be done with proven bytes, and returns how many crossed the wire for it. Raises
    IntegrityError when a unit is not its original, cast.
    """
    ledgers = {file: Ledger(file) for file in files}
    turns = Turns()
    threads = max(1, min(limits.uploads, limits.budget // _THREAD))
    benches = Pool(_Bench, threads)

    def work(unit: Unit) -> None:
        with benches.lend() as bench:
            source, target = bench.sides(unit)
            try:
                unit.file.original.read(unit.wanted, source, bench.room)
                fill(unit, source, target, bench.room)
                verdict = proof.judge(unit, source, target)
                if not turns.wait(unit.number):
                    return
                ledgers[unit.file].add(unit, source, target, verdict)
                turns.end()
            except BaseException:
                turns.give_up()
                raise
            wire = keep(unit, target)
        listen(events.Moved(sum(piece.source_size for piece in unit.pieces), wire))

    for_each(
        work,
        units(list(files)),
        threads=threads,
        cost=lambda unit: 2 * (unit.source_size + unit.size),
        budget=limits.budget,
    )
    return list(ledgers.values())


class Caster:
    """Makes a variant's files in the store, and counts what was sent for them."""

    def __init__(self, store: Store, codecs: Pool[Codec], limits: Limits, listen: events.Listener) -> None:
        self._store, self._codecs, self._limits, self._listen = store, codecs, limits, listen
        self.uploaded = self.wire = self.uploaded_chunks = 0
        self._counting = threading.Lock()
        self._there: set[str] = set()
        self._made: dict[int, tuple[CastFile, tuple[ChunkRef, ...]]] = {}

    def run(self, files: Sequence[CastFile]) -> list[tuple[Ledger, tuple[ChunkRef, ...]]]:
        """Casts `files`, stores what the store lacks, and returns each with its chunks."""
        self._there.clear()
        self._made.clear()
        ledgers = walk(files, self._fill, self._keep, self._limits, self._listen)
        chunks: dict[CastFile, list[ChunkRef]] = {file: [] for file in files}
        for _, (file, made) in sorted(self._made.items(), key=lambda item: item[0]):
            chunks[file] += made
        return [(ledger, tuple(chunks[ledger.file])) for ledger in ledgers]

    @staticmethod
    def _fill(unit: Unit, source: memoryview, target: memoryview, room: bytearray) -> None:
        target[: unit.head] = unit.file.head[unit.start : unit.start + unit.head]
        for piece in unit.pieces:
            old, new = unit.file.header.tensors[piece.tensor], unit.file.tensors[piece.tensor]
            before = source[piece.source : piece.source + piece.source_size]
            after = target[piece.target : piece.target + piece.target_size]
            if old.dtype == new.dtype:
                after[:] = before
            else:
                cast(before, old.dtype, new.dtype, after)

    def _keep(self, unit: Unit, target: memoryview) -> int:
        pieces = []
        for span in unit.spans:
            plain = target[span.offset - unit.start :][: span.size]
            pieces.append((hex_of(plain), plain, span.width))
        self._made[unit.number] = unit.file, tuple(ChunkRef(digest, len(plain)) for digest, plain, _ in pieces)
        unknown = {digest: len(plain) for digest, plain, _ in pieces if digest not in self._there}
        if unknown:
            self._there |= self._store.present(unknown, self._limits)
        wire = 0
        for digest, plain, width in pieces:
            if digest not in self._there:
                wire += self._send(digest, plain, width)
                self._there.add(digest)
        return wire

    def _send(self, digest: str, plain: memoryview, width: int | None) -> int:
        with self._codecs.lend() as codec:
            frame = self._store.make_frame(digest, plain, width, codec.encoder, codec.decoder)
        self._store.put_frame(digest, frame)
        with self._counting:
            self.uploaded_chunks += 1
            self.uploaded += len(plain)
            self.wire += len(frame)
        return len(frame)
