"""Runs: which bytes of a file belong together. The readers of each kind of file say where runs begin.

A file is untrusted: the bytes that are read of it to find its runs are bounded, whatever it claims.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

LARGE = 1024 * 1024
"""Bytes: a tensor of this size starts a chunk of its own; smaller neighbours share a chunk until it is this large."""

MAX_HEADER = 32 * 1024 * 1024
"""The most bytes that are read of a safetensors header, a zip's directory or a GGUF's key-value pairs (a vocabulary of
200,000 tokens takes 13 MiB). A file with more is cut by its content."""

MAX_TENSORS = 1 << 18
"""The most tensors, members, key-value pairs of GGUF, fields of ONNX and records of a tar's extended headers that are
read of a file. A file with more is cut by its content. A tar's members count with the tar: those that come after the
last one that is read are cut by their content."""


class Unknown(Exception):
    """The file is not of the format that it resembles, or is damaged."""


class Budget:
    """How much more is read of a file; without it, a file of nothing but headers takes a second a mebibyte."""

    def __init__(self) -> None:
        self._left = MAX_TENSORS

    def take(self) -> None:
        """Count one more tensor, member, pair, field or record; raise Unknown when it is one too many."""
        if not self._left:
            raise Unknown
        self._left -= 1


class SeekableFile(Protocol):
    """What the readers need of a file."""

    def seek(self, offset: int, /) -> int:
        """Go to an offset."""

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes; fewer at the end."""


class CuttableFile(SeekableFile, Protocol):
    """A file that can be cut by its content."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from the file; return how many bytes there were."""


class Start(NamedTuple):
    """Where a run begins; it ends where the next one begins.

    Attributes:
        offset: in the file, in bytes.
        width: bytes per element; None when the format does not tell.
        alone: the run shares no chunk with its neighbours.
        by_content: the run's content is unknown, so it is cut by its content.
    """

    offset: int
    width: int | None
    alone: bool = False
    by_content: bool = False


class Run(NamedTuple):
    """Bytes of a file that belong together: a tensor and its padding, or the bytes before the first tensor.

    Attributes:
        offset: where they begin in the file, in bytes.
        size: how many they are.
        width: bytes per element; None when the format does not tell.
        alone: they share no chunk with their neighbours.
        by_content: they are cut by their content.
    """

    offset: int
    size: int
    width: int | None
    alone: bool = False
    by_content: bool = False


class Section:
    """A part of a file, read as a file: a member of a tar."""

    def __init__(self, file: SeekableFile, offset: int, size: int) -> None:
        """Read `size` bytes of `file` from `offset` on."""
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def seek(self, offset: int, /) -> int:
        """Go to an offset of the section."""
        self._at = offset
        return offset

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes; fewer at the section's end."""
        self._file.seek(self._offset + self._at)
        data = self._file.read(max(0, min(size, self._size - self._at)))
        self._at += len(data)
        return data


def between(starts: Iterable[Start], size: int) -> list[Run]:
    """Runs from each start to the next, so that what follows a tensor (padding, a zip's records) stays with it.

    Args:
        starts: in any order; the bytes before the first are a run of their own.
        size: bytes of the file.

    Raises:
        Unknown: a start lies outside the file, or there is none.
    """
    ordered = sorted({start.offset: start for start in starts}.values())
    if not ordered or ordered[0].offset < 0 or ordered[-1].offset > size:
        raise Unknown
    first = ordered[0].offset
    before = [Run(0, first, 1, alone=True)] if first else []
    ends = [start.offset for start in ordered[1:]] + [size]
    return before + [
        Run(start.offset, end - start.offset, *start[1:])
        for start, end in zip(ordered, ends, strict=True)
        if end > start.offset
    ]


def read_at(file: SeekableFile, offset: int, size: int) -> bytes:
    """Exactly `size` bytes from `offset` on; raises Unknown when the file is too short."""
    if not 0 <= offset < 1 << 62:
        raise Unknown  # larger than seek() accepts
    file.seek(offset)
    data = file.read(size)
    if len(data) != size:
        raise Unknown
    return data
