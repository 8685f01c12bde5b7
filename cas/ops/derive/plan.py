"""What a cast will do to a model: which files change, their new headers, and which bytes each new chunk comes from."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator
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

# Of all files together: each takes some 500 bytes of memory.
_MAX_TENSORS = 1 << 19


class Piece(NamedTuple):
    """A run of one tensor's elements within a unit. tensor: its place in the header.

    start: in the original file. source, target: in the unit's buffers, of so many bytes.
    """

    tensor: int
    start: int
    source: int
    source_size: int
    target: int
    target_size: int


class Unit(NamedTuple):
    """Neighbouring chunks of the new file that are made at once: 8 MiB at most, or one chunk.

    number: counts all units of a plan. start: in the new file. head: bytes of its header at the beginning.
    source_size: bytes of the original that it takes, with room to align each piece.
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
        """What to read of the original."""
        return [ByteRange(piece.start, piece.source_size, piece.source) for piece in self.pieces]


@dataclass(frozen=True, eq=False)
class CastFile:
    """A file that changes.

    name: its repo and path. original, header: the stored file and its header. head: the new header's bytes.
    tensors: as the new header has them, in the old one's order. size: bytes of the new file.
    """

    name: str
    original: StoredFile
    header: Header
    head: bytes
    tensors: tuple[Tensor, ...]
    size: int

    @property
    def cast_tensors(self) -> int:
        """How many of its tensors change their type."""
        return sum(old.dtype != new.dtype for old, new in zip(self.header.tensors, self.tensors, strict=True))


def plan_files(store: Store, manifest: Manifest, target: str, codecs: Pool[Codec]) -> dict[CastFile, Chunks]:
    """The files that change when a model is cast to `target` (F16 or BF16), each content once, with its chunks.

    Raises FormatError when a file's header is malformed, or there are more tensors than any model has.
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
    """How one is cast; None when nothing in it changes."""
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
    """Every file with its repo and path, in the manifest's order."""
    named: list[tuple[str, RepoFile | PlainFile]] = [
        (f"{repo.repo_id}/{file.path}", file) for repo in manifest.repos for file in repo.files
    ]
    return named + [(file.path, file) for file in manifest.files]


def units(files: list[CastFile]) -> Iterator[Unit]:
    """All the work in the order of the new files' bytes."""
    number = 0
    for file in files:
        cutter = _Cutter(file)
        for spans in _grouped(chunking.spans(io.BytesIO(file.head), file.size)):
            yield cutter.unit(number, spans)
            number += 1


def _laid_out(header: Header, target: str) -> tuple[Tensor, ...]:
    """The tensors with their new types and places, in the header's order."""
    new = [_renamed(tensor, target) for tensor in header.tensors]
    in_place = sorted(range(len(new)), key=lambda index: (new[index].start, new[index].end))
    placed = _placed(new, in_place)
    if any(_aligned(old) and not _aligned(now) for old, now in zip(header.tensors, placed, strict=True)):
        # The widest first, as safetensors writes them: halved neighbours would leave wider elements at odd places.
        placed = _placed(new, sorted(in_place, key=lambda index: -safetensors.element_size(new[index].dtype)))
    return placed


def _renamed(tensor: Tensor, target: str) -> Tensor:
    """`tensor` with its new type and size, where it was."""
    if tensor.dtype not in FLOATS:
        return tensor
    count = tensor.size // FLOATS[tensor.dtype]
    return tensor._replace(dtype=target, end=tensor.start + count * FLOATS[target])


def _placed(tensors: list[Tensor], order: list[int]) -> tuple[Tensor, ...]:
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
    """Finds the tensors of a file's chunks."""

    def __init__(self, file: CastFile) -> None:
        self._file = file
        tensors = file.tensors
        in_place = sorted(range(len(tensors)), key=lambda index: tensors[index].start)
        self._order = [index for index in in_place if tensors[index].size]
        self._ends = [tensors[index].end for index in self._order]

    def unit(self, number: int, spans: tuple[Span, ...]) -> Unit:
        """The unit of neighbouring chunks."""
        file, begin = self._file, spans[0].offset
        size = spans[-1].offset + spans[-1].size - begin
        head = max(0, min(len(file.head) - begin, size))
        first, last = begin + head - len(file.head), begin + size - len(file.head)
        pieces: list[Piece] = []
        room = 0
        for index in islice(self._order, bisect_right(self._ends, first), None):
            if file.tensors[index].start >= last:
                break
            pieces.append(self._piece(index, first, last, room, len(file.head) - begin))
            room += -(-pieces[-1].source_size // 8) * 8
        return Unit(file, number, begin, size, head, spans, tuple(pieces), room)

    def _piece(self, index: int, first: int, last: int, source: int, target: int) -> Piece:
        """The part of a tensor from byte `first` of the new data to `last`."""
        old, new = self._file.header.tensors[index], self._file.tensors[index]
        begin, end = max(first, new.start), min(last, new.end)
        # Chunks begin at tensors, or 8 MiB and its multiples from there, unless `spans` takes the file for another.
        if old.dtype != new.dtype and ((begin - new.start) % 2 or (end - new.start) % 2):
            raise FormatError(f"{self._file.name} cannot be cast: its header is read as another format's")
        start, size = ((begin - new.start) * old.size // new.size, (end - begin) * old.size // new.size)
        return Piece(index, self._file.header.data + old.start + start, source, size, target + begin, end - begin)


def _grouped(spans: list[Span]) -> Iterator[tuple[Span, ...]]:
    """Small chunks together: tensors that share an original chunk then fetch it once."""
    group: list[Span] = []
    for span in spans:
        if group and span.offset + span.size - group[0].offset > CHUNK:
            yield tuple(group)
            group = []
        group.append(span)
    if group:
        yield tuple(group)
