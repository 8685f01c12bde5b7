"""Frames as they are stored, fetched from one store to be sent on."""

from __future__ import annotations

from functools import partial

from cas.errors import ChunkCorrupt, FormatError, IntegrityError
from cas.formats.digest import Buffer, hex_of, named
from cas.formats.frame import Decoder, check_whole, largest_frame
from cas.formats.manifest import ChunkRef
from cas.host import Limits
from cas.parallel import ReusableBuffer, Workers
from cas.store.store import CHUNK_FETCHES, Store


class FrameReader:
    """Fetches frames that are whole and of the size that the manifest says; with `verify`, hashed as well."""

    def __init__(self, store: Store, limits: Limits, *, verify: bool) -> None:
        """Fetch nothing yet.

        Args:
            store: to read from.
            limits: how many frames are decoded at once.
            verify: decode and hash every frame. Else it is looked at as far as that costs nothing: whoever restores
                the chunk, or checks the store, hashes it.
        """
        self._store = store
        self._decoders = Workers(Decoder, limits.workers) if verify else None

    def read(self, ref: ChunkRef, memory: ReusableBuffer) -> Buffer:
        """Fetch the frame of a chunk into `memory`; fetch it again while it arrives damaged.

        Raises:
            ChunkMissing: the store does not have it.
            ChunkCorrupt: it stayed damaged.
            FormatError: a newer version wrote it.
        """
        for fetch in range(1, CHUNK_FETCHES + 1):
            frame = self._store.get_frame(ref, memory)
            try:
                if self._decoders is None:
                    check_whole(frame, ref.size)
                else:
                    self._decoders.run(partial(check_content, ref, frame))
                return frame
            except IntegrityError as error:
                if fetch == CHUNK_FETCHES:
                    raise ChunkCorrupt(named(ref.digest), self._store.url, str(error)) from error
            except FormatError:
                if fetch == CHUNK_FETCHES:
                    raise
        raise AssertionError("unreachable: the last fetch returns or raises")


def check_content(ref: ChunkRef, frame: Buffer, decoder: Decoder) -> None:
    """Raise IntegrityError or FormatError unless a frame decodes to the chunk."""
    if (got := hex_of(decoder.decode(frame, ref.size))) != ref.digest:
        raise IntegrityError(f"it decodes to bytes of digest {named(got)}")


def memory_for(size: int) -> int:
    """Return the bytes of memory that a chunk of `size` plain bytes takes while its frame is fetched and sent."""
    return 2 * largest_frame(size)
