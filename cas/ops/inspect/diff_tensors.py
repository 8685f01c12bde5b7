"""Which tensors differ between stored safetensors files: by their chunks, and by bytes where chunks cannot tell.

A tensor of its own chunks is compared by their names. Small tensors share a chunk; when that differs, it is fetched,
once, and the bytes of each are compared by digest.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cas import events
from cas.config import Limits
from cas.formats import safetensors
from cas.formats.digest import hex_of
from cas.formats.frame import Codec
from cas.formats.manifest import ChunkRef
from cas.formats.safetensors import Header, Tensor
from cas.parallel import Pool, for_each
from cas.store.store import Store
from cas.store.stored_file import ChunkSlice, StoredFile


@dataclass(frozen=True, slots=True)
class TensorPair:
    """A tensor that differs: before and after, None on the side that has it not."""

    before: Tensor | None
    after: Tensor | None

    @property
    def change(self) -> str:
        """`added`, `removed` or `changed`."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"

    @property
    def name(self) -> str:
        """The tensor's."""
        either = self.after or self.before
        assert either is not None, "a pair has a side"
        return either.name


@dataclass(frozen=True, slots=True)
class Tensors:
    """What differs in a file. pairs: in the order of its data. metadata: whether the header's `__metadata__` does."""

    pairs: tuple[TensorPair, ...]
    unchanged: int
    metadata: bool


class TensorComparison:
    """Compares files that differ, each chunk that must be read for that being fetched once."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store, self._limits = store, limits
        self._codecs = Pool(Codec, limits.workers)
        self._files: dict[int, _Files] = {}
        self._digests: dict[ChunkSlice, str] = {}

    def add(self, number: int, before: Sequence[ChunkRef], after: Sequence[ChunkRef]) -> None:
        """Takes on a pair of files under a number; raises FormatError when one is no sound safetensors file."""
        old, new = (StoredFile(self._store, chunks, self._codecs) for chunks in (before, after))
        self._files[number] = _Files(old, _header(old), new, _header(new))

    def run(self, listen: events.Listener) -> None:
        """Fetches what is needed to tell the rest; raises ChunkMissing, ChunkCorrupt."""
        wanted: dict[ChunkRef, set[ChunkSlice]] = {}
        for files in self._files.values():
            for pieces in files.unsure.values():
                for piece in (one for both in pieces for one in both):
                    wanted.setdefault(piece.chunk, set()).add(piece)
        listen(events.Phase("compare", sum(chunk.size for chunk in wanted)))
        noting = threading.Lock()

        def read(chunk: ChunkRef) -> None:
            frame = self._store.get_frame(chunk)
            with self._codecs.acquire() as codec:
                plain = self._store.open_frame(chunk, frame, codec.decoder)
                found = {one: hex_of(plain[one.start : one.start + one.size]) for one in wanted[chunk]}
            with noting:
                self._digests.update(found)
            listen(events.Moved(chunk.size, len(frame)))

        if wanted:
            threads = min(self._limits.requests, len(wanted))
            for_each(read, wanted, threads=threads, cost=lambda chunk: chunk.size, budget=self._limits.budget)

    def result(self, number: int) -> Tensors:
        """What differs in the pair of that number."""
        files = self._files[number]
        changed = files.changed | {
            name
            for name, pieces in files.unsure.items()
            if any(self._digests[old] != self._digests[new] for old, new in pieces)
        }
        old = {tensor.name: tensor for tensor in files.old_header.tensors}
        new = {tensor.name: tensor for tensor in files.new_header.tensors}
        pairs = [TensorPair(tensor, None) for name, tensor in old.items() if name not in new]
        pairs += [TensorPair(old.get(name), new[name]) for name in new if name in changed or name not in old]
        pairs.sort(key=_place)
        metadata = (files.old_header.metadata or {}) != (files.new_header.metadata or {})
        return Tensors(tuple(pairs), len(old.keys() & new.keys()) - len(changed), metadata)


class _Files:
    """Two files. changed: tensors known to differ. unsure: pieces of those that only their bytes can tell."""

    def __init__(self, old: StoredFile, old_header: Header, new: StoredFile, new_header: Header) -> None:
        self.old_header, self.new_header = old_header, new_header
        self.changed: set[str] = set()
        self.unsure: dict[str, list[tuple[ChunkSlice, ChunkSlice]]] = {}
        before = {tensor.name: tensor for tensor in old_header.tensors}
        for tensor in new_header.tensors:
            was = before.get(tensor.name)
            if was is None:
                continue
            if (was.dtype, was.shape, was.size) != (tensor.dtype, tensor.shape, tensor.size):
                self.changed.add(tensor.name)
                continue
            pieces = [
                both
                for both in _side_by_side(
                    old.slices(old_header.data + was.start, was.size),
                    new.slices(new_header.data + tensor.start, tensor.size),
                )
                if both[0] != both[1]
            ]
            if any(_whole(a) and _whole(b) for a, b in pieces):
                self.changed.add(tensor.name)
            elif pieces:
                self.unsure[tensor.name] = pieces


def _header(file: StoredFile) -> Header:
    return safetensors.parse(file.safetensors_head(), file.size)


def _side_by_side(before: Iterator[ChunkSlice], after: Iterator[ChunkSlice]) -> Iterator[tuple[ChunkSlice, ChunkSlice]]:
    """The same bytes of two tensors of one size, each pair within a chunk on either side."""
    old, new = next(before, None), next(after, None)
    while old is not None and new is not None:
        size = min(old.size, new.size)
        yield old._replace(size=size), new._replace(size=size)
        old = old._replace(start=old.start + size, size=old.size - size) if old.size > size else next(before, None)
        new = new._replace(start=new.start + size, size=new.size - size) if new.size > size else next(after, None)


def _whole(piece: ChunkSlice) -> bool:
    return piece.size == piece.chunk.size


def _place(pair: TensorPair) -> tuple[int, str]:
    either = pair.after or pair.before
    assert either is not None, "a pair has a side"
    return either.start, either.name
