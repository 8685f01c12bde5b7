"""Verified chunks in memory, for readers who want parts of files: each is fetched once, however many want it at once.

    get(chunk):            in memory: return it; on its way: wait for it; else fetch it, in the calling thread
    fetch_ahead(chunks):   begin to fetch, in the background, what will be wanted next, as far as memory allows

Plain bytes of chunks count once, and twice while a chunk is on its way, as its frame is in memory, too. What was used
least recently makes way for what is fetched. A chunk on its way never does: who wants another one waits.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable

from cas.formats.manifest import ChunkRef
from cas.host import Limits
from cas.parallel import INTERRUPTIBLE_WAIT, BackgroundCall, Pool, ReusableBuffer
from cas.store.store import Store

# Bytes of the smallest chunk that gets pages of its own, which go back to the system with it: the C library would keep
# them, with holes between them.
_OWN_PAGES = 1 << 20


class ChunkMemory:
    """The chunks that the readers of one store have in memory. Several threads may use it at once."""

    def __init__(self, store: Store, limits: Limits | None = None) -> None:
        """Fetch nothing yet.

        Args:
            store: where the chunks are.
            limits: bounds of memory, requests and decoders.
        """
        from cas.formats.frame import Decoder

        self._store, self._limits = store, limits or Limits()
        self._frames = Pool(ReusableBuffer, self._limits.requests)
        self._decoders = Pool(Decoder, self._limits.workers)
        self._change = threading.Condition()
        self._whole: OrderedDict[str, memoryview] = OrderedDict()  # the least recently used first
        self._on_the_way: set[str] = set()
        self._whole_bytes = self._coming_bytes = 0
        self._in_order: weakref.WeakSet[object] = weakref.WeakSet()

    @property
    def in_use(self) -> int:
        """Bytes that chunks take, in memory and on their way."""
        return self._whole_bytes + self._coming_bytes

    def get(self, chunk: ChunkRef) -> memoryview:
        """Return the verified plain bytes of a chunk, which stay as they are while anybody has them.

        Raises:
            ChunkMissing: the store does not have it.
            ChunkCorrupt: it arrived damaged every time.
            StoreError: the store cannot be read.
        """
        with self._change:
            while True:
                if (plain := self._whole.get(chunk.digest)) is not None:
                    self._whole.move_to_end(chunk.digest)
                    return plain
                if chunk.digest not in self._on_the_way and self._fits(chunk, self._limits.budget):
                    break
                self._change.wait(timeout=INTERRUPTIBLE_WAIT)
            self._begin(chunk)
        return self._bring(chunk)

    def fetch_ahead(self, chunks: Iterable[ChunkRef]) -> None:
        """Begin to fetch chunks, in this order, until as many are on their way as memory and requests allow.

        An error is told to nobody: who wants such a chunk fetches it again.
        """
        for chunk in chunks:
            with self._change:
                if chunk.digest in self._whole:
                    self._whole.move_to_end(chunk.digest)
                    continue
                if chunk.digest in self._on_the_way:
                    continue
                # Half of the memory, so that there is some for chunks that are wanted now.
                if len(self._on_the_way) >= self._limits.requests or not self._fits(chunk, self._limits.budget // 2):
                    return
                self._begin(chunk)
            try:
                BackgroundCall(lambda chunk=chunk: self._bring(chunk))  # type: ignore[misc]
            except RuntimeError:  # no thread can be started: who wants the chunk fetches it
                self._end(chunk)
                return

    def share(self, reader: object) -> int:
        """Return how many bytes a reader that reads in order may have fetched ahead.

        That is half of the memory, divided by all such readers.
        """
        with self._change:
            self._in_order.add(reader)
            return self._limits.budget // 2 // len(self._in_order)

    def end_share(self, reader: object) -> None:
        """Leave a reader's share to the others."""
        with self._change:
            self._in_order.discard(reader)

    def _fits(self, chunk: ChunkRef, budget: int) -> bool:
        """Whether there is memory for a chunk once others made way; one that is larger than all memory comes alone."""
        return not self._on_the_way or self._coming_bytes + 2 * chunk.size <= budget

    def _begin(self, chunk: ChunkRef) -> None:
        self._on_the_way.add(chunk.digest)
        self._coming_bytes += 2 * chunk.size
        while self._whole and self.in_use > self._limits.budget:
            self._whole_bytes -= len(self._whole.popitem(last=False)[1])

    def _bring(self, chunk: ChunkRef) -> memoryview:
        try:
            plain = self._fetch(chunk)
        except BaseException:
            self._end(chunk)
            raise
        self._end(chunk, plain)
        return plain

    def _end(self, chunk: ChunkRef, plain: memoryview | None = None) -> None:
        with self._change:
            self._on_the_way.discard(chunk.digest)
            self._coming_bytes -= 2 * chunk.size
            if plain is not None:
                self._whole[chunk.digest] = plain
                self._whole_bytes += len(plain)
            self._change.notify_all()

    def _fetch(self, chunk: ChunkRef) -> memoryview:
        size = chunk.size
        into = memoryview(bytearray(size) if size < _OWN_PAGES else mmap.mmap(-1, size))
        with self._frames.acquire() as buffer:
            frame = self._store.get_frame(chunk, buffer)
            with self._decoders.acquire() as decoder:
                self._store.open_frame(chunk, frame, decoder, into)
        return into.toreadonly()
