"""Find the large tensors of an ONNX file: the raw data of each starts a run.

Sources: onnx/onnx.proto (github.com/onnx/onnx) for the fields, protobuf.dev/programming-guides/encoding for their
encoding. ONNX has no magic: a file is taken for ONNX when it consists of fields of a model to its last byte, and its
graph has a large tensor. What lies between large tensors (nodes, names, small tensors) is cut by its content, unless it
is no more than the next tensor's name and shape: that stays with the tensor before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cas.formats.runs import LARGE, Budget, SeekableFile, Start, Unknown, read_at

_SMALL = 256  # bytes between two tensors that are no chunk of their own, which would cost a restore a request
_VARINT, _BYTES = 0, 2  # wire types; ONNX uses no other for the messages that are read here
_MODEL = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26))
_GRAPH, _INITIALIZER = 7, 5  # field numbers: of the graph in a model, of a tensor in a graph
_DATA_TYPE = 2  # field of a tensor: a number of TensorProto.DataType
_DATA = {4: 4, 9: None, 10: 8}  # fields of a tensor with its data: float_data, raw_data, double_data -> their widths
# TensorProto.DataType -> bytes per element; types of 1 byte and less have no planes.
_WIDTHS = {
    1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 4, 15: 8, 16: 2,
    17: 1, 18: 1, 19: 1, 20: 1, 21: 1, 22: 1, 23: 1,
}  # fmt: skip


class _Field(NamedTuple):
    """A field of a message: its number, and its value, or where its bytes begin and end in the file."""

    number: int
    value: int
    begin: int
    end: int


def starts(file: SeekableFile, size: int, budget: Budget) -> list[Start]:
    """Where the large tensors' data begin and end.

    Args:
        file: the file.
        size: its bytes.
        budget: how many fields are read: a node is one, a large tensor has some five.

    Raises:
        Unknown: the file is no ONNX model, has too many fields, or no large tensor.
    """
    reader = _Fields(file, budget)
    found = [Start(0, None, alone=True, by_content=True)]
    for field in reader.within(0, size):
        if field.number not in _MODEL:
            raise Unknown
        if field.number == _GRAPH:
            for member in reader.within(field.begin, field.end):
                if member.number == _INITIALIZER and member.end - member.begin >= LARGE:
                    found += _data_of(reader, member)
    if len(found) == 1:
        raise Unknown
    ends = [start.offset for start in found[1:]] + [size]
    return [
        start
        for start, end in zip(found, ends, strict=True)
        if not start.offset or not start.by_content or end - start.offset > _SMALL
    ]


def _data_of(reader: _Fields, tensor: _Field) -> Iterator[Start]:
    width = None
    for field in reader.within(tensor.begin, tensor.end):
        if field.number == _DATA_TYPE:
            width = _WIDTHS.get(field.value)
        elif field.number in _DATA and field.end - field.begin >= LARGE:
            yield Start(field.begin, _DATA[field.number] or width)
            yield Start(field.end, None, alone=True, by_content=True)


class _Fields:
    """Reads fields of messages."""

    def __init__(self, file: SeekableFile, budget: Budget) -> None:
        self._file, self._budget = file, budget

    def within(self, at: int, end: int) -> Iterator[_Field]:
        """Yield the fields of the message between these offsets; raise Unknown unless they fill it."""
        while at < end:
            self._budget.take()
            head = read_at(self._file, at, min(20, end - at))  # two varints have at most 10 bytes each
            key, used = _varint(head, 0)
            value, used = _varint(head, used)
            begin = at + used
            if key & 7 == _BYTES:
                at = begin + value
            elif key & 7 == _VARINT:
                at = begin
            else:
                raise Unknown
            if at > end or not key >> 3:
                raise Unknown
            yield _Field(key >> 3, value, begin, at)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and the offset behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Unknown
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Unknown
