"""Where a file is cut into chunks, so that unchanged bytes are the same chunks in the next version.

A file whose format names its tensors or members is cut there, however much the bytes before them grow or move. Bytes of
which no format tells anything are cut by their content. The content tells the format, not the file's name. A file that
only resembles a known format is cut by its content: boundaries save storage and traffic, and nothing is incorrect if
they lie elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cas.formats import tensor_files
from cas.formats.runs import LARGE, CuttableFile, Run

CHUNK = 8 * 1024 * 1024
"""Plain bytes of the largest chunk written today."""


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


class Cutter:
    """Cuts one file. Its headers are read at once; bytes to be cut by their content are read while they are cut.

    Attributes:
        runs: the runs of the file.
    """

    def __init__(self, file: CuttableFile, size: int) -> None:
        """Read the headers of an open file of `size` bytes."""
        found = tensor_files.runs(file, size)
        self.runs = [Run(0, size, None, by_content=True)] if found is None else found

    @property
    def by_content(self) -> bool:
        """Whether the file must be read to know its chunks."""
        return any(run.by_content and run.size > CHUNK for run in self.runs)

    def spans(self, file: CuttableFile | None) -> Iterator[Span]:
        """Yield the future chunks in order and without gaps; none for an empty file.

        Args:
            file: the open file; None to cut every 8 MiB what its content would tell, which gives the fewest chunks
                that there can be.
        """
        return _cut(file, self.runs)


def spans(file: CuttableFile, size: int) -> Iterator[Span]:
    """Yield the future chunks of an open file of `size` bytes, in order and without gaps; none for an empty file."""
    return Cutter(file, size).spans(file)


def _cut(file: CuttableFile | None, runs: Iterable[Run]) -> Iterator[Span]:
    group: list[Run] = []
    for run in runs:
        if run.by_content or run.alone or run.size >= LARGE:
            yield from _shared(group)
            group = []
            yield from _every_8_mib(run) if file is None or not run.by_content else _by_content(file, run)
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


def _by_content(file: CuttableFile, run: Run) -> Iterator[Span]:
    from cas.formats import content_cuts

    offset = run.offset
    for size in content_cuts.cuts(file, run.offset, run.size):
        yield Span(offset, size, run.width)
        offset += size
