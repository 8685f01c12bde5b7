"""The work of a cast, unit by unit in parallel: read the original, fill in the variant, compare, record, store."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from cas import events
from cas.formats.digest import Buffer, hex_of
from cas.formats.frame import Codec
from cas.formats.manifest import ChunkRef
from cas.host import MIB, Limits
from cas.ops.derive import proof
from cas.ops.derive.cast import cast
from cas.ops.derive.plan import CastFile, Unit, units
from cas.ops.derive.proof import Ledger, OrderedGate
from cas.parallel import Pool, ReusableBuffer, for_each
from cas.store.lookup import stored_chunks
from cas.store.store import Store

Fill = Callable[[Unit, memoryview, memoryview, ReusableBuffer], None]
"""Puts the variant's bytes of a unit into the second buffer. The first holds the original's; the last is for frames."""

Keep = Callable[[Unit, memoryview], Callable[[], int]]
"""Takes a unit's proven bytes, and makes of them what outlives their buffer.

Returns a call that sends it to the store, and that returns how many bytes crossed the wire.
"""

# What a unit of a float32 model needs while it is worked on: both sides (24), a frame (8), and a codec's buffers (40).
_UNIT_MEMORY = 72 * MIB

# How many more units, beyond those that have buffers, may be sending their frames to the store.
_SENDING = 2


class _UnitBuffers:
    """Memory for the original's bytes and the variant's bytes of a unit, and for a frame."""

    def __init__(self) -> None:
        self._source, self._target, self.frame = ReusableBuffer(), ReusableBuffer(), ReusableBuffer()

    def sides(self, unit: Unit) -> tuple[memoryview, memoryview]:
        return self._source.view(max(1, unit.source_size)), self._target.view(unit.size)


class _Job(NamedTuple):
    unit: Unit
    buffers: _UnitBuffers


def process_units(
    files: Sequence[CastFile], fill: Fill, keep: Keep, limits: Limits, listen: events.Listener
) -> list[Ledger]:
    """Work through all units of some files: read, fill, compare, record, keep.

    Args:
        files: the files that change.
        fill: puts the variant's bytes into a buffer.
        keep: takes the bytes once they are proven.
        limits: how much memory, how many threads and how many requests to use.
        listen: is told of each unit that is done.

    Returns:
        The record of each file, in the order of `files`.

    Raises:
        IntegrityError: a unit is not its original, cast.
    """
    ledgers = {file: Ledger(file) for file in files}
    gate = OrderedGate()
    at_once = max(1, min(limits.uploads, limits.workers, limits.budget // _UNIT_MEMORY))
    free_buffers: queue.LifoQueue[_UnitBuffers] = queue.LifoQueue()
    for _ in range(at_once):
        free_buffers.put(_UnitBuffers())

    def prove(unit: Unit, buffers: _UnitBuffers) -> Callable[[], int] | None:
        source, target = buffers.sides(unit)
        try:
            unit.file.original.read(unit.wanted, source, buffers.frame)
            fill(unit, source, target, buffers.frame)
            verdict = proof.judge(unit, source, target)
            if not gate.wait(unit.number):
                return None  # an earlier unit failed, which ends the whole cast
            ledgers[unit.file].add(unit, source, target, verdict)
            gate.release_next()
        except BaseException:
            gate.abort()
            raise
        return keep(unit, target)

    def work(job: _Job) -> None:
        try:
            send = prove(*job)
        finally:
            free_buffers.put(job.buffers)
        if send is not None:
            wire = send()
            listen(events.Moved(sum(piece.source_size for piece in job.unit.pieces), wire))

    # Deadlock rule: buffers are acquired in the order of the units. The gate makes a unit wait for its predecessors, so
    # every predecessor must already own buffers.
    jobs = (_Job(unit, free_buffers.get()) for unit in units(list(files)))
    for_each(work, jobs, threads=at_once + _SENDING)
    return list(ledgers.values())


class Caster:
    """Makes a variant's files in the store, and counts what was sent.

    Attributes:
        uploaded: plain bytes sent.
        wire: bytes of their frames.
        uploaded_chunks: how many chunks were sent.
    """

    def __init__(
        self,
        store: Store,
        codecs: Pool[Codec],
        limits: Limits,
        listen: events.Listener,
        is_condemned: Callable[[str], bool],
    ) -> None:
        """Make a caster.

        Args:
            store: where the original is, and where the variant goes.
            codecs: encode and decode frames.
            limits: how much memory, how many threads and how many requests to use.
            listen: is told of each unit that is done.
            is_condemned: whether a collector has condemned a chunk (64 hex), which then counts as absent.
        """
        self._store, self._codecs, self._limits, self._listen = store, codecs, limits, listen
        self._is_condemned = is_condemned
        self.uploaded = self.wire = self.uploaded_chunks = 0
        self._counting = threading.Lock()
        self._stored: set[str] = set()
        self._made: dict[int, tuple[CastFile, tuple[ChunkRef, ...]]] = {}

    def run(self, files: Sequence[CastFile]) -> list[tuple[Ledger, tuple[ChunkRef, ...]]]:
        """Cast files, store the chunks that the store lacks, and return the record of each file with its new chunks."""
        self._stored.clear()
        self._made.clear()
        ledgers = process_units(files, self._fill, self._keep, self._limits, self._listen)
        chunks: dict[CastFile, list[ChunkRef]] = {file: [] for file in files}
        for _, (file, made) in sorted(self._made.items(), key=lambda item: item[0]):
            chunks[file] += made
        return [(ledger, tuple(chunks[ledger.file])) for ledger in ledgers]

    @staticmethod
    def _fill(unit: Unit, source: memoryview, target: memoryview, frames: ReusableBuffer) -> None:
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
        chunks = []
        for span in unit.spans:
            plain = target[span.offset - unit.start :][: span.size]
            chunks.append((hex_of(plain), plain, span.width))
        self._made[unit.number] = unit.file, tuple(ChunkRef(digest, len(plain)) for digest, plain, _ in chunks)
        unknown = {digest: len(plain) for digest, plain, _ in chunks if digest not in self._stored}
        if unknown:
            present = stored_chunks(self._store, unknown, self._limits)
            self._stored.update(digest for digest in present if not self._is_condemned(digest))
        frames = []
        for digest, plain, width in chunks:
            if digest not in self._stored:
                self._stored.add(digest)
                with self._codecs.acquire() as codec:
                    frame = self._store.make_frame(digest, plain, width, codec)
                frames.append((digest, len(plain), frame))
        return partial(self._send, frames)

    def _send(self, frames: list[tuple[str, int, Buffer]]) -> int:
        for digest, size, frame in frames:
            self._store.put_frame(digest, frame, overwrite=self._is_condemned(digest))
            with self._counting:
                self.uploaded_chunks += 1
                self.uploaded += size
                self.wire += len(frame)
        return sum(len(frame) for _, _, frame in frames)
