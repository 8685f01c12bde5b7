"""Which bytes of which chunk go to which tensor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cas.formats.manifest import ChunkRef
from cas.ops.tensors.files import TensorFile


class Piece(NamedTuple):
    """A part of a chunk that is a part of a tensor.

    Attributes:
        tensor: index of the tensor, counted over all files.
        offset: of the first byte in the tensor.
        start: of the first byte in the chunk.
        size: bytes.
        is_chunk: whether it is all of the chunk.
    """

    tensor: int
    offset: int
    start: int
    size: int
    is_chunk: bool


class TensorFetch(NamedTuple):
    """A chunk to fetch, once, and its pieces.

    Attributes:
        chunk: digest and plain size.
        destinations: the pieces.
    """

    chunk: ChunkRef
    destinations: tuple[Piece, ...]


def plan_fetches(files: Iterable[TensorFile]) -> list[TensorFetch]:
    """Return the chunks that hold the wanted tensors, in the order of the files, each once."""
    pieces: dict[ChunkRef, list[Piece]] = {}
    number = 0
    for file in files:
        for tensor in file.tensors:
            offset = 0
            for chunk, start, size in file.stored.slices(file.header.data + tensor.start, tensor.size):
                pieces.setdefault(chunk, []).append(Piece(number, offset, start, size, size == chunk.size))
                offset += size
            number += 1
    return [TensorFetch(chunk, tuple(of_chunk)) for chunk, of_chunk in pieces.items()]


def decoded_in_place(pieces: Sequence[Piece]) -> Piece | None:
    """Return the piece in whose memory a chunk is decoded; None when every piece is copied."""
    return next((piece for piece in pieces if piece.is_chunk), None)
