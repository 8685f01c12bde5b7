"""Plans a cast: which files change, what their new headers are, and from which bytes each new chunk is made."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from cas.errors import FormatError
from cas.formats import chunking, safetensors
from cas.formats.chunking import CHUNK, Span
from cas.formats.frame import Codec
from cas.formats.manifest import Manifest, PlainFile, RepoFile
from cas.formats.safetensors import Header, Tensor
from cas.ops.derive.cast import FLOATS
from cas.ops.derive.variant import SUFFIX, Chunks
from cas.parallel import Pool
from cas.store.store import Store
from cas.store.stored_file import ByteRange, StoredFile

# The most tensors that all files may have together. Each takes some 500 bytes of memory.
_MAX_TENSORS = 1 << 19


class Piece(NamedTuple):
    """A run of one tensor's elements within a unit.

    Attributes:
        tensor: the tensor's index in the header.
        start: offset of the run in the original file.
        source: offset of the run in the unit's buffer of original bytes.
        source_size: its bytes there.
        target: offset of the run in the unit's buffer of new bytes.
        target_size: its bytes there.
    """

    tensor: int
    start: int
    source: int
    source_size: int
    target: int
    target_size: int


class Unit(NamedTuple):
    """Neighbouring chunks of the new file that are made together: at most 8 MiB, or one chunk.

    Attributes:
        file: the file that is cast.
        number: the unit's number among all units of the plan, from 0.
        start: offset of the unit in the new file.
        size: bytes of the unit in the new file.
        head: how many bytes at its beginning belong to the new header.
        spans: the chunks.
        pieces: the runs of tensors in it.
        source_size: bytes of the buffer for the original's pieces, each of which begins at a multiple of 8.
    """

    file: CastFile
    number: int
    start: int
    size: int
    head: int
    spans: tuple[Span, ...]
    pieces: tuple[Piece, ...]
    source_size: int

    @property
    def wanted(self) -> list[ByteRange]:
        """The ranges of the original file to read into the buffer of original bytes."""
        return [ByteRange(piece.start, piece.source_size, piece.source) for piece in self.pieces]


@dataclass(frozen=True, eq=False)
class CastFile:
    """A file that a cast changes.

    Attributes:
        name: its repo and path.
        original: the file as it is stored.
        header: the original's header.
        head: the bytes of the new header.
        tensors: the tensors of the new header, in the order of the original's header.
        size: bytes of the new file.
    """

    name: str
    original: StoredFile
    header: Header
    head: bytes
    tensors: tuple[Tensor, ...]
    size: int

    @property
    def cast_tensors(self) -> int:
        """How many of the file's tensors change their type."""
        return sum(old.dtype != new.dtype for old, new in zip(self.header.tensors, self.tensors, strict=True))


def plan_files(store: Store, manifest: Manifest, target: str, codecs: Pool[Codec]) -> dict[CastFile, Chunks]:
    """Return the files that a cast changes, each content once, with their original chunks.

    Args:
        store: where the original is.
        manifest: the original's manifest.
        target: the type to cast to: F16 or BF16.
        codecs: decode the chunks of headers.

    Raises:
        FormatError: a file's header is malformed, or there are more tensors than any model has.
    """
    found: dict[CastFile, Chunks] = {}
    tensors = 0
    for chunks, name in _castable(manifest).items():
        file = _plan_file(name, StoredFile(store, chunks, codecs), target)
        if file is not None:
            found[file] = chunks
            tensors += len(file.tensors)
        if tensors > _MAX_TENSORS:
            raise FormatError(f"the model has more than {_MAX_TENSORS} tensors, which is more than are cast at once")
    return found


def _plan_file(name: str, original: StoredFile, target: str) -> CastFile | None:
    """The plan for one file; None when nothing in the file changes."""
    try:
        head = original.safetensors_head()
        header = safetensors.parse(head, original.size)
        tensors = _laid_out(header, target)
        if all(old.dtype == new.dtype for old, new in zip(header.tensors, tensors, strict=True)):
            return None
        new_head = safetensors.render(tensors, header.metadata)
        safetensors.length(new_head[:8], len(new_head))
    except FormatError as error:
        raise FormatError(f"{name} cannot be cast: {error}; publish it again from a sound copy") from None
    size = len(new_head) + max((tensor.end for tensor in tensors), default=0)
    return CastFile(name, original, header, new_head, tensors, size)


def _castable(manifest: Manifest) -> dict[Chunks, str]:
    """The model's safetensors files by their chunks, each content once, with the name of its first file."""
    found: dict[Chunks, str] = {}
    for name, file in named_files(manifest):
        if name.endswith(SUFFIX):
            found.setdefault(file.chunks, name)
    return found


def named_files(manifest: Manifest) -> list[tuple[str, RepoFile | PlainFile]]:
    """Return every file with its name, which is repo and path, in the manifest's order."""
    named: list[tuple[str, RepoFile | PlainFile]] = [
        (f"{repo.repo_id}/{file.path}", file) for repo in manifest.repos for file in repo.files
    ]
    return named + [(file.path, file) for file in manifest.files]


def units(files: list[CastFile]) -> Iterator[Unit]:
    """Yield the units of all files, in the order of the new files' bytes."""
    number = 0
    for file in files:
        cutter = _Cutter(file)
        # A header that is not taken for one of safetensors: the data, by which a publish would cut, is not made yet.
        chunks = chunking.Cutter(io.BytesIO(file.head), file.size).spans(None)
        for spans in _grouped(chunks):
            yield cutter.unit(number, spans)
            number += 1


def _laid_out(header: Header, target: str) -> tuple[Tensor, ...]:
    """The tensors with their new types and offsets, in the header's order."""
    new = [_retyped(tensor, target) for tensor in header.tensors]
    data_order = sorted(range(len(new)), key=lambda index: (new[index].start, new[index].end))
    placed = _placed(new, data_order)
    if any(_aligned(old) and not _aligned(now) for old, now in zip(header.tensors, placed, strict=True)):
        # The widest types come first, as safetensors writes them: behind halved neighbours, wider elements would no
        # longer be aligned.
        placed = _placed(new, sorted(data_order, key=lambda index: -safetensors.element_size(new[index].dtype)))
    return placed


def _retyped(tensor: Tensor, target: str) -> Tensor:
    """The tensor with its new type and size, and its old start."""
    if tensor.dtype not in FLOATS:
        return tensor
    count = tensor.size // FLOATS[tensor.dtype]
    return tensor._replace(dtype=target, end=tensor.start + count * FLOATS[target])


def _placed(tensors: list[Tensor], order: list[int]) -> tuple[Tensor, ...]:
    """The tensors in their own order, with their data laid end to end in the order of these indexes."""
    placed = list(tensors)
    at = 0
    for index in order:
        size = tensors[index].size
        placed[index] = tensors[index]._replace(start=at, end=at + size)
        at += size
    return tuple(placed)


def _aligned(tensor: Tensor) -> bool:
    return not tensor.size or tensor.start % safetensors.element_size(tensor.dtype) == 0


class _Cutter:
    """Finds out which pieces of which tensors a unit of a file consists of."""

    def __init__(self, file: CastFile) -> None:
        self._file = file
        tensors = file.tensors
        data_order = sorted(range(len(tensors)), key=lambda index: tensors[index].start)
        self._order = [index for index in data_order if tensors[index].size]
        self._ends = [tensors[index].end for index in self._order]

    def unit(self, number: int, spans: tuple[Span, ...]) -> Unit:
        """Return the unit that consists of these neighbouring chunks."""
        file, begin = self._file, spans[0].offset
        size = spans[-1].offset + spans[-1].size - begin
        head = max(0, min(len(file.head) - begin, size))
        first, last = begin + head - len(file.head), begin + size - len(file.head)
        pieces: list[Piece] = []
        source_size = 0
        for index in islice(self._order, bisect_right(self._ends, first), None):
            if file.tensors[index].start >= last:
                break
            pieces.append(self._piece(index, first, last, source_size, len(file.head) - begin))
            source_size += -(-pieces[-1].source_size // 8) * 8
        return Unit(file, number, begin, size, head, spans, tuple(pieces), source_size)

    def _piece(self, index: int, first: int, last: int, source: int, target: int) -> Piece:
        """The piece of a tensor between the bytes `first` and `last` of the new data.

        Args:
            index: the tensor's index in the header.
            first: where the unit begins in the new data.
            last: where it ends.
            source: offset of the piece in the buffer of original bytes.
            target: where the new data begins in the buffer of new bytes; negative when that was before the unit.
        """
        old, new = self._file.header.tensors[index], self._file.tensors[index]
        begin, end = max(first, new.start), min(last, new.end)
        # Chunks begin at a tensor, or at a multiple of 8 MiB from there, unless `chunking.spans` took the file for one
        # of another format.
        if old.dtype != new.dtype and ((begin - new.start) % 2 or (end - new.start) % 2):
            raise FormatError(f"{self._file.name} cannot be cast: its header is read as another format's")
        start, size = ((begin - new.start) * old.size // new.size, (end - begin) * old.size // new.size)
        return Piece(index, self._file.header.data + old.start + start, source, size, target + begin, end - begin)


def _grouped(spans: Iterable[Span]) -> Iterator[tuple[Span, ...]]:
    """Put small neighbouring chunks together: tensors that share an original chunk then fetch it once."""
    group: list[Span] = []
    for span in spans:
        if group and span.offset + span.size - group[0].offset > CHUNK:
            yield tuple(group)
            group = []
        group.append(span)
    if group:
        yield tuple(group)
