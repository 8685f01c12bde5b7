"""Tensor files whose headers shall cost their reader time or memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping

from cas.formats import chunking

_MANY = 2 << 20  # more tensors than are read, in a header that is short enough to be read
_ENTRY = b'{"dtype":"U8","data_offsets":[0,1]}'
_ALIGNMENT_0 = struct.pack("<Q17sII", 17, b"general.alignment", 4, 0)
_LOCATOR = struct.pack("<4sIQI", b"PK\6\7", 0, 2**64 - 1, 1)


def _safetensors(header: bytes, claimed: int | None = None) -> bytes:
    return (len(header) if claimed is None else claimed).to_bytes(8, "little") + header + bytes(100)


def _entries(count: int, entry: bytes) -> bytes:
    return b"{%s}" % b",".join(b'"%x":%s' % (at, entry) for at in range(count))


def _gguf(tensors: int, pairs: int, rest: bytes) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", 3, tensors, pairs) + rest


def _array(inner: int, count: int) -> bytes:
    return struct.pack("<Q1sIIQ", 1, b"k", 9, inner, count)


def _tar(size: bytes, kind: bytes = b"0") -> bytes:
    head = bytearray(b"a".ljust(124, b"\0") + size.ljust(12, b"\0") + bytes(12) + b" " * 8 + kind)
    head += bytes(100) + b"ustar\x0000" + bytes(247)
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def _zip(members: int, start: int = 0, length: int | None = None) -> bytes:
    local = b"PK\3\4" + bytes(26)
    entry = struct.pack("<4s38xI", b"PK\1\2", start)
    size = len(entry) * members if length is None else length
    return local + entry * members + struct.pack("<4s8xIIH", b"PK\5\6", size, len(local), 0)


CASES: Mapping[str, Callable[[], bytes]] = {
    "safetensors: 100 MB of nesting": lambda: _safetensors(b'{"a":' + b"[" * 100_000_000),
    "safetensors: 30 MB of nesting": lambda: _safetensors(b'{"a":' + b"[" * 30_000_000),
    "safetensors: nested objects": lambda: _safetensors(b'{"a":' * (_MANY // 5)),
    "safetensors: too many empty entries": lambda: _safetensors(_entries(_MANY, b"{}")),
    "safetensors: 200,000 tensors in one place": lambda: _safetensors(_entries(200_000, _ENTRY)),
    "safetensors: header longer than the file": lambda: _safetensors(b"{}", 2**63),
    "gguf: 2^60 strings": lambda: _gguf(1, 1, _array(8, 2**60) + bytes(40 << 20)),
    "gguf: 2^60 numbers": lambda: _gguf(1, 1, _array(4, 2**60) + bytes(1000)),
    "gguf: 2^60 arrays": lambda: _gguf(1, 1, _array(9, 2**60) + bytes(1000)),
    "gguf: 2^60 keys": lambda: _gguf(1, 2**60, bytes(40 << 20)),
    "gguf: 2^60 tensors": lambda: _gguf(2**60, 0, bytes(40 << 20)),
    "gguf: as many tensors as fit": lambda: _gguf(1 << 18, 0, bytes(24 << 18)),
    "gguf: too many tensors": lambda: _gguf(1 << 20, 0, bytes(24 << 20)),
    "gguf: an alignment of 0": lambda: _gguf(1, 1, _ALIGNMENT_0 + bytes(1000)),
    "gguf: a string of 2^63 bytes": lambda: _gguf(1, 1, struct.pack("<Q", 2**63) + bytes(1000)),
    "tar: as many members as fit": lambda: _tar(b"0") * (1 << 17),
    "tar: a member of 2^87 bytes": lambda: _tar(b"\x80" + b"\xff" * 11) + bytes(100),
    "tar: a member of no size": lambda: _tar(b"-7") + bytes(100),
    "tar: an extended header of 30 MB": lambda: _tar(b"%o" % (30 << 20), b"x") + b"5 a=b" * (6 << 20) + bytes(512),
    "tar: an extended header of 2^200 bytes": lambda: _tar(b"512", b"x") + (b"9" * 19 + b" size=9").ljust(512, b"9"),
    "onnx: 2^20 fields": lambda: b"\x08\x01" * (1 << 21),
    "onnx: a graph longer than the file": lambda: b"\x3a" + b"\xff" * 8 + b"\x7f" + bytes(100),
    "onnx: a number without an end": lambda: b"\xff" * 100,
    "zip: as many members as fit": lambda: _zip(1 << 18),
    "zip: too many members": lambda: _zip(1 << 19),
    "zip: a zip64 record beyond any file": lambda: _zip(1)[:-22] + _LOCATOR + _zip(1)[-22:],
    "zip: a directory longer than the file": lambda: _zip(1, length=0xFFFFFFF0),
    "zip: a member beyond the file": lambda: _zip(2, start=0xFFFFFFF0),
}  # fmt: skip


def cut(path: str) -> None:
    """Cut a file, and fail unless the chunks cover it."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        covered = sum(span.size for span in chunking.spans(file, size))
    assert covered == size
