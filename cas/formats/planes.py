"""Byte planes: all first bytes of the elements, then all second bytes, and so on.

The shuffle filter of HDF5 and Blosc. Exponent bytes of trained floats repeat while mantissa bytes do
not; side by side they compress better and decode faster than interleaved (docs/performance.md).

C-Blosc (inside numcodecs) undoes zstd and planes in one call, with SIMD, at almost twice the speed of zstd and numpy
one after the other. `unpack` borrows that: a Blosc 1 chunk of one block, compressed with zstd and not split, is 24
bytes and then exactly the zstd frame of the planes (c-blosc, README_CHUNK_FORMAT.rst).
"""

from __future__ import annotations

import struct

import numpy as np
from numcodecs import blosc

from cas.formats.digest import Buffer

# Elements per block, so that one block's planes and output stay in a core's second-level cache.
BLOCK = 64 * 1024

# Version of the format, version of its zstd part, flags, element width; plain, block and whole size, where the
# block begins, how long it is.
_CHUNK = struct.Struct("<BBBBIIIII")
_SHUFFLED_ZSTD_WHOLE = 0x01 | 4 << 5 | 0x10

BEFORE = _CHUNK.size
"""Bytes that `unpack` needs for itself before a zstd frame."""


def split(plain: Buffer, width: int, out: memoryview) -> None:
    """Writes the planes of `plain` to `out` (same size); the `size mod width` last bytes stay as they are."""
    _transpose(plain, width, out, splitting=True)


def join(planes: Buffer, width: int, out: memoryview) -> None:
    """Undoes `split`: writes the plain bytes of `planes` to `out` (same size)."""
    _transpose(planes, width, out, splitting=False)


def unpack(room: memoryview, width: int, out: memoryview) -> bool:
    """Writes the plain bytes of a zstd frame of planes to `out`; False where Blosc would take it for something else.

    room: BEFORE bytes, which are kept, and then the zstd frame, whose content size is that of `out`. Raises ValueError
    when zstd finds it damaged.
    """
    body, size = len(room) - BEFORE, len(out)
    if not 0 < body < size:
        return False  # a block that is not smaller is taken for one stored as it is
    kept = bytes(room[:BEFORE])
    _CHUNK.pack_into(room, 0, 2, 1, _SHUFFLED_ZSTD_WHOLE, width, size, size, len(room), 20, body)
    try:
        blosc.decompress(room, out)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    finally:
        room[:BEFORE] = kept
    return True


def _transpose(source: Buffer, width: int, out: memoryview, *, splitting: bool) -> None:
    count, rest = divmod(len(source), width)
    body = count * width
    src, dst = np.frombuffer(source, np.uint8), np.frombuffer(out, np.uint8)
    elements, planes = (src, dst) if splitting else (dst, src)
    elements, planes = elements[:body].reshape(count, width), planes[:body].reshape(width, count)
    for start in range(0, count, BLOCK):
        block = slice(start, start + BLOCK)
        for byte in range(width):
            if splitting:
                planes[byte, block] = elements[block, byte]
            else:
                elements[block, byte] = planes[byte, block]
    if rest:
        dst[body:] = src[body:]
