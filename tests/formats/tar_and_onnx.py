"""Tar files by tarfile, and ONNX models by a small writer of protobuf (fields as in onnx/onnx.proto)."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from tools.models.weights import Array

_TYPES = {"float32": 1, "float16": 10, "int64": 7, "int8": 3}


def tar(members: Mapping[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar of these members, with a folder before them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
        folder = tarfile.TarInfo("./folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def field(number: int, value: int | bytes) -> bytes:
    """Return a protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx(tensors: Mapping[str, Array], producer: str = "test") -> bytes:
    """Return a model whose graph has a node, and these tensors as initialisers with raw data."""
    graph = field(1, field(1, b"x") + field(2, b"y") + field(4, b"Identity")) + field(2, b"graph")
    for name, array in tensors.items():
        dims = b"".join(field(1, extent) for extent in array.shape)
        kind = _TYPES[str(array.dtype)]
        graph += field(5, dims + field(2, kind) + field(8, name.encode()) + field(9, array.tobytes()))
    return field(1, 8) + field(2, producer.encode()) + field(7, graph) + field(8, field(2, 17))
