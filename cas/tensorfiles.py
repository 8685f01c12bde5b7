"""Reads just enough of safetensors, zip (torch, npz) and GGUF files to know where their tensors lie.

Sources: the safetensors format (github.com/huggingface/safetensors, README), APPNOTE.TXT 6.3.10
(zip), and ggml's docs/gguf.md. Nothing here loads a tensor or unpickles anything.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple

# The safetensors library refuses larger headers; a 100 MB one names half a million tensors.
_MAX_SAFETENSORS_HEADER = 100_000_000
_SAFETENSORS_WIDTHS = {
    "F64": 8, "I64": 8, "U64": 8, "C64": 4, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
}  # fmt: skip

# ggml_type ids of plain element types; the others are quantised blocks without a uniform element.
_GGUF_WIDTHS = {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2}
_GGUF_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_STRING, _GGUF_ARRAY = 8, 9
_GGUF_ALIGNMENT = 32


class Run(NamedTuple):
    """Bytes that belong together: a tensor with its padding, or (`alone`) what precedes the first."""

    offset: int
    size: int
    width: int | None
    alone: bool = False


class _Unknown(Exception):
    """The file is not, or not soundly, of the format it resembles."""


def runs(file: BinaryIO, size: int) -> list[Run] | None:
    """The runs of a tensor file from byte 0 to `size`, or None when it is of no known format."""
    file.seek(0)
    magic = file.read(9)
    try:
        if magic[:4] == b"GGUF":
            starts = _gguf(file, size)
        elif magic[:4] == b"PK\x03\x04":
            starts = _zip(file)
        elif magic[8:] == b"{":
            starts = _safetensors(file, size)
        else:
            return None
        return _between(starts, size)
    except (_Unknown, ValueError, KeyError, TypeError, RecursionError, struct.error, zipfile.BadZipFile, EOFError):
        return None


def _between(starts: Iterable[tuple[int, int | None]], size: int) -> list[Run]:
    """Runs from each start to the next; whatever follows a tensor (padding, a zip's records) stays with it."""
    ordered = sorted(dict(starts).items())
    if not ordered or ordered[0][0] < 0 or ordered[-1][0] > size:
        raise _Unknown
    first = ordered[0][0]
    before = [Run(0, first, 1, alone=True)] if first else []
    ends = [start for start, _ in ordered[1:]] + [size]
    return before + [
        Run(start, end - start, width) for (start, width), end in zip(ordered, ends, strict=True) if end > start
    ]


def _safetensors(file: BinaryIO, size: int) -> list[tuple[int, int | None]]:
    file.seek(0)
    length = int.from_bytes(_exactly(file, 8), "little")
    if length > min(_MAX_SAFETENSORS_HEADER, size - 8):
        raise _Unknown
    header = json.loads(_exactly(file, length))
    data = 8 + length
    return [
        (data + tensor["data_offsets"][0], _SAFETENSORS_WIDTHS.get(tensor["dtype"], 1))
        for name, tensor in header.items()
        if name != "__metadata__"
    ] or [(data, None)]


def _zip(file: BinaryIO) -> list[tuple[int, int | None]]:
    starts: list[tuple[int, int | None]] = []
    with zipfile.ZipFile(file) as archive:
        directory = archive.start_dir
        members = archive.infolist()
    for member in members:
        file.seek(member.header_offset)
        local = struct.unpack("<4s2xHH16xHH", _exactly(file, 30))
        signature, flags, _method, name, extra = local
        if signature != b"PK\x03\x04":
            raise _Unknown
        if member.compress_type == zipfile.ZIP_STORED:
            starts.append((member.header_offset + 30 + name + extra, None))
        if not flags & 0x08:
            # The CRC stands in this header, not after the data: the header changes with its own member
            # and must not spoil the chunk of the member before it.
            starts.append((member.header_offset, None))
    return [*starts, (directory, None)]


def _gguf(file: BinaryIO, size: int) -> list[tuple[int, int | None]]:
    file.seek(4)
    version, tensors, pairs = struct.unpack("<IQQ", _exactly(file, 20))
    if version not in (2, 3) or tensors > size or pairs > size:
        raise _Unknown
    alignment = _GGUF_ALIGNMENT
    for _ in range(pairs):
        key = _gguf_string(file, size)
        (kind,) = struct.unpack("<I", _exactly(file, 4))
        if key == b"general.alignment" and kind == 4:
            (alignment,) = struct.unpack("<I", _exactly(file, 4))
        else:
            _gguf_skip(file, kind, size)
    found: list[tuple[int, int | None]] = []
    for _ in range(tensors):
        _gguf_string(file, size)
        (dimensions,) = struct.unpack("<I", _exactly(file, 4))
        if dimensions > 8:
            raise _Unknown
        _exactly(file, 8 * dimensions)
        kind, offset = struct.unpack("<IQ", _exactly(file, 12))
        found.append((offset, _GGUF_WIDTHS.get(kind)))
    if not alignment:
        raise _Unknown
    data = -(-file.tell() // alignment) * alignment
    return [(data + offset, width) for offset, width in found]


def _gguf_skip(file: BinaryIO, kind: int, size: int) -> None:
    if kind == _GGUF_STRING:
        _gguf_string(file, size)
    elif kind == _GGUF_ARRAY:
        inner, count = struct.unpack("<IQ", _exactly(file, 12))
        if inner == _GGUF_ARRAY or count > size:
            raise _Unknown
        if inner == _GGUF_STRING:
            for _ in range(count):
                _gguf_string(file, size)
        else:
            file.seek(_GGUF_SCALARS[inner] * count, 1)
    else:
        _exactly(file, _GGUF_SCALARS[kind])


def _gguf_string(file: BinaryIO, size: int) -> bytes:
    (length,) = struct.unpack("<Q", _exactly(file, 8))
    if length > size:
        raise _Unknown
    return _exactly(file, length)


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError
    return data
