"""Byte planes: all first bytes of the elements, then all second bytes, and so on.

This is the shuffle filter of HDF5 and Blosc. Exponent bytes of trained floats repeat while mantissa bytes do not; plane
by plane they compress better and decode faster than interleaved (docs/performance.md).

Splitting is numpy's. So is joining where Blosc cannot undo zstd and planes in one call (cas/formats/blosc_planes.py).
"""

from __future__ import annotations

import numpy as np

from cas.formats.digest import Buffer

# Elements per block: so few that one block's planes and output stay in a core's second-level cache.
BLOCK = 64 * 1024

# numpy's unsigned integers by their bytes, little-endian whatever the machine is.
_UNSIGNED = {2: "<u2", 4: "<u4", 8: "<u8"}


def split(plain: Buffer, width: int, out: memoryview) -> None:
    """Write the planes of `plain` to `out` (same size); the last `size mod width` bytes stay as they are."""
    if width in _UNSIGNED and len(plain) >= 2 * width:
        _split_by_casts(plain, width, out)
    else:
        _transpose(plain, width, out, splitting=True)
    _copy_rest(plain, width, out)


def join(planes: Buffer, width: int, out: memoryview) -> None:
    """Undo `split`: write the plain bytes of `planes` to `out` (same size)."""
    _transpose(planes, width, out, splitting=False)
    _copy_rest(planes, width, out)


def _split_by_casts(plain: Buffer, width: int, out: memoryview) -> None:
    """Split by casts from integers to bytes, which keep the lowest byte: four times as fast as picking every n-th byte.

    numpy casts with SIMD. Integers that are read from byte `n` of the first element on have the bytes of plane `n` as
    their lowest, whatever they have above; that they are not aligned costs nothing (docs/performance.md).
    """
    count = len(plain) // width
    body = count * width
    planes = np.frombuffer(out, np.uint8, body).reshape(width, count)
    # The last element is left out where such an integer would reach beyond it.
    integers = [np.frombuffer(plain, _UNSIGNED[width], count - (byte > 0), byte) for byte in range(width)]
    for begin in range(0, count, BLOCK):
        for byte in range(width):
            block = integers[byte][begin : begin + BLOCK]
            planes[byte, begin : begin + len(block)] = block
    planes[:, -1] = np.frombuffer(plain, np.uint8, width, body - width)


def _transpose(source: Buffer, width: int, out: memoryview, *, splitting: bool) -> None:
    count = len(source) // width
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


def _copy_rest(source: Buffer, width: int, out: memoryview) -> None:
    """Copy the bytes behind the last whole element, which are too few to have planes."""
    if rest := len(source) % width:
        out[-rest:] = memoryview(source)[-rest:]
