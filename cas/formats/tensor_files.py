"""Read just enough of safetensors, zip (torch, npz) and GGUF files to know where their tensors lie.

Sources: the safetensors format (github.com/huggingface/safetensors, README), APPNOTE.TXT 6.3.10 (zip), and ggml's
docs/gguf.md. Nothing here loads a tensor or unpickles anything. A file is untrusted: the bytes that are read of it are
bounded, whatever it claims.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple

import msgspec

from cas.formats.typed_json import JsonFormat

MAX_HEADER = 32 * 1024 * 1024
"""The most bytes that are read of a safetensors header, a zip's directory or a GGUF's key-value pairs (a vocabulary of
200,000 tokens takes 13 MiB). A file with more is cut every 8 MiB."""

MAX_TENSORS = 1 << 18
"""The most tensors that are read of a file. A file with more is cut every 8 MiB."""

_SAFETENSORS_WIDTHS = {
    "F64": 8, "I64": 8, "U64": 8, "C64": 4, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
}  # fmt: skip

_ZIP_TAIL = 22 + 65535  # the end record, and the longest comment after it
_ZIP64 = 0xFFFFFFFF  # in place of a value: the zip64 field holds it
_STORED = 0  # method of a member that is not compressed
_SIZES_FOLLOW = 0x08  # flag of a member: its sizes and CRC stand after its data

# ggml_type id of unquantised types -> bytes per element; the other types are blocks without a uniform element.
_GGUF_WIDTHS = {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2}
_GGUF_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_STRING, _GGUF_ARRAY = 8, 9
_GGUF_ALIGNMENT = 32


class Run(NamedTuple):
    """Bytes of a file that belong together: a tensor and its padding, or the bytes before the first tensor.

    Attributes:
        offset: where they begin in the file, in bytes.
        size: how many they are.
        width: bytes per element; None when the format does not tell.
        alone: they share no chunk with their neighbours.
    """

    offset: int
    size: int
    width: int | None
    alone: bool = False


class _Unknown(Exception):
    """The file is not of the format that it resembles, or is damaged."""


class _Tensor(msgspec.Struct, frozen=True, gc=False):
    """An entry of a safetensors header; the entry `__metadata__` has neither field."""

    dtype: str = ""
    data_offsets: tuple[int, int] = (0, 0)


_HEADERS = JsonFormat[dict[str, _Tensor]](dict[str, _Tensor])


def runs(file: BinaryIO, size: int) -> list[Run] | None:
    """The runs of a tensor file, which cover it from byte 0 to `size`; None when it is of no known format."""
    file.seek(0)
    magic = file.read(9)
    try:
        if magic[:4] == b"GGUF":
            starts = _gguf(file)
        elif magic[:4] == b"PK\x03\x04":
            starts = _zip(file, size)
        elif magic[8:] == b"{":
            starts = _safetensors(file, size)
        else:
            return None
        return _between(starts, size)
    except (_Unknown, msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, struct.error):
        return None


def _between(starts: Iterable[tuple[int, int | None]], size: int) -> list[Run]:
    """Runs from each start to the next, so that what follows a tensor (padding, a zip's records) stays with it."""
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
    length = int.from_bytes(_at(file, 0, 8), "little")
    if length > min(MAX_HEADER, size - 8):
        raise _Unknown
    text = _at(file, 8, length)
    if text.count(b"{") > MAX_TENSORS:
        raise _Unknown
    header = _HEADERS.decode(text)
    data = 8 + length
    return [
        (data + tensor.data_offsets[0], _SAFETENSORS_WIDTHS.get(tensor.dtype, 1))
        for tensor in header.values()
        if tensor.data_offsets[0] < tensor.data_offsets[1]  # an empty tensor would give its width to the next one
    ] or [(data, None)]


def _zip(file: BinaryIO, size: int) -> list[tuple[int, int | None]]:
    start, directory = _zip_directory(file, size)
    starts: list[tuple[int, int | None]] = [(start, None)]
    at = 0
    while at < len(directory):
        if len(starts) > MAX_TENSORS:
            raise _Unknown
        signature, method, unpacked, packed, name, extra, comment, member = struct.unpack_from(
            "<4s6xH8xIIHHH8xI", directory, at
        )
        if signature != b"PK\x01\x02":
            raise _Unknown
        if member == _ZIP64:
            fields = directory[at + 46 + name : at + 46 + name + extra]
            member = _zip64_offset(fields, (unpacked == _ZIP64) + (packed == _ZIP64))
        at += 46 + name + extra + comment
        signature, flags, name, extra = struct.unpack("<4s2xH18xHH", _at(file, member, 30))
        if signature != b"PK\x03\x04":
            raise _Unknown
        if method == _STORED:
            starts.append((member + 30 + name + extra, None))
        if not flags & _SIZES_FOLLOW:
            # The CRC stands in this header, not after the data. So the header changes with its own member, and must
            # not change the chunk of the member before it: it starts a run.
            starts.append((member, None))
    return starts


def _zip_directory(file: BinaryIO, size: int) -> tuple[int, bytes]:
    """Offset and bytes of the central directory (APPNOTE.TXT, sections 4.3.12 to 4.3.16)."""
    tail = _at(file, max(0, size - _ZIP_TAIL), min(size, _ZIP_TAIL))
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        raise _Unknown
    length, start = struct.unpack_from("<II", tail, end + 12)
    locator = end - 20
    if locator >= 0 and tail.startswith(b"PK\x06\x07", locator):
        (record,) = struct.unpack_from("<Q", tail, locator + 8)
        signature, length, start = struct.unpack("<4s36xQQ", _at(file, record, 56))
        if signature != b"PK\x06\x06":
            raise _Unknown
    if length > MAX_HEADER:
        raise _Unknown
    return start, _at(file, start, length)


def _zip64_offset(extra: bytes, before: int) -> int:
    """Where a member begins, from its zip64 field: the value after `before` other values (APPNOTE.TXT, 4.5.3)."""
    at = 0
    while True:
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            (offset,) = struct.unpack_from("<Q", extra, at + 4 + 8 * before)
            return int(offset)
        at += 4 + length


def _gguf(file: BinaryIO) -> list[tuple[int, int | None]]:
    # The header is parsed from memory, so that a hostile count runs into the header's end.
    file.seek(4)
    head = io.BytesIO(file.read(MAX_HEADER))
    version, tensors, pairs = struct.unpack("<IQQ", head.read(20))
    if version not in (2, 3) or tensors > MAX_TENSORS:
        raise _Unknown
    alignment = _GGUF_ALIGNMENT
    for _ in range(pairs):
        key = _gguf_string(head)
        (kind,) = struct.unpack("<I", head.read(4))
        if key == b"general.alignment" and kind == 4:
            (alignment,) = struct.unpack("<I", head.read(4))
        else:
            _gguf_skip(head, kind)
    found: list[tuple[int, int | None]] = []
    for _ in range(tensors):
        _gguf_string(head)
        (dimensions,) = struct.unpack("<I", head.read(4))
        head.seek(8 * dimensions, 1)
        kind, offset = struct.unpack("<IQ", head.read(12))
        found.append((offset, _GGUF_WIDTHS.get(kind)))
    if not alignment:
        raise _Unknown
    data = -(-(4 + head.tell()) // alignment) * alignment
    return [(data + offset, width) for offset, width in found]


def _gguf_skip(head: io.BytesIO, kind: int) -> None:
    if kind == _GGUF_STRING:
        _gguf_string(head)
    elif kind == _GGUF_ARRAY:
        inner, count = struct.unpack("<IQ", head.read(12))
        if inner == _GGUF_STRING:
            for _ in range(count):
                _gguf_string(head)
        else:
            _gguf_forward(head, _GGUF_SCALARS[inner] * count)
    else:
        _gguf_forward(head, _GGUF_SCALARS[kind])


def _gguf_string(head: io.BytesIO) -> bytes:
    (length,) = struct.unpack("<Q", head.read(8))
    if length > MAX_HEADER:
        raise _Unknown
    return head.read(length)


def _gguf_forward(head: io.BytesIO, size: int) -> None:
    if size > MAX_HEADER:
        raise _Unknown
    head.seek(size, 1)


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Exactly `size` bytes from `offset` on; raises _Unknown when the file is too short."""
    if offset >= 1 << 62:
        raise _Unknown  # larger than seek() accepts
    file.seek(offset)
    data = file.read(size)
    if len(data) != size:
        raise _Unknown
    return data
