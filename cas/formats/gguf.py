"""Find the tensors of a GGUF file, versions 2 and 3 (source: ggml's docs/gguf.md)."""

from __future__ import annotations

import io
import struct

from cas.formats.runs import MAX_HEADER, Budget, SeekableFile, Start, Unknown

# ggml_type id of unquantised types -> bytes per element; the other types are blocks without a uniform element.
_WIDTHS = {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2}
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_ALIGNMENT = 32


def starts(file: SeekableFile, budget: Budget) -> list[Start]:
    """Where the tensors' data begin.

    Args:
        file: the file.
        budget: how many key-value pairs and tensors are read.

    Raises:
        Unknown, struct.error, KeyError: the header is malformed, longer than is read, or has too many pairs or tensors.
    """
    # The header is parsed from memory, so that a hostile count runs into the header's end.
    file.seek(4)
    head = io.BytesIO(file.read(MAX_HEADER))
    version, tensors, pairs = struct.unpack("<IQQ", head.read(20))
    if version not in (2, 3):
        raise Unknown
    alignment = _ALIGNMENT
    for _ in range(pairs):
        budget.take()
        key = _read_string(head)
        (kind,) = struct.unpack("<I", head.read(4))
        if key == b"general.alignment" and kind == 4:
            (alignment,) = struct.unpack("<I", head.read(4))
        else:
            _skip(head, kind)
    found: list[Start] = []
    for _ in range(tensors):
        budget.take()
        _read_string(head)
        (dimensions,) = struct.unpack("<I", head.read(4))
        head.seek(8 * dimensions, 1)
        kind, offset = struct.unpack("<IQ", head.read(12))
        found.append(Start(offset, _WIDTHS.get(kind)))
    if not alignment:
        raise Unknown
    data = -(-(4 + head.tell()) // alignment) * alignment
    return [Start(data + start.offset, start.width) for start in found]


def _skip(head: io.BytesIO, kind: int) -> None:
    if kind == _STRING:
        _read_string(head)
    elif kind == _ARRAY:
        inner, count = struct.unpack("<IQ", head.read(12))
        if inner == _STRING:
            for _ in range(count):
                _read_string(head)
        else:
            _forward(head, _SCALARS[inner] * count)
    else:
        _forward(head, _SCALARS[kind])


def _read_string(head: io.BytesIO) -> bytes:
    (length,) = struct.unpack("<Q", head.read(8))
    if length > MAX_HEADER:
        raise Unknown
    return head.read(length)


def _forward(head: io.BytesIO, size: int) -> None:
    if size > MAX_HEADER:
        raise Unknown
    head.seek(size, 1)
