"""The work of a cast, unit by unit in parallel: read the original, fill in the variant, compare, record, store."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from cas import events
from cas.config import MIB, Limits
from cas.formats.digest import hex_of
from cas.formats.frame import Codec
from cas.formats.manifest import ChunkRef
from cas.ops.derive import proof
from cas.ops.derive.cast import cast
from cas.ops.derive.plan import CastFile, Unit, units
from cas.ops.derive.proof import Ledger, Turns
from cas.parallel import Pool, ReusableBuffer, for_each
from cas.store.lookup import stored_chunks
from cas.store.store import Store

Fill = Callable[[Unit, memoryview, memoryview, ReusableBuffer], None]
Keep = Callable[[Unit, memoryview], Callable[[], int]]

# What a unit of a float32 model needs while it is worked on: both sides (24), a frame (8), and a codec's buffers (40).
_BENCH = 72 * MIB

# Units beyond those on a bench whose frames may be on their way to the store.
_SENDING = 2


class _Bench:
    """Memory for both sides of a unit, and for a frame."""

    def __init__(self) -> None:
        self._source, self._target, self.frame = ReusableBuffer(), ReusableBuffer(), ReusableBuffer()

    def sides(self, unit: Unit) -> tuple[memoryview, memoryview]:
        return self._source.view(max(1, unit.source_size)), self._target.view(unit.size)


class _Job(NamedTuple):
    unit: Unit
    bench: _Bench


def walk(files: Sequence[CastFile], fill: Fill, keep: Keep, limits: Limits, listen: events.Listener) -> list[Ledger]:
    """Goes through all units of `files` and returns what became of each file.

    fill: puts the variant's bytes into the second buffer, given the original's in the first, and room for frames.
    keep: given proven bytes, makes of them what outlives the buffers, and returns what is to be done with that; this
    returns how many bytes crossed the wire. Raises IntegrityError when a unit is not its original, cast.
    """
    ledgers = {file: Ledger(file) for file in files}
    turns = Turns()
    at_once = max(1, min(limits.uploads, limits.workers, limits.budget // _BENCH))
    benches: queue.LifoQueue[_Bench] = queue.LifoQueue()
    for _ in range(at_once):
        benches.put(_Bench())

    def prove(unit: Unit, bench: _Bench) -> Callable[[], int] | None:
        source, target = bench.sides(unit)
        try:
            unit.file.original.read(unit.wanted, source, bench.frame)
            fill(unit, source, target, bench.frame)
            verdict = proof.judge(unit, source, target)
            if not turns.wait(unit.number):
                return None  # a unit before it failed, which ends the whole
            ledgers[unit.file].add(unit, source, target, verdict)
            turns.end()
        except BaseException:
            turns.give_up()
            raise
        return keep(unit, target)

    def work(job: _Job) -> None:
        try:
            rest = prove(*job)
        finally:
            benches.put(job.bench)
        if rest is not None:
            wire = rest()
            listen(events.Moved(sum(piece.source_size for piece in job.unit.pieces), wire))

    # Memory is given out in the order of the units: one waits for those before it, and never they for it.
    jobs = (_Job(unit, benches.get()) for unit in units(list(files)))
    for_each(work, jobs, threads=at_once + _SENDING)
    return list(ledgers.values())


class Caster:
    """Makes a variant's files in the store, and counts what was sent for them."""

    def __init__(
        self,
        store: Store,
        codecs: Pool[Codec],
        limits: Limits,
        listen: events.Listener,
        is_condemned: Callable[[str], bool],
    ) -> None:
        """is_condemned: tells chunks (64 hex) that count as absent, as a collector has condemned them."""
        self._store, self._codecs, self._limits, self._listen, self._is_condemned = (
            store,
            codecs,
            limits,
            listen,
            is_condemned,
        )
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
    def _fill(unit: Unit, source: memoryview, target: memoryview, room: ReusableBuffer) -> None:
        target[: unit.head] = unit.file.head[unit.start : unit.start + unit.head]
        for piece in unit.pieces:
            old, new = unit.file.header.tensors[piece.tensor], unit.file.tensors[piece.tensor]
            before = source[piece.source : piece.source + piece.source_size]
            after = target[piece.target : piece.target + piece.target_size]
            if old.dtype == new.dtype:
                after[:] = before
            else:
                cast(before, old.dtype, new.dtype, after)

    def _keep(self, unit: Unit, target: memoryview) -> Callable[[], int]:
        pieces = []
        for span in unit.spans:
            plain = target[span.offset - unit.start :][: span.size]
            pieces.append((hex_of(plain), plain, span.width))
        self._made[unit.number] = unit.file, tuple(ChunkRef(digest, len(plain)) for digest, plain, _ in pieces)
        unknown = {digest: len(plain) for digest, plain, _ in pieces if digest not in self._there}
        if unknown:
            present = stored_chunks(self._store, unknown, self._limits)
            self._there.update(digest for digest in present if not self._is_condemned(digest))
        frames = []
        for digest, plain, width in pieces:
            if digest not in self._there:
                self._there.add(digest)
                with self._codecs.acquire() as codec:
                    frame = self._store.make_frame(digest, plain, width, codec)
                frames.append((digest, len(plain), frame))
        return partial(self._send, frames)

    def _send(self, frames: list[tuple[str, int, bytearray]]) -> int:
        for digest, size, frame in frames:
            self._store.put_frame(digest, frame, overwrite=self._is_condemned(digest))
            with self._counting:
                self.uploaded_chunks += 1
                self.uploaded += size
                self.wire += len(frame)
        return sum(len(frame) for _, _, frame in frames)
