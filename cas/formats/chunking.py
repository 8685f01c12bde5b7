"""Where a file is cut into chunks, so that unchanged bytes are the same chunks in the next version.

A file whose format names its tensors is cut at its tensors, however much the bytes before them grow or move. Any other
file is cut every 8 MiB. The content tells the format, not the file's name. A file that only resembles a known format is
cut every 8 MiB: boundaries save storage and traffic, and nothing is incorrect if they lie elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from cas.formats import tensor_files
from cas.formats.tensor_files import Run

CHUNK = 8 * 1024 * 1024
"""Plain bytes of the largest chunk written today."""

LARGE = 1024 * 1024
"""Bytes: a tensor of this size starts a chunk of its own; smaller neighbours share a chunk until it is this large."""


class Span(NamedTuple):
    """One future chunk of a file.

    Attributes:
        offset: where it begins in the file, in bytes.
        size: its bytes.
        width: bytes per element; None when the format does not tell.
    """

    offset: int
    size: int
    width: int | None


def spans(file: BinaryIO, size: int) -> list[Span]:
    """The future chunks of an open file of `size` bytes, in order and without gaps; none for an empty file."""
    runs = tensor_files.runs(file, size)
    if runs is None:
        return list(_every_8_mib(Run(0, size, None)))
    return list(_cut(runs))


def _cut(runs: Iterable[Run]) -> Iterator[Span]:
    group: list[Run] = []
    for run in runs:
        if run.alone or run.size >= LARGE:
            yield from _shared(group)
            group = []
            yield from _every_8_mib(run)
        else:
            group.append(run)
            if run.offset + run.size - group[0].offset >= LARGE:
                yield from _shared(group)
                group = []
    yield from _shared(group)


def _shared(group: list[Run]) -> Iterator[Span]:
    if group:
        widths = {run.width for run in group}
        first, last = group[0], group[-1]
        yield Span(first.offset, last.offset + last.size - first.offset, widths.pop() if len(widths) == 1 else None)


def _every_8_mib(run: Run) -> Iterator[Span]:
    end = run.offset + run.size
    for offset in range(run.offset, end, CHUNK):
        yield Span(offset, min(CHUNK, end - offset), run.width)
