"""Proves a cast by the definition of rounding, without any code that casts.

One boundary lies halfway between two neighbouring values of the narrow type. A result is right if and only if its
original lies between the boundaries below and above the result. An original that lies on a boundary must have become
the even neighbour. The boundaries are computed from the definition of the formats (IEEE 754-2019, section 3.4), and
compared as integers.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cas.formats.digest import Buffer
from cas.ops.derive.cast import BLOCK, FLOATS, Bits, Wide, canonical_nan

# Mantissa bits and exponent bias of each narrow type.
_FORMATS = {"F16": (10, 15), "BF16": (7, 127)}

_INFINITE = 0x7F800000  # the bits of infinity in float32; larger numbers, without the sign, are NaNs
_SIGN = np.uint32(0x80000000)


class Verdict(NamedTuple):
    """What a comparison found; verdicts can be added up.

    Attributes:
        wrong: how many elements are not the value nearest to their original.
        overflowed: how many finite elements became infinite.
        nans: how many elements are NaN.
    """

    wrong: int = 0
    overflowed: int = 0
    nans: int = 0

    def __add__(self, other: object) -> Verdict:
        assert isinstance(other, Verdict)
        return Verdict(*(mine + its for mine, its in zip(self, other, strict=True)))


def compare(source: Buffer, dtype: str, variant: Buffer, target: str) -> Verdict:
    """Count the elements that are not the nearest value to their original, ties to even.

    Args:
        source: the original elements, little-endian.
        dtype: their type, a key of `FLOATS`.
        variant: the elements that they became.
        target: the type of these: F16 or BF16.

    Raises:
        ValueError: the numbers of elements differ.
    """
    bits = np.frombuffer(variant, "<u2")
    originals = np.frombuffer(source, f"<u{FLOATS[dtype]}")
    if len(bits) != len(originals):
        raise ValueError(f"{len(originals)} elements cannot be cast to {len(bits)}")
    if dtype == target:
        return Verdict(wrong=int(np.count_nonzero(originals != bits)))
    found = Verdict()
    for start in range(0, len(bits), BLOCK):
        block = slice(start, start + BLOCK)
        found += _compare_block(originals[block], dtype, bits[block], target)
    return found


def same(source: Buffer, variant: Buffer) -> Verdict:
    """Count the bytes that differ in a tensor that is not cast."""
    different = np.frombuffer(source, np.uint8) != np.frombuffer(variant, np.uint8)
    return Verdict(wrong=int(np.count_nonzero(different)))


def _compare_block(originals: npt.NDArray[np.unsignedinteger], dtype: str, bits: Bits, target: str) -> Verdict:
    lowest, width = _intervals(target)
    wide, double_wrong = _as_float32(originals, dtype)
    # One comparison checks both ends: below the lowest, the unsigned difference wraps around to a large number. The
    # sign is part of the numbers, so a result with a wrong sign lies outside, too.
    right = wide - lowest.take(bits, mode="clip") <= width.take(bits, mode="clip")
    overflowed = nans = 0
    size, infinity = bits & np.uint16(0x7FFF), _infinity(target)
    if (size >= infinity).any():
        nan = (wide & ~_SIGN) > _INFINITE
        nans = int(np.count_nonzero(nan))
        right[nan] = bits[nan] == canonical_nan(target, (wide[nan] & _SIGN) != 0)
        overflowed = int(np.count_nonzero((size == infinity) & ~_is_infinite(originals, dtype)))
    return Verdict(int(np.count_nonzero(~right)) + double_wrong, overflowed, nans)


def _infinity(target: str) -> int:
    mantissa, bias = _FORMATS[target]
    return (2 * bias + 1) << mantissa


@cache
def _intervals(target: str) -> tuple[Wide, Wide]:
    """For each of the 65,536 values: the bits of the lowest float32 that rounds to it, and how many more follow."""
    infinity = _infinity(target)
    values = _values(target, infinity)
    # The mean of two neighbours is exact in float64, and in float32, which has more bits than the narrow types.
    boundaries = ((values[:-1] + values[1:]) / 2).astype(np.float32).view(np.uint32)
    odd = (np.arange(infinity + 1) & 1).astype(np.uint32)
    lowest = np.concatenate([np.zeros(1, np.uint32), boundaries]) + odd
    highest = np.concatenate([boundaries, np.full(1, _INFINITE, np.uint32)]) - odd
    # No number may become NaN: the interval of a NaN holds one float32, which is a NaN itself. `_compare_block` judges
    # NaNs by themselves.
    nans = np.full(0x8000 - infinity - 1, 0x7FFFFFFF, np.uint32)
    lowest, highest = np.concatenate([lowest, nans]), np.concatenate([highest, nans])
    width = highest - lowest
    return np.concatenate([lowest, lowest | _SIGN]), np.concatenate([width, width])


def _values(target: str, last: int) -> npt.NDArray[np.float64]:
    """The values of the encodings 0 to `last`; infinity has the value that would follow the largest finite one."""
    mantissa, bias = _FORMATS[target]
    encodings = np.arange(last + 1)
    exponent, fraction = encodings >> mantissa, encodings & ((1 << mantissa) - 1)
    significand = np.where(exponent == 0, fraction, fraction + (1 << mantissa)).astype(np.float64)
    values: npt.NDArray[np.float64] = np.ldexp(significand, np.maximum(exponent, 1) - bias - mantissa)
    return values


def _as_float32(originals: npt.NDArray[np.unsignedinteger], dtype: str) -> tuple[Wide, int]:
    """The originals as bits of float32, and how many float64 originals are not cast to their nearest float32."""
    if dtype == "F32":
        return originals.astype(np.uint32, copy=False), 0
    if dtype == "BF16":
        return originals.astype(np.uint32) << np.uint32(16), 0
    if dtype == "F16":
        return _float16_as_float32().take(originals, mode="clip"), 0
    return _from_float64(originals.astype(np.uint64, copy=False).view(np.float64))


@cache
def _float16_as_float32() -> Wide:
    infinity = _infinity("F16")
    positive = _values("F16", infinity).astype(np.float32).view(np.uint32).copy()
    positive[infinity] = _INFINITE
    nans = np.full(0x8000 - infinity - 1, 0x7FC00000, np.uint32)
    positive = np.concatenate([positive, nans])
    return np.concatenate([positive, positive | _SIGN])


def _from_float64(doubles: npt.NDArray[np.float64]) -> tuple[Wide, int]:
    with np.errstate(all="ignore"):
        narrowed = doubles.astype(np.float32).view(np.uint32)
        size = (narrowed & ~_SIGN).astype(np.int64)
        below, above = _boundary(size - 1), _boundary(size)
        exact, even = np.abs(doubles), (size & 1) == 0
        right = np.where(even, (below <= exact) & (exact <= above), (below < exact) & (exact < above))
        right &= np.signbit(doubles) == (narrowed >= _SIGN)
        # Infinity has no boundary above it. A NaN must be a NaN here, too; the caller judges its bits.
        right |= np.isnan(doubles) & (size > _INFINITE)
    return narrowed, int(np.count_nonzero(~right))


def _boundary(size: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The boundary between the float32 of each encoding and the next one; 0 below zero, infinity above infinity."""

    def value(encodings: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        doubles = encodings.astype(np.uint32).view(np.float32).astype(np.float64)
        return np.where(encodings == _INFINITE, 2.0**128, doubles)

    halfway = (value(np.maximum(size, 0)) + value(np.minimum(size + 1, _INFINITE))) / 2
    return np.where(size < 0, 0.0, np.where(size >= _INFINITE, np.inf, halfway))


def _is_infinite(originals: npt.NDArray[np.unsignedinteger], dtype: str) -> npt.NDArray[np.bool_]:
    mantissa = {"F64": 52, "F32": 23, "F16": 10, "BF16": 7}[dtype]
    bits = 8 * FLOATS[dtype]
    size = originals & originals.dtype.type((1 << (bits - 1)) - 1)
    infinity = ((1 << (bits - 1)) - 1) >> mantissa << mantissa
    found: npt.NDArray[np.bool_] = size == originals.dtype.type(infinity)
    return found
