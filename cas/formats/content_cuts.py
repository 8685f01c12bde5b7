"""Content-defined cuts: where to cut bytes of which nothing is known, so that an insertion moves no cut behind it.

A chunk has 2 to 8 MiB and ends where the 32 bytes behind it hash to a small number. What follows a cut decides where it
is, and not what comes long before it: the next version of a file, with some bytes more at its front, is cut at the same
content. The rule is part of the version of the manifest; docs/design.md has it, and
docs/decisions/0028-content-defined-cuts.md the reasons.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cas.formats.runs import CuttableFile

MIN = 2 * 1024 * 1024
"""Plain bytes of the smallest chunk that is cut by content; only the last of a run may be smaller."""

MAX = 8 * 1024 * 1024
"""Plain bytes of the largest one. A run of up to this size is not cut."""

# A position is a candidate when the 16-bit little-endian number there, times _PAIR modulo 2^16, exceeds _PAIR_LIMIT:
# one of 1,024 for random bytes. Two passes of 16-bit multiplications over a block are as fast as numpy looks at every
# byte; the hash of 32 bytes is taken of candidates only. With this factor no pair of equal bytes is a candidate, so
# that zeros and other fillings have none.
_PAIR = 0x9E39
_PAIR_LIMIT = 0xFFFF - 64

# A candidate's hash is the sum modulo 2^64 of four little-endian 64-bit numbers, each times its odd factor.
_WINDOW = 32
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)
_SMALL = 1 << 52  # the first candidate with a hash below this ends the chunk: one candidate of 4,096

_BLOCK = 512 * 1024  # bytes looked at together, counted from MIN on: their products fill half of a second-level cache
_MOST = 8192  # candidates of a block and a parity that count: repeated bytes can have as many as there are positions


def cuts(file: CuttableFile, offset: int, size: int) -> Iterator[int]:
    """Yield the sizes of the chunks of a run, which add up to `size`. The file is read ahead of them, block by block.

    Args:
        file: the file; between two chunks others may seek in it.
        offset: where the run begins, in bytes.
        size: its bytes. When the file has become shorter, the rest is cut every 8 MiB.
    """
    if size > MAX:
        search = _Search(file)
        while size > MAX:
            cut = search.first_cut(offset)
            yield cut
            offset, size = offset + cut, size - cut
    if size:
        yield size


class _Candidate(NamedTuple):
    hash: int
    position: int


class _Search:
    """Searches a file for cuts, block by block, in memory that stays in the processor's cache."""

    def __init__(self, file: CuttableFile) -> None:
        # Imported here, because a restore loads this module's neighbours and cuts nothing.
        import numpy as np

        self._file = file
        self._bytes = memoryview(bytearray(_BLOCK + _WINDOW))
        self._products = np.empty(_BLOCK // 2, "<u2")
        self._exceed = np.empty(_BLOCK // 2, np.bool_)

    def first_cut(self, offset: int) -> int:
        """Where to cut a run of more than 8 MiB that begins at `offset`: in bytes from there, from MIN to MAX.

        That is at the first candidate with a small hash; if there is none, at the candidate with the smallest one; at
        MAX if there is no candidate, or the file ends before.
        """
        best: _Candidate | None = None
        for start in range(0, MAX, _BLOCK):
            # What no cut can be in is read, too: a disk is read from one end to the other.
            self._file.seek(offset + start)
            block = self._bytes[: min(_BLOCK + _WINDOW, MAX - start)]
            if self._file.readinto(block) < len(block):
                return MAX
            if start < MIN:
                continue
            candidate = self._candidate(block, start)
            if candidate and candidate.hash < _SMALL:
                return candidate.position
            best = min((found for found in (best, candidate) if found), default=None)
        return best.position if best else MAX

    def _candidate(self, block: memoryview, start: int) -> _Candidate | None:
        """Of a block's candidates the first with a small hash, or else the one with the smallest; None without any.

        Args:
            block: the bytes, and _WINDOW more, which end the windows of the last positions.
            start: of the block, in bytes from the chunk's beginning.
        """
        import numpy as np

        count = (len(block) - _WINDOW) // 2
        products, exceed = self._products[:count], self._exceed[:count]
        found = []
        for parity in (0, 1):
            np.multiply(np.frombuffer(block, "<u2", count, parity), np.uint16(_PAIR), out=products)
            np.greater(products, np.uint16(_PAIR_LIMIT), out=exceed)
            found.append(np.flatnonzero(exceed)[:_MOST] * 2 + parity)
        positions = np.sort(np.concatenate(found))
        if not len(positions):
            return None
        every = np.lib.stride_tricks.as_strided(np.frombuffer(block, np.uint8), (2 * count, _WINDOW), (1, 1))
        words = every[positions].view("<u8")
        hashes = (words * np.array(_FACTORS, np.uint64)).sum(axis=1, dtype=np.uint64)
        small = np.flatnonzero(hashes < np.uint64(_SMALL))
        index = int(small[0] if len(small) else hashes.argmin())
        return _Candidate(int(hashes[index]), start + int(positions[index]))
