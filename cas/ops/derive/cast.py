"""Casts floats to two bytes, rounding to nearest, ties to even: as torch's `.to(dtype)` does on a CPU.

float64 goes through float32, values too large become infinite, and small ones subnormal, as in c10
(github.com/pytorch/pytorch, torch/headeronly/util/Half.h and BFloat16.h). Which NaN a NaN becomes differs in torch
from processor to processor and from a tensor's middle to its end; here it is always what c10's portable code gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cas.formats.digest import Buffer

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""The types that are cast, as safetensors names them, and bytes per element."""

TARGETS = {"float16": "F16", "bfloat16": "BF16"}
"""What they can be cast to, as people name it and as safetensors does."""

# Elements at a time, so that what lies between stays in a core's second-level cache.
BLOCK = 64 * 1024

Bits = npt.NDArray[np.uint16]
Wide = npt.NDArray[np.uint32]

_SIGN = np.uint16(0x8000)
_NAN16 = np.uint16(0x7E00)
_NAN_BF16 = np.uint16(0x7FC0)


def cast(source: Buffer, dtype: str, target: str, out: Buffer) -> None:
    """Casts the elements of `source`, of type `dtype`, to `target` (F16 or BF16) and writes them to `out`.

    source: whole elements, little-endian, at any alignment. out: writable, two bytes an element.
    Raises ValueError when the sizes do not agree.
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
    # A conversion that overflows or meets a NaN is nothing to warn of: that is what casting does.
    with np.errstate(all="ignore"):
        for start in range(0, count, BLOCK):
            bits[start : start + BLOCK] = narrow(_to_float32(elements[start : start + BLOCK], dtype))


def canonical_nan(target: str, negative: npt.NDArray[np.bool_]) -> Bits:
    """The NaN of `target` that stands for each NaN. negative: their signs, which only float16 keeps."""
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
