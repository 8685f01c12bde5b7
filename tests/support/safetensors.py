"""Safetensors files, written and read by code of the tests' own, and what a cast of their tensors must be."""

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
    """A file with its header in the order of `tensors` and its data in that of `order`."""
    places, at = {}, 0
    for name in order or tensors:
        places[name] = [at, at + len(tensors[name].data)]
        at += len(tensors[name].data)
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata is not None else {}
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": places[name]}
    return with_header(header, b"".join(tensors[name].data for name in order or tensors))


def with_header(header: object, data: bytes) -> bytes:
    """A file with any header at all."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def read_safetensors(data: bytes) -> tuple[dict[str, Tensor], dict[str, str] | None, list[str]]:
    """Tensors in the header's order, metadata, and the order of the data, which must leave no gap."""
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
    """The value of an encoding, in Python's own arithmetic."""
    if dtype == "BF16":
        return float(struct.unpack("<f", struct.pack("<I", bits << 16))[0])
    whole, part = {"F64": ("<Q", "<d"), "F32": ("<I", "<f"), "F16": ("<H", "<e")}[dtype]
    return float(struct.unpack(part, struct.pack(whole, bits))[0])


def cast_one(bits: int, dtype: str, target: str) -> int:
    """What one element must become, without numpy and without anything of `cas`."""
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
    kept, rest = wide >> 16, wide & 0xFFFF
    return kept + (rest > 0x8000 or (rest == 0x8000 and kept & 1))


def cast_all(data: bytes, dtype: str, target: str) -> bytes:
    """The same for a tensor's bytes."""
    elements = np.frombuffer(data, f"<u{WIDTHS[dtype]}").tolist()
    return b"".join(cast_one(bits, dtype, target).to_bytes(2, "little") for bits in elements)


def normal(count: int, seed: int = 0) -> bytes:
    """float32 weights as a trained model has them."""
    return (np.random.default_rng(seed).standard_normal(count, dtype=np.float32) * np.float32(0.02)).tobytes()


def publish_file(store: Store | str, folder: Path, data: bytes, **others: bytes) -> cas.Published:
    """Publishes m:latest with model.safetensors and other files."""
    return publish_tree(store, write_tree(folder, {"model.safetensors": data, **others}))
