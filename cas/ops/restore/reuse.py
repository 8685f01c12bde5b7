"""Reuse: chunks are copied from local files in the background, while the network delivers the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from types import TracebackType

from cas import events
from cas.host import Limits
from cas.ops.restore.part_files import PartFiles
from cas.ops.restore.plan import Copy, Fetch
from cas.parallel import Pool, for_each


class BackgroundCopies:
    """Copies that run in threads of their own during a `with` block; the end of the block waits for them.

    The first error on either side ends both: an error of a copy is raised by the block's next write, or at its end.

    Attributes:
        buffer_bytes: memory for chunks that the copies use, in bytes; the fetches must do with the rest of the budget.
        not_found: chunks that local files did not hold after all, to be fetched; complete when the block has ended.
    """

    def __init__(
        self,
        copies: Sequence[Copy],
        part_files: PartFiles,
        limits: Limits,
        listen: events.Listener,
        copied: MutableMapping[Path, int],
    ) -> None:
        """Prepare the copies; they begin with the block.

        Args:
            copies: what to copy.
            part_files: where chunks are written to.
            limits: bounds of memory and threads; buffers take a quarter of the budget at most.
            listen: hears of bytes copied, and a warning for each file that does not hold what it should.
            copied: counts plain bytes copied, by seed; updated here.
        """
        self._copies, self._part_files, self._listen, self._copied = copies, part_files, listen, copied
        largest = max((copy.chunk.size for copy in copies), default=0)
        self._threads = max(1, min(limits.workers, len(copies), limits.budget // 4 // max(1, largest)))
        self.buffer_bytes = self._threads * largest
        self.not_found: list[Fetch] = []
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> BackgroundCopies:
        if self._copies:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stop.set()
        if error is None or isinstance(error, Exception):
            # An interrupt (no Exception) does not wait. Each join has a timeout, as a join without one cannot be
            # interrupted on every platform.
            while self._thread.is_alive():
                self._thread.join(1)
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        buffers = Pool(bytearray, self._threads)
        warned: set[Path] = set()

        def copy_one(copy: Copy) -> None:
            with buffers.acquire() as buffer:
                lacking = self._part_files.copy(copy, buffer)
            size = copy.chunk.size
            with self._guard:
                if lacking:
                    self.not_found.append(Fetch(copy.chunk, lacking))
                else:
                    self._copied[copy.source.seed] = self._copied.get(copy.source.seed, 0) + size
                is_first = lacking and copy.source.path not in warned
                if lacking:
                    warned.add(copy.source.path)
            if not lacking:
                self._listen(events.Moved(size, source="local"))
            elif is_first:
                text = f"{copy.source.path} does not hold at {copy.source.offset:,} what it seemed to: fetching that"
                self._listen(events.Warned(text))

        try:
            for_each(copy_one, self._until_stopped(), threads=self._threads)
        except BaseException as error:
            self._error = error
            self._part_files.abort(error)

    def _until_stopped(self) -> Iterator[Copy]:
        for copy in self._copies:
            if self._stop.is_set():
                return
            yield copy
