"""Finds out which tensors differ between stored safetensors files: by chunks, and by bytes where chunks cannot tell.

A tensor that has chunks of its own is compared by the names of its chunks. Small tensors share a chunk. When a shared
chunk differs, it is fetched once, and the bytes of each of its tensors are compared by digest.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cas import events
from cas.formats import safetensors
from cas.formats.digest import hex_of
from cas.formats.frame import Codec
from cas.formats.manifest import ChunkRef
from cas.formats.safetensors import Header, Tensor
from cas.host import Limits
from cas.parallel import Pool, for_each
from cas.store.store import Store
from cas.store.stored_file import ChunkSlice, StoredFile


@dataclass(frozen=True, slots=True)
class TensorPair:
    """A tensor that differs.

    Attributes:
        before: the tensor in the first file; None when it was added.
        after: the tensor in the second file; None when it was removed.
    """

    before: Tensor | None
    after: Tensor | None

    @property
    def change(self) -> str:
        """`added`, `removed` or `changed`."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"

    @property
    def name(self) -> str:
        """The name of the tensor."""
        either = self.after or self.before
        assert either is not None, "a pair has a side"
        return either.name


@dataclass(frozen=True, slots=True)
class TensorDifferences:
    """What differs in a safetensors file.

    Attributes:
        pairs: the tensors that differ, in the order of the file's data.
        unchanged: how many tensors are the same.
        metadata: whether the header's `__metadata__` differs.
    """

    pairs: tuple[TensorPair, ...]
    unchanged: int
    metadata: bool


class TensorComparison:
    """Compares the tensors of several pairs of files, and fetches each chunk that must be read for that once.

    Call `add` for each pair of files, then `run` once, then `result` for each pair.
    """

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store, self._limits = store, limits
        self._codecs = Pool(Codec, limits.workers)
        self._files: dict[int, _Files] = {}
        self._digests: dict[ChunkSlice, str] = {}

    def add(self, number: int, before: Sequence[ChunkRef], after: Sequence[ChunkRef]) -> None:
        """Read the headers of a pair of files, and compare as much as chunk names tell.

        Args:
            number: what `result` will call this pair.
            before: the chunks of the first file.
            after: the chunks of the second file.

        Raises:
            FormatError: a file is no sound safetensors file.
        """
        old, new = (StoredFile(self._store, chunks, self._codecs) for chunks in (before, after))
        self._files[number] = _Files(old, _header(old), new, _header(new))

    def run(self, listen: events.Listener) -> None:
        """Fetch the chunks that decide about the remaining tensors; raise ChunkMissing or ChunkCorrupt."""
        wanted: dict[ChunkRef, set[ChunkSlice]] = {}
        for files in self._files.values():
            for slices in files.uncertain.values():
                for chunk_slice in (side for pair in slices for side in pair):
                    wanted.setdefault(chunk_slice.chunk, set()).add(chunk_slice)
        listen(events.Phase("compare", sum(chunk.size for chunk in wanted)))
        recording = threading.Lock()

        def read(chunk: ChunkRef) -> None:
            frame = self._store.get_frame(chunk)
            with self._codecs.acquire() as codec:
                plain = self._store.open_frame(chunk, frame, codec.decoder)
                found = {
                    chunk_slice: hex_of(plain[chunk_slice.start : chunk_slice.start + chunk_slice.size])
                    for chunk_slice in wanted[chunk]
                }
            with recording:
                self._digests.update(found)
            listen(events.Moved(chunk.size, len(frame)))

        if wanted:
            threads = min(self._limits.requests, len(wanted))
            for_each(read, wanted, threads=threads, cost=lambda chunk: chunk.size, budget=self._limits.budget)

    def result(self, number: int) -> TensorDifferences:
        """Return what differs in the pair of files that was added under that number."""
        files = self._files[number]
        changed = files.changed | {
            name
            for name, slices in files.uncertain.items()
            if any(self._digests[old] != self._digests[new] for old, new in slices)
        }
        old = {tensor.name: tensor for tensor in files.old_header.tensors}
        new = {tensor.name: tensor for tensor in files.new_header.tensors}
        pairs = [TensorPair(tensor, None) for name, tensor in old.items() if name not in new]
        pairs += [TensorPair(old.get(name), new[name]) for name in new if name in changed or name not in old]
        pairs.sort(key=_position)
        metadata = (files.old_header.metadata or {}) != (files.new_header.metadata or {})
        return TensorDifferences(tuple(pairs), len(old.keys() & new.keys()) - len(changed), metadata)


class _Files:
    """A pair of files.

    Attributes:
        old_header: the header of the first file.
        new_header: the header of the second file.
        changed: names of tensors that are known to differ.
        uncertain: for each tensor that chunk names cannot decide, the pairs of slices whose bytes decide.
    """

    def __init__(self, old: StoredFile, old_header: Header, new: StoredFile, new_header: Header) -> None:
        self.old_header, self.new_header = old_header, new_header
        self.changed: set[str] = set()
        self.uncertain: dict[str, list[tuple[ChunkSlice, ChunkSlice]]] = {}
        before = {tensor.name: tensor for tensor in old_header.tensors}
        for tensor in new_header.tensors:
            was = before.get(tensor.name)
            if was is None:
                continue
            if (was.dtype, was.shape, was.size) != (tensor.dtype, tensor.shape, tensor.size):
                self.changed.add(tensor.name)
                continue
            slices = [
                pair
                for pair in _side_by_side(
                    old.slices(old_header.data + was.start, was.size),
                    new.slices(new_header.data + tensor.start, tensor.size),
                )
                if pair[0] != pair[1]
            ]
            if any(_whole(a) and _whole(b) for a, b in slices):
                self.changed.add(tensor.name)
            elif slices:
                self.uncertain[tensor.name] = slices


def _header(file: StoredFile) -> Header:
    return safetensors.parse(file.safetensors_head(), file.size)


def _side_by_side(before: Iterator[ChunkSlice], after: Iterator[ChunkSlice]) -> Iterator[tuple[ChunkSlice, ChunkSlice]]:
    """Pair the same bytes of two tensors of one size. The slices of a pair each lie within one chunk."""
    old, new = next(before, None), next(after, None)
    while old is not None and new is not None:
        size = min(old.size, new.size)
        yield old._replace(size=size), new._replace(size=size)
        old = old._replace(start=old.start + size, size=old.size - size) if old.size > size else next(before, None)
        new = new._replace(start=new.start + size, size=new.size - size) if new.size > size else next(after, None)


def _whole(chunk_slice: ChunkSlice) -> bool:
    return chunk_slice.size == chunk_slice.chunk.size


def _position(pair: TensorPair) -> tuple[int, str]:
    either = pair.after or pair.before
    assert either is not None, "a pair has a side"
    return either.start, either.name
