"""Write the zip files that `torch.save` makes, without torch.

The layout is that of torch 2.13 (`caffe2/serialize/inline_container.cc`), found by comparison with its files. Members
are stored, not deflated. A local header has flags 0x808, no checksum and no sizes: these follow the data in a
descriptor, which empty members lack. An extra field "FB" full of "Z" aligns the data to multiples of 64 bytes.
"""

import hashlib
import math
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tools.models.weights import Array

ALIGNMENT = 64
_FLAGS = 0x0808  # sizes and checksum follow the data; names are UTF-8
_FLAGS_EMPTY = 0x0800  # nothing follows an empty member
_STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "uint16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "uint8": "ByteStorage",
}


def write_torch_zip(path: Path, tensors: Mapping[str, Array], prefix: str = "archive") -> None:
    """Write a state dict so that `torch.load(path, weights_only=True)` gives it back.

    Each tensor is read from the mapping twice and not stored, so the mapping may make tensors on demand.

    Args:
        path: the file to write; its folder is made if it is missing.
        tensors: arrays by name; uint16 stands for the bits of bfloat16.
        prefix: folder within the zip; torch uses the file's stem, or `archive` if it writes to a buffer.

    Raises:
        OSError: the file cannot be written.
        ValueError: torch has no storage for a dtype, or the file would need zip64 (4 GiB and more).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        zip = _Zip(file, prefix)
        zip.add("data.pkl", _pickle(tensors))
        zip.add(".format_version", b"1")
        zip.add(".storage_alignment", str(ALIGNMENT).encode())
        zip.add("byteorder", b"little")
        for index, name in enumerate(tensors):
            zip.add(f"data/{index}", np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data)
        zip.add("version", b"3\n")
        zip.add(".data/serialization_id", zip.identity())
        zip.finish()


class _Zip:
    def __init__(self, file: BinaryIO, prefix: str) -> None:
        self._file = file
        self._prefix = prefix
        self._at = 0
        self._count = 0
        self._directory = bytearray()

    def add(self, name: str, data: bytes | memoryview) -> None:
        path = f"{self._prefix}/{name}".encode()
        header_at, checksum, size = self._at, zlib.crc32(data), len(data)
        flags = _FLAGS if size else _FLAGS_EMPTY
        padding = -(header_at + 30 + len(path) + 4) % ALIGNMENT
        extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
        # signature, version, flags, method, time, date, checksum, two sizes, two lengths
        local = (b"PK\3\4", 0, flags, 0, 0, 0, 0, 0, 0, len(path), len(extra))
        self._write(struct.pack("<4s5H3I2H", *local) + path + extra)
        self._write(data)
        if self._at >= 0xFFFFFFFF:
            raise ValueError("torch zips of 4 GiB and more need zip64, which this writer does not know")
        if size:
            self._write(struct.pack("<4s3I", b"PK\7\b", checksum, size, size))
        # as above, but two versions, and at the end: comment, disk, two attributes, offset
        central = (b"PK\1\2", 0, 0, flags, 0, 0, 0, checksum, size, size, len(path), 0, 0, 0, 0, 0, header_at)
        self._directory += struct.pack("<4s6H3I5H2I", *central) + path
        self._count += 1

    def identity(self) -> bytes:
        """Return 40 digits that depend on names and checksums; torch hashes them in C++, and loads any digits."""
        digest = hashlib.sha256(self._directory).digest()
        return b"%040d" % (int.from_bytes(digest) % 10**40)

    def finish(self) -> None:
        at, length, count = self._at, len(self._directory), self._count
        self._write(self._directory)
        # torch writes the zip64 records even where they are not needed
        end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 0x031E, 45, 0, 0, count, count, length, at)
        locator = struct.pack("<4sIQI", b"PK\6\7", 0, self._at, 1)
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, length, at, 0)
        self._write(end64 + locator + end)

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        self._file.write(data)
        self._at += len(data)


def _pickle(tensors: Mapping[str, Array]) -> bytes:
    """Return an OrderedDict of tensors in pickle protocol 2, written opcode by opcode: torch's classes are not here."""
    out = bytearray(b"\x80\x02" + _new_ordered_dict() + b"(")
    for index, (name, array) in enumerate(tensors.items()):
        storage = _STORAGES.get(array.dtype.name)
        if storage is None:
            raise ValueError(f"torch has no storage for {array.dtype}")
        out += _text(name)
        out += b"ctorch._utils\n_rebuild_tensor_v2\n("
        out += b"(" + _text("storage") + b"ctorch\n" + storage.encode() + b"\n"
        out += _text(str(index)) + _text("cpu") + _integer(array.size) + b"tQ"
        out += _integer(0) + _integers(array.shape) + _integers(_strides(array.shape))
        out += b"\x89" + _new_ordered_dict() + b"tR"  # requires_grad is False, there are no hooks
    return bytes(out + b"u.")


def _strides(shape: tuple[int, ...]) -> list[int]:
    return [math.prod(max(length, 1) for length in shape[axis + 1 :]) for axis in range(len(shape))]


def _new_ordered_dict() -> bytes:
    return b"ccollections\nOrderedDict\n)R"


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(value: int) -> bytes:
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def _integers(values: Iterable[int]) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"
