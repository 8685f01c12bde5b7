"""Write GGUF files, version 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tools.models.weights import Array

ALIGNMENT = 32
_Q8_0_ELEMENTS = 32
_Q8_0_BYTES = 34
_F32, _F16, _Q8_0 = 0, 1, 8  # enum ggml_type
_UINT32, _INT32, _FLOAT32, _STRING, _ARRAY = 4, 5, 6, 8, 9  # enum gguf_metadata_value_type
_PIECE = 1 << 22  # elements

Value = int | float | str | Sequence[int] | Sequence[float] | Sequence[str]
"""A value of the metadata: int as UINT32 and in arrays as INT32, float as FLOAT32, str as STRING."""


def write_gguf(
    path: Path,
    tensors: Mapping[str, Array],
    quantised: Set[str] = frozenset(),
    metadata: Mapping[str, Value] = MappingProxyType({}),
) -> None:
    """Write tensors as F32 or F16, some of them in blocks of 32 with 8 bits each (Q8_0).

    Each tensor is read from the mapping twice and not stored, so the mapping may make tensors on demand.

    Args:
        path: the file to write; its folder is made if it is missing.
        tensors: float32 and float16 arrays by name.
        quantised: names of the tensors to write as Q8_0; their last dimension is a multiple of 32.
        metadata: keys and values beside `general.architecture`, which is llama, and `general.alignment`.

    Raises:
        OSError: the file cannot be written.
        ValueError: a dtype or a shape does not fit.
    """
    infos = bytearray()
    offset = 0
    for name, array in tensors.items():
        kind, size = _layout(name, array, name in quantised)
        dimensions = struct.pack(f"<I{array.ndim}Q", array.ndim, *reversed(array.shape))
        infos += _text(name) + dimensions + struct.pack("<IQ", kind, offset)
        offset += size + -size % ALIGNMENT
    keys = _text("general.architecture") + struct.pack("<I", _STRING) + _text("llama")
    keys += _text("general.alignment") + struct.pack("<II", _UINT32, ALIGNMENT)
    for name, value in metadata.items():
        kind, encoded = _value(value)
        keys += _text(name) + struct.pack("<I", kind) + encoded
    head = struct.pack("<4sI2Q", b"GGUF", 3, len(tensors), 2 + len(metadata)) + keys + infos
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        for name in tensors:
            for piece in _data(tensors[name], name in quantised):
                file.write(piece.data)
            file.write(bytes(-file.tell() % ALIGNMENT))


def quantise_q8_0(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return values as Q8_0 blocks, as `quantize_row_q8_0_ref` in ggml's `ggml-quants.c` makes them.

    Args:
        values: one dimension; the length is a multiple of 32.

    Returns:
        34 bytes for every 32 values: a float16 scale, then 32 signed bytes.
    """
    blocks = values.reshape(-1, _Q8_0_ELEMENTS)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > 0)
    steps = blocks * inverse
    rounded = (np.sign(steps) * np.floor(np.abs(steps) + np.float32(0.5))).astype(np.int8)
    return np.concatenate([scale.astype(np.float16).view(np.uint8), rounded.view(np.uint8)], axis=1)


def _layout(name: str, array: Array, quantised: bool) -> tuple[int, int]:
    if array.dtype not in (np.float32, np.float16):
        raise ValueError(f"{name} is {array.dtype}, not float32 or float16")
    if not quantised:
        return (_F32 if array.dtype == np.float32 else _F16), array.nbytes
    if not array.ndim or array.shape[-1] % _Q8_0_ELEMENTS:
        raise ValueError(f"{name} has shape {array.shape}: the last dimension is not a multiple of 32")
    return _Q8_0, math.prod(array.shape) // _Q8_0_ELEMENTS * _Q8_0_BYTES


def _data(array: Array, quantised: bool) -> Iterator[Array]:
    flat = np.ascontiguousarray(array).reshape(-1)
    for at in range(0, len(flat), _PIECE):
        piece = flat[at : at + _PIECE]
        yield quantise_q8_0(piece.astype(np.float32)) if quantised else piece


def _value(value: Value, *, in_array: bool = False) -> tuple[int, bytes]:
    """The type of a value, and its bytes."""
    if isinstance(value, str):
        return _STRING, _text(value)
    if isinstance(value, float):
        return _FLOAT32, struct.pack("<f", value)
    if isinstance(value, int):
        return (_INT32, struct.pack("<i", value)) if in_array else (_UINT32, struct.pack("<I", value))
    items = [_value(item, in_array=True) for item in value]
    return _ARRAY, struct.pack("<IQ", items[0][0], len(items)) + b"".join(data for _, data in items)


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data
