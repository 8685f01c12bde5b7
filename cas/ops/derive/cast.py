"""Casts floats to two-byte floats as torch's `.to(dtype)` does on a CPU: rounds to nearest, ties to even.

float64 is cast through float32. Values that are too large become infinite, and small values become subnormal, as in c10
(github.com/pytorch/pytorch, torch/headeronly/util/Half.h and BFloat16.h). In torch, the bits of a NaN's result differ
between processors, and between the middle of a tensor and its end. Here they are always what c10's portable code gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cas.formats.digest import Buffer

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""The types that are cast, as safetensors names them, with their bytes per element."""

TARGETS = {"float16": "F16", "bfloat16": "BF16"}
"""The types that they can be cast to: the name that people use, and the name in safetensors."""

# How many elements are cast at a time: intermediate results then stay in a core's second-level cache.
BLOCK = 64 * 1024

Bits = npt.NDArray[np.uint16]
Wide = npt.NDArray[np.uint32]

_SIGN = np.uint16(0x8000)
_NAN16 = np.uint16(0x7E00)
_NAN_BF16 = np.uint16(0x7FC0)


def cast(source: Buffer, dtype: str, target: str, out: Buffer) -> None:
    """Cast elements and write them to `out`.

    Args:
        source: whole elements, little-endian, at any alignment.
        dtype: their type, a key of `FLOATS`.
        target: F16 or BF16.
        out: writable memory of two bytes per element.

    Raises:
        ValueError: the sizes of `source` and `out` do not agree.
    """
    count, rest = divmod(len(source), FLOATS[dtype])
    if rest or len(out) != 2 * count:
        raise ValueError(f"{len(source)} bytes of {dtype} are not {len(out)} bytes of {target}")
    if dtype == target:
        memoryview(out)[:] = memoryview(source)
        return
    elements = np.frombuffer(source, _numpy_type(dtype))
    bits = np.frombuffer(out, "<u2")
    narrow = _to_float16 if target == "F16" else _to_bfloat16
    # No warnings from numpy: overflows and NaNs are part of casting.
    with np.errstate(all="ignore"):
        for start in range(0, count, BLOCK):
            bits[start : start + BLOCK] = narrow(_to_float32(elements[start : start + BLOCK], dtype))


def canonical_nan(target: str, negative: npt.NDArray[np.bool_]) -> Bits:
    """Return the bits of the NaN that each NaN becomes.

    Args:
        target: F16 or BF16.
        negative: whether each NaN is negative; only float16 keeps the sign.
    """
    if target == "F16":
        return np.where(negative, _NAN16 | _SIGN, _NAN16)
    return np.full(negative.shape, _NAN_BF16)


def _numpy_type(dtype: str) -> str:
    return {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}[dtype]


def _to_float32(elements: npt.NDArray[Any], dtype: str) -> npt.NDArray[np.float32]:
    if dtype == "BF16":
        return (elements.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return elements.astype(np.float32, copy=False)


def _to_float16(floats: npt.NDArray[np.float32]) -> Bits:
    bits = floats.astype(np.float16).view(np.uint16)
    nan = np.isnan(floats)
    if nan.any():
        bits[nan] = canonical_nan("F16", np.signbit(floats[nan]))
    return bits


def _to_bfloat16(floats: npt.NDArray[np.float32]) -> Bits:
    wide: Wide = np.ascontiguousarray(floats).view(np.uint32)
    rounded = wide >> np.uint32(16)
    rounded &= np.uint32(1)
    rounded += np.uint32(0x7FFF)
    rounded += wide
    rounded >>= np.uint32(16)
    bits = rounded.astype(np.uint16)
    nan = np.isnan(floats)
    if nan.any():
        bits[nan] = _NAN_BF16
    return bits
