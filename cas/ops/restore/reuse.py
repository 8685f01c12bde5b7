"""Copies from local files, made while the network brings the rest."""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from types import TracebackType

from cas import events
from cas.config import Limits
from cas.ops.restore.part_files import Parts
from cas.ops.restore.plan import Copy, Fetch
from cas.parallel import Pool, for_each


class Copying:
    """Copies in threads of their own for the time of a `with` block, which waits for them in the end.

    The first error on either side ends both; that of a copy is raised where the block next writes, or at its end.
    """

    def __init__(
        self,
        copies: Sequence[Copy],
        parts: Parts,
        limits: Limits,
        listen: events.Listener,
        copied: MutableMapping[Path, int],
    ) -> None:
        """copied: counts plain bytes by the folder they were found in."""
        self._copies, self._parts, self._listen, self._copied = copies, parts, listen, copied
        largest = max((copy.chunk.size for copy in copies), default=0)
        self._threads = max(1, min(limits.workers, len(copies), limits.budget // 4 // max(1, largest)))
        self.memory = self._threads * largest
        """Bytes of chunks that are held at once."""
        self.gone: list[Fetch] = []
        """What was not where it seemed to be, and must be fetched; complete when the block has ended."""
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Copying:
        if self._copies:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stop.set()
        if error is None or isinstance(error, Exception):
            # An interrupt waits for nothing. A wait without a limit cannot be interrupted on every platform.
            while self._thread.is_alive():
                self._thread.join(1)
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        buffers = Pool(bytearray, self._threads)
        told: set[Path] = set()

        def copy_one(copy: Copy) -> None:
            with buffers.acquire() as buffer:
                lacking = self._parts.copy(copy, buffer)
            size = copy.chunk.size
            with self._guard:
                if lacking:
                    self.gone.append(Fetch(copy.chunk, lacking))
                else:
                    self._copied[copy.source.seed] = self._copied.get(copy.source.seed, 0) + size
                news = lacking and copy.source.path not in told
                if lacking:
                    told.add(copy.source.path)
            if not lacking:
                self._listen(events.Moved(size, source="local"))
            elif news:
                text = f"{copy.source.path} does not hold at {copy.source.offset:,} what it seemed to: fetching that"
                self._listen(events.Warned(text))

        try:
            for_each(copy_one, self._going_on(), threads=self._threads)
        except BaseException as error:
            self._error = error
            self._parts.stop(error)

    def _going_on(self) -> Iterator[Copy]:
        for copy in self._copies:
            if self._stop.is_set():
                return
            yield copy
