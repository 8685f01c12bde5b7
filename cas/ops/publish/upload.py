"""From files to the store: each chunk is read once, hashed, and sent from memory when the store has not got it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence, Set
from typing import NamedTuple

from cas import events
from cas.config import Limits
from cas.errors import CacheError, IntegrityError
from cas.formats.digest import hex_of
from cas.formats.frame import Codec
from cas.ops.publish.file_reader import Reading, Slice
from cas.parallel import Pool, ReusableBuffer, Workers, for_each
from cas.store import lookup
from cas.store.store import Store

# Chunks beyond those being coded that may wait in memory for the store to say whether it has them.
_ASKED = 2


class _Piece(NamedTuple):
    """One chunk to be of a file, and where to read it into."""

    reading: Reading
    number: int
    slice: Slice
    room: ReusableBuffer


class Sender:
    """Brings chunks into a store, and counts them.

    slices: where each chunk lies on this machine. missing: digests of those that the store had not got; plain: their
    bytes. sent: how many of them were sent; wire: bytes of their frames.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        listen: events.Listener,
        is_condemned: Callable[[str], bool],
        *,
        anew: bool,
        ask: bool,
        write: bool,
    ) -> None:
        """is_condemned: tells chunks (64 hex) that count as absent, as a collector has condemned them.

        anew: send what the store has, too. ask: False for a store known to be empty. write: False only asks.
        """
        self._store, self._limits, self._listen, self._is_condemned = store, limits, listen, is_condemned
        self._anew, self._ask, self._write = anew, ask and not anew, write
        self._codecs = Workers(Codec, limits.workers)
        self._lock = threading.Lock()
        self.slices: dict[str, Slice] = {}
        self.missing: set[str] = set()
        self.plain = self.sent = self.wire = 0

    def read(self, readings: Sequence[Reading], expected: Set[str]) -> None:
        """Reads files to their end, and sends from memory the chunks that the store has not got.

        expected: chunks that it should have: `settle` asks for them. Raises what Reading raises.
        """
        chunks = [(reading, *chunk) for reading in readings for chunk in enumerate(reading.slices)]
        threads = min(self._limits.uploads, len(chunks))
        rooms: queue.LifoQueue[ReusableBuffer] = queue.LifoQueue()
        for _ in range(min(threads, self._limits.workers + _ASKED)):
            rooms.put(ReusableBuffer())
        # Memory is given out in the order of the files: a chunk waits for those before it, and never they for it.
        pieces = (_Piece(*chunk, rooms.get()) for chunk in chunks)

        def move(piece: _Piece) -> None:
            try:
                digest, source, frame = self._made(piece, expected)
            except BaseException:
                piece.reading.give_up()
                raise
            finally:
                rooms.put(piece.room)
            self._put(digest, frame)
            self._listen(events.Moved(piece.slice.size, len(frame or b""), source))

        for_each(move, pieces, threads=threads, cost=_cost, budget=self._limits.budget)

    def _made(self, piece: _Piece, expected: Set[str]) -> tuple[str, str, bytearray | None]:
        """Digest of a chunk, where it is (as events.Moved says it), and its frame if it is to be sent."""
        reading, number, where, room = piece
        plain = reading.read(number, room.view(where.size))
        digest = hex_of(plain)
        if not reading.add(number, digest, plain):
            return digest, "local", None  # a chunk before it failed, which ends the publish
        with self._lock:
            known = digest in self.slices
            self.slices.setdefault(digest, where)
        if known or digest in expected:
            return digest, "local", None
        if self._ask and not self._is_condemned(digest) and self._store.has_chunk(digest):
            return digest, "present", None
        self._miss(digest)
        if not self._write:
            return digest, "local", None
        try:
            frame = self._codecs.run(lambda codec: self._store.make_frame(digest, plain, where.width, codec))
        except IntegrityError as error:
            raise IntegrityError(
                f"a chunk of {where.path} does not come out of its frame as it went in ({error}): "
                "publish again, and do not trust this machine's memory if it happens twice"
            ) from error
        return digest, "store", frame

    def settle(self, *, depended_on: bool) -> None:
        """Asks the store for every chunk that was not sent, and sends those it has lost, until it has them all.

        depended_on: by a manifest to be written, so that chunks that are condemned count as lost.
        """
        while not self._anew and (rest := self._not_missing()):
            self._listen(events.Phase("lookup"))
            condemned = {digest for digest in rest if depended_on and self._is_condemned(digest)}
            gone = rest.keys() - lookup.stored_chunks(self._store, rest, self._limits) | condemned
            for digest in gone:
                self._miss(digest)
            if not gone or not self._write:
                return
            self._send_again({digest: where for digest, where in self.slices.items() if digest in gone})

    def _not_missing(self) -> dict[str, int]:
        return {digest: where.size for digest, where in self.slices.items() if digest not in self.missing}

    def _send_again(self, gone: Mapping[str, Slice]) -> None:
        self._listen(events.Phase("upload", sum(where.size for where in gone.values())))
        rooms = Pool(ReusableBuffer, self._limits.workers)

        def send(chunk: tuple[str, Slice]) -> None:
            digest, where = chunk
            with rooms.acquire() as room:
                frame = self._codecs.run(lambda codec: self._remade(digest, where, room, codec))
            self._put(digest, frame)
            self._listen(events.Moved(where.size, len(frame)))

        threads = min(self._limits.uploads, len(gone))
        for_each(send, gone.items(), threads=threads, cost=lambda chunk: chunk[1].size, budget=self._limits.budget)

    def _remade(self, digest: str, where: Slice, room: ReusableBuffer, codec: Codec) -> bytearray:
        try:
            plain = where.read(room.view(where.size))
            if plain is None:
                raise IntegrityError("the file became shorter")
            return self._store.make_frame(digest, plain, where.width, codec)
        except (IntegrityError, OSError) as error:
            raise CacheError(
                f"{where.path} changed after it was hashed ({error}): publish again when its writer is done, "
                "or with --force, which checks it anew, when nobody writes to it"
            ) from error

    def _miss(self, digest: str) -> None:
        with self._lock:
            self.missing.add(digest)
            self.plain += self.slices[digest].size

    def _put(self, digest: str, frame: bytearray | None) -> None:
        if frame is None:
            return
        self._store.put_frame(digest, frame, overwrite=self._anew or self._is_condemned(digest))
        with self._lock:
            self.sent += 1
            self.wire += len(frame)


def _cost(piece: _Piece) -> int:
    return piece.slice.size
