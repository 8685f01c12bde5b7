"""Safetensors files, written, read and cast by code that shares nothing with `cas`."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import cas
from cas.store.store import Store
from tests.support.models import publish_tree, write_tree

WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "U8": 1, "BOOL": 1, "F8_E4M3": 1}
FLOATS = ("F64", "F32", "F16", "BF16")
TARGETS = {"float16": "F16", "bfloat16": "BF16"}
NAN = {"F16": 0x7E00, "BF16": 0x7FC0}


class Tensor(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def safetensors(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, order: Sequence[str] | None = None
) -> bytes:
    """Return a file.

    Args:
        tensors: the tensors in the order of the header.
        metadata: the header's `__metadata__`, None for none.
        order: names in the order of the data, by default that of the header.
    """
    offsets, at = {}, 0
    for name in order or tensors:
        offsets[name] = [at, at + len(tensors[name].data)]
        at += len(tensors[name].data)
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata is not None else {}
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets[name]}
    return with_header(header, b"".join(tensors[name].data for name in order or tensors))


def with_header(header: object, data: bytes) -> bytes:
    """Return a file with any header, a wrong one too: a value to encode as JSON, or bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def read_safetensors(data: bytes) -> tuple[dict[str, Tensor], dict[str, str] | None, list[str]]:
    """Return tensors in the header's order, metadata, and the order of the data; fail if the data has a gap."""
    (length,) = struct.unpack_from("<Q", data)
    assert length % 8 == 0
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", None)
    body = data[8 + length :]
    tensors, at = {}, 0
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        tensors[name] = Tensor(entry["dtype"], tuple(entry["shape"]), body[start:end])
        assert end - start == math.prod(entry["shape"]) * WIDTHS[entry["dtype"]]
    order = sorted(header, key=lambda name: header[name]["data_offsets"])
    for name in order:
        assert header[name]["data_offsets"][0] == at
        at = header[name]["data_offsets"][1]
    assert at == len(body)
    return tensors, metadata, order


def bits_to_float(bits: int, dtype: str) -> float:
    """Return the value of an element's bits, by Python's own arithmetic."""
    if dtype == "BF16":
        return float(struct.unpack("<f", struct.pack("<I", bits << 16))[0])
    integer, floating = {"F64": ("<Q", "<d"), "F32": ("<I", "<f"), "F16": ("<H", "<e")}[dtype]
    return float(struct.unpack(floating, struct.pack(integer, bits))[0])


def cast_one(bits: int, dtype: str, target: str) -> int:
    """Return the bits that a cast must give one element, without numpy and without code of `cas`."""
    if dtype == target:
        return bits
    value = bits_to_float(bits, dtype)
    if math.isnan(value):
        negative = bits >> (8 * WIDTHS[dtype] - 1)
        return NAN[target] | (negative << 15 if target == "F16" else 0)
    try:
        single = struct.pack("<f", value)  # float64 goes through float32
    except OverflowError:
        single = struct.pack("<f", math.copysign(math.inf, value))
    (value,), (wide,) = struct.unpack("<f", single), struct.unpack("<I", single)
    if target == "F16":
        try:
            return int.from_bytes(struct.pack("<e", value), "little")
        except OverflowError:
            return 0x7C00 | (0x8000 if value < 0 else 0)
    upper, rest = wide >> 16, wide & 0xFFFF
    return upper + (rest > 0x8000 or (rest == 0x8000 and upper & 1))  # to the nearest, ties to even


def cast_all(data: bytes, dtype: str, target: str) -> bytes:
    """Return the bytes that a cast must give a tensor."""
    elements = np.frombuffer(data, f"<u{WIDTHS[dtype]}").tolist()
    return b"".join(cast_one(bits, dtype, target).to_bytes(2, "little") for bits in elements)


def normal(count: int, seed: int = 0) -> bytes:
    """Return the bytes of `count` float32 weights with the scale of a trained model's."""
    return (np.random.default_rng(seed).standard_normal(count, dtype=np.float32) * np.float32(0.02)).tobytes()


def publish_file(store: Store | str, folder: Path, data: bytes, **others: bytes) -> cas.Published:
    """Publish m:latest with `data` as model.safetensors, and other files by name."""
    return publish_tree(store, write_tree(folder, {"model.safetensors": data, **others}))
