"""Upload: each chunk is read once, hashed, and sent from memory when the store does not have it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence, Set
from typing import NamedTuple

from cas import events
from cas.errors import CacheError, IntegrityError
from cas.formats.digest import Buffer, hex_of
from cas.formats.frame import Codec
from cas.host import Limits
from cas.ops.publish.file_reader import FileReader, FileSlice
from cas.parallel import Pool, ReusableBuffer, Workers, for_each
from cas.store import lookup
from cas.store.store import Store

# Chunks beyond those being encoded that may wait in memory until the store has said whether it has them.
_LOOKUPS_IN_FLIGHT = 2


class _ChunkJob(NamedTuple):
    """One chunk of a file to read, with the buffer to read it into."""

    reader: FileReader
    number: int
    file_slice: FileSlice
    buffer: ReusableBuffer


class Uploader:
    """Brings chunks into a store, and counts them.

    Attributes:
        slices: for each chunk (64 hex), where on this machine its bytes are.
        missing: digests (64 hex) of the chunks that the store did not have.
        missing_bytes: plain bytes of those chunks.
        wire: bytes of the frames that were sent.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        listen: events.Listener,
        is_condemned: Callable[[str], bool],
        *,
        force: bool,
        store_exists: bool,
        write: bool,
    ) -> None:
        """Prepare an upload; nothing is read or sent yet.

        Args:
            store: where chunks go.
            limits: threads and memory.
            listen: told of phases, and of each chunk.
            is_condemned: whether a collector has condemned a chunk (64 hex), which then counts as absent.
            force: send chunks that the store has, too.
            store_exists: False for a store without any chunk, which need not be asked for them.
            write: False for a dry run, which asks the store and sends nothing.
        """
        self._store, self._limits, self._listen, self._is_condemned = store, limits, listen, is_condemned
        self._force, self._write = force, write
        self._look_up = store_exists and not force
        self._codecs = Workers(Codec, limits.workers)
        # A frame has its buffer until it is sent; so there is one for each thread that sends.
        self._frames = Pool(ReusableBuffer, limits.uploads)
        self._lock = threading.Lock()
        self.slices: dict[str, FileSlice] = {}
        self.missing: set[str] = set()
        self.missing_bytes = self.wire = 0

    def upload(self, readers: Sequence[FileReader], expected: Set[str]) -> None:
        """Read files to their end, and send from memory the chunks that the store does not have.

        Args:
            readers: the files.
            expected: chunks (64 hex) that the store should have: they are not looked up here, but by `ensure_stored`.

        Raises:
            CacheError, InputError, IntegrityError: as FileReader raises them.
            IntegrityError: a frame does not decode to its chunk.
            StoreError: the store cannot be read or written.
        """
        chunks = ((reader, *chunk) for reader in readers for chunk in enumerate(reader.cut()))
        # A file that is cut by its content has up to four times as many chunks as are known yet.
        threads = min(self._limits.uploads, sum(4 * len(reader.fewest_slices()) for reader in readers))
        buffers: queue.LifoQueue[ReusableBuffer] = queue.LifoQueue()
        for _ in range(min(threads, self._limits.workers + _LOOKUPS_IN_FLIGHT)):
            buffers.put(ReusableBuffer())
        # for_each takes one job at a time, so buffers are acquired in file order: the deadlock rule of FileReader.
        jobs = (_ChunkJob(*chunk, buffers.get()) for chunk in chunks)

        def move(job: _ChunkJob) -> None:
            with self._frames.acquire() as memory:
                try:
                    digest, source, frame = self._read_chunk(job, expected, memory)
                except BaseException:
                    job.reader.give_up()
                    raise
                finally:
                    # The buffer serves the next chunk while this one's frame, which has memory of its own, is sent.
                    buffers.put(job.buffer)
                wire = self._put(digest, frame, memory)
            self._listen(events.Moved(job.file_slice.size, wire, source))

        for_each(move, jobs, threads=threads, cost=lambda job: job.file_slice.size, budget=self._limits.budget)

    def _read_chunk(self, job: _ChunkJob, expected: Set[str], memory: ReusableBuffer) -> tuple[str, str, Buffer | None]:
        """Read and hash a chunk; encode it into `memory` when it is to be sent.

        Returns:
            Its digest, its source in the words of events.Moved, and its frame; None for a chunk that is not to be sent.
        """
        reader, number, file_slice, buffer = job
        plain = reader.read(number, buffer.view(file_slice.size))
        digest = hex_of(plain)
        if not reader.add(number, digest, plain):
            return digest, "local", None  # a chunk before this one failed, which ends the publish
        with self._lock:
            known = digest in self.slices
            self.slices.setdefault(digest, file_slice)
        if known or digest in expected:
            return digest, "local", None
        if self._look_up and not self._is_condemned(digest) and self._store.has_chunk(digest):
            return digest, "present", None
        self._count_missing(digest)
        if not self._write:
            return digest, "local", None
        try:
            frame = self._codecs.run(
                lambda codec: self._store.make_frame(digest, plain, file_slice.width, codec, memory)
            )
        except IntegrityError as error:
            raise IntegrityError(
                f"a chunk of {file_slice.path} does not come out of its frame as it went in ({error}): "
                "publish again, and do not trust this machine's memory if it happens twice"
            ) from error
        return digest, "store", frame

    def ensure_stored(self, *, depended_on: bool) -> None:
        """Look up every chunk that was not sent, and send those that the store has lost, until it has them all.

        Args:
            depended_on: whether a new manifest will name the chunks, so that condemned chunks count as lost.

        Raises:
            CacheError: a file changed after it was hashed.
            StoreError: the store cannot be read or written.
        """
        # A forced publish has sent every chunk.
        while not self._force and (unsent := self._not_missing()):
            self._listen(events.Phase("lookup"))
            condemned = {digest for digest in unsent if depended_on and self._is_condemned(digest)}
            lost = unsent.keys() - lookup.stored_chunks(self._store, unsent, self._limits) | condemned
            for digest in lost:
                self._count_missing(digest)
            if not lost or not self._write:
                return
            self._send_again({digest: file_slice for digest, file_slice in self.slices.items() if digest in lost})

    def _not_missing(self) -> dict[str, int]:
        """Sizes by digest of the chunks that the store was found or expected to have."""
        return {digest: file_slice.size for digest, file_slice in self.slices.items() if digest not in self.missing}

    def _send_again(self, lost: Mapping[str, FileSlice]) -> None:
        self._listen(events.Phase("upload", sum(file_slice.size for file_slice in lost.values())))
        buffers = Pool(ReusableBuffer, self._limits.workers)

        def send(chunk: tuple[str, FileSlice]) -> None:
            digest, file_slice = chunk
            with self._frames.acquire() as memory:
                with buffers.acquire() as buffer:
                    frame = self._codecs.run(lambda codec: self._reencode(digest, file_slice, buffer, memory, codec))
                wire = self._put(digest, frame, memory)
            self._listen(events.Moved(file_slice.size, wire))

        threads = min(self._limits.uploads, len(lost))
        for_each(send, lost.items(), threads=threads, cost=lambda chunk: chunk[1].size, budget=self._limits.budget)

    def _reencode(
        self, digest: str, file_slice: FileSlice, buffer: ReusableBuffer, memory: ReusableBuffer, codec: Codec
    ) -> Buffer:
        """Read a chunk from its file once more, and return its frame."""
        try:
            plain = file_slice.read(buffer.view(file_slice.size))
            if plain is None:
                raise IntegrityError("the file became shorter")
            return self._store.make_frame(digest, plain, file_slice.width, codec, memory)
        except (IntegrityError, OSError) as error:
            raise CacheError(
                f"{file_slice.path} changed after it was hashed ({error}): publish again when its writer is done, "
                "or with --force, which checks it anew, when nobody writes to it"
            ) from error

    def _count_missing(self, digest: str) -> None:
        with self._lock:
            self.missing.add(digest)
            self.missing_bytes += self.slices[digest].size

    def _put(self, digest: str, frame: Buffer | None, memory: ReusableBuffer) -> int:
        """Send a frame that lies in `memory`, if there is one, and return its size in bytes."""
        if frame is None:
            return 0
        size = len(frame)
        with memory.given_away(size) as sent:
            self._store.put_frame(digest, sent, overwrite=self._force or self._is_condemned(digest))
        with self._lock:
            self.wire += size
        return size
