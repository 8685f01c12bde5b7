"""Read and write the header of a safetensors file, strictly: every byte of the data belongs to exactly one tensor.

Source: the format (github.com/huggingface/safetensors, README) and what its reader refuses (safetensors/src/tensor.rs,
`Metadata::validate`). cas/formats/tensor_files.py reads the same header to find boundaries; it has the same limits and
is lenient otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from cas.errors import FormatError
from cas.formats.runs import MAX_HEADER, MAX_TENSORS
from cas.formats.typed_json import JsonFormat

_Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]

_METADATA = "__metadata__"

# Bits per element. A type that is missing here belongs to a newer version of the format; the size of its tensors is
# not checked.
_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


class Tensor(NamedTuple):
    """A tensor as the header describes it.

    Attributes:
        name: the tensor's name.
        dtype: its element type, such as `F32`.
        shape: its extents.
        start: where its bytes begin, counted from the end of the header.
        end: where they end, counted likewise.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes of the tensor's data."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Header:
    """A whole header.

    Attributes:
        tensors: the tensors in the header's order, which may differ from the order of their bytes.
        metadata: the entries of `__metadata__`; None without it.
        data: where the tensors' bytes begin in the file.
    """

    tensors: tuple[Tensor, ...]
    metadata: dict[str, str] | None
    data: int


class _Entry(msgspec.Struct, frozen=True, gc=False):
    dtype: str
    shape: tuple[_Count, ...]
    data_offsets: tuple[_Count, _Count]


_HEADERS = JsonFormat[dict[str, Any]](dict[str, msgspec.Raw])
_METADATA_ENTRIES = JsonFormat[dict[str, str]](dict[str, str])
_ENTRIES = JsonFormat[_Entry](_Entry)


def length(first: bytes, size: int) -> int:
    """Bytes of the header and of the length before it.

    Args:
        first: the file's first 8 bytes.
        size: bytes of the whole file.

    Raises:
        FormatError: the header is longer than the file, or too long to be read.
    """
    claimed = int.from_bytes(first, "little")
    if len(first) != 8 or claimed > size - 8:
        raise FormatError("its header is longer than the file")
    if claimed > MAX_HEADER:
        raise FormatError(f"its header has {claimed} bytes, where at most {MAX_HEADER} are read")
    return 8 + claimed


def parse(head: bytes, size: int) -> Header:
    """The parsed header of a file.

    Args:
        head: the file's first bytes, as many as `length` returns.
        size: bytes of the whole file.

    Raises:
        FormatError: the header is malformed, or tensors overlap, leave gaps or do not fit their shapes.
    """
    text = memoryview(head)[8:]
    if head[8:9] != b"{" or head.count(b"{") > MAX_TENSORS:
        raise FormatError(f"its header is not one of safetensors with at most {MAX_TENSORS} tensors")
    metadata: dict[str, str] | None = None
    tensors = []
    try:
        for name, raw in _HEADERS.decode(text).items():
            if name == _METADATA:
                metadata = _METADATA_ENTRIES.decode(raw)
                continue
            entry = _ENTRIES.decode(raw)
            tensors.append(Tensor(name, entry.dtype, entry.shape, *entry.data_offsets))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(f"its header is malformed: {error}") from None
    _check(tensors, size - len(head))
    return Header(tuple(tensors), metadata, len(head))


def render(tensors: Iterable[Tensor], metadata: Mapping[str, str] | None) -> bytes:
    """The bytes of a file before its data: the length, and the header, padded with spaces to a multiple of 8."""
    header: dict[str, object] = {} if metadata is None else {_METADATA: metadata}
    for tensor in tensors:
        header[tensor.name] = _Entry(tensor.dtype, tensor.shape, (tensor.start, tensor.end))
    text = _HEADERS.encode(header)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def element_size(dtype: str) -> int:
    """Bytes of one element of a type; 1 for types that are smaller or unknown."""
    return max(1, _BITS.get(dtype, 8) // 8)


def _check(tensors: Iterable[Tensor], size: int) -> None:
    end = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start != end or tensor.end < end:
            raise FormatError(f"tensor {_shown(tensor)} begins at {tensor.start}, where {end} is free")
        end = tensor.end
        if tensor.dtype in _BITS and 8 * tensor.size != _bits(tensor):
            raise FormatError(f"tensor {_shown(tensor)} has {tensor.size} bytes, which is not its shape's size")
    if end != size:
        raise FormatError(f"its tensors take up {end} of {size} bytes")


def _bits(tensor: Tensor) -> int:
    count = _BITS[tensor.dtype]
    for extent in tensor.shape:
        count *= extent
        if count > 1 << 64:
            raise FormatError(f"the shape of tensor {_shown(tensor)} is impossibly large")
    return count


def _shown(tensor: Tensor) -> str:
    return ascii(tensor.name[:100])
