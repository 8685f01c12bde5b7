"""Byte planes: all first bytes of the elements, then all second bytes, and so on.

The shuffle filter of HDF5 and Blosc. Exponent bytes of trained floats repeat while mantissa bytes do
not; side by side they compress better and decode faster than interleaved (docs/performance.md).
"""

from __future__ import annotations

import numpy as np

from cas.digest import Buffer

# Elements per block, so that one block's planes and output stay in a core's second-level cache.
BLOCK = 64 * 1024


def split(plain: Buffer, width: int, out: memoryview) -> None:
    """Writes the planes of `plain` to `out` (same size); the `size mod width` last bytes stay as they are."""
    _transpose(plain, width, out, splitting=True)


def join(planes: Buffer, width: int, out: memoryview) -> None:
    """Undoes `split`: writes the plain bytes of `planes` to `out` (same size)."""
    _transpose(planes, width, out, splitting=False)


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
