"""Where a file is cut into chunks, so that what did not change is the same chunk in the next version.

Formats that name their tensors are cut at tensors, whatever grew or moved before them; anything else
every 8 MiB. The format is told by content, not by name. A file that only looks like a known format
is cut every 8 MiB: boundaries are an economy, never a condition of correctness.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from cas.formats import tensor_files
from cas.formats.tensor_files import Run

CHUNK = 8 * 1024 * 1024
"""Plain bytes of the largest chunk written today."""

LARGE = 1024 * 1024
"""A tensor of this size starts a chunk of its own; smaller neighbours share one until it is this large."""


class Span(NamedTuple):
    """One chunk to be: its place in the file, and bytes per element (None: not told by the format)."""

    offset: int
    size: int
    width: int | None


def spans(file: BinaryIO, size: int) -> list[Span]:
    """The chunks of an open file of `size` bytes, in order and without gaps; none for an empty file."""
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
