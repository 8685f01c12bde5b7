"""Large sets of chunks in little memory: cut into 256 shards by the first byte of the digest, like the store's folders.

    add     collect records in memory; once they take 8 MiB, append those of each shard to a file without a name
    read    one shard at a time: what the file has of it, and what is in memory

A collector compares its sets (what is live, listed, condemned) shard by shard, so at any time it has 1/256 of each in
memory. The file lies in the directory for temporary files (TMPDIR). Where that is missing or full, the records stay in
memory. The system removes a file without a name when the process ends, however that happens.
"""

from __future__ import annotations

import datetime
import struct
import tempfile
import weakref
from collections.abc import Collection, Iterable, Iterator
from typing import BinaryIO, NamedTuple, cast

from cas.bucket import Entry
from cas.errors import CacheError
from cas.local.fs import read_at, write_all

SHARDS = range(256)
"""The numbers of the shards: the first bytes of digests."""

_DIGEST = 32  # bytes
_MEMORY = 8 * 1024 * 1024  # bytes of records in memory before they are written to the file
_SMALLEST_COMPACTION = 64 * 1024 * 1024  # bytes of a file that is not looked at for duplicates
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


class Shards:
    """Records of one size, each of which begins with a digest; used by one thread at a time."""

    def __init__(self, width: int = _DIGEST) -> None:
        """Make an empty set. width: bytes of a record."""
        self._width = width
        self._recent = [bytearray() for _ in SHARDS]
        self._file: BinaryIO | None = None
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in SHARDS]  # offset and size of each, in the file
        self._in_memory = self._in_file = 0  # bytes
        self._spills = True

    def add(self, records: Collection[bytes]) -> None:
        """Add records of the set's width."""
        recent = self._recent
        for record in records:
            recent[record[0]] += record
        self._in_memory += len(records) * self._width
        if self._in_memory >= _MEMORY and self._spills:
            self._spill()

    def records(self, shard: int) -> Iterator[bytes]:
        """Yield the records of one shard; a record that was added twice may come twice."""
        width = self._width
        for piece in self._read(shard):
            yield from (piece[at : at + width] for at in range(0, len(piece), width))

    def _read(self, shard: int) -> Iterator[bytes]:
        for offset, size in self._pieces[shard]:
            assert self._file is not None
            piece = bytearray(size)
            if read_at(self._file.fileno(), memoryview(piece), offset) != size:
                raise CacheError(
                    f"a temporary file in {tempfile.gettempdir()} was cut short: run the same command again"
                )
            yield bytes(piece)
        yield bytes(self._recent[shard])

    def _spill(self) -> None:
        """Write what is in memory to the file; from then on keep all in memory where that fails."""
        try:
            if self._file is None:
                self._file = self._open()
            pieces = self._append(self._file, self._in_file, self._recent)
        except OSError:
            self._spills = False
            return
        for shard, piece in pieces.items():
            self._pieces[shard].append(piece)
            self._recent[shard] = bytearray()
            self._in_file += piece[1]
        self._in_memory = 0

    def _open(self) -> BinaryIO:
        """Open a file without a name, which is closed when this object goes."""
        file = tempfile.TemporaryFile(prefix="cas-gc-", buffering=0)  # noqa: SIM115 (it goes with this object)
        weakref.finalize(self, file.close)
        return cast(BinaryIO, file)

    @staticmethod
    def _append(file: BinaryIO, end: int, shards: Iterable[bytes | bytearray]) -> dict[int, tuple[int, int]]:
        """Write the records of each shard to the end of a file; return where they lie."""
        pieces: dict[int, tuple[int, int]] = {}
        for shard, records in enumerate(shards):
            if records:
                write_all(file.fileno(), records, end)
                pieces[shard] = (end, len(records))
                end += len(records)
        return pieces


class DigestSet(Shards):
    """A set of digests of 32 bytes.

    Versions that follow each other have most of their chunks in common: what stands in the batch that was added last is
    not added again. When the file has doubled nevertheless, its duplicates are removed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last_batch: set[bytes] = set()
        self._compact_at = _SMALLEST_COMPACTION
        self._counts: dict[int, int] = {}

    def add(self, records: Collection[bytes]) -> None:
        """Add digests, such as those of a version."""
        batch = set(records)
        super().add(batch - self._last_batch)
        self._last_batch = batch
        self._counts.clear()
        if self._in_file >= self._compact_at:
            self._compact()

    def add_all(self, digests: Iterable[bytes]) -> None:
        """Add any number of digests, in batches."""
        batch: list[bytes] = []
        for digest in digests:
            batch.append(digest)
            if len(batch) == 10_000:
                self.add(batch)
                batch = []
        self.add(batch)

    def shard(self, number: int) -> set[bytes]:
        """Return the digests of one shard."""
        found = set(self.records(number))
        self._counts[number] = len(found)
        return found

    def __len__(self) -> int:
        return sum(self._counts[number] if number in self._counts else len(self.shard(number)) for number in SHARDS)

    def __iter__(self) -> Iterator[bytes]:
        for number in SHARDS:
            yield from sorted(self.shard(number))

    def _compact(self) -> None:
        """Write the file anew, each digest once; leave it as it is where there is no space for that."""
        end, pieces = 0, [list[tuple[int, int]]() for _ in SHARDS]
        try:
            file = self._open()
            for number in SHARDS:
                for piece in self._append(file, end, [b"".join(self.shard(number))]).values():
                    pieces[number].append(piece)
                    end += piece[1]
        except OSError:
            self._compact_at *= 2
            return
        if self._file is not None:
            self._file.close()
        self._file, self._pieces, self._in_file = file, pieces, end
        self._recent, self._in_memory = [bytearray() for _ in SHARDS], 0
        self._compact_at = max(_SMALLEST_COMPACTION, 2 * end)


class ListedChunk(NamedTuple):
    """A chunk as a listing of the store shows it.

    Attributes:
        digest: 32 bytes.
        size: bytes in the store.
        modified: when it was last written, by the server's clock.
    """

    digest: bytes
    size: int
    modified: datetime.datetime


class ChunkListing:
    """All chunks of a listing."""

    _NUMBERS = struct.Struct("<Qq")  # size in bytes; microseconds since 1970

    def __init__(self) -> None:
        self._shards = Shards(_DIGEST + self._NUMBERS.size)

    def add(self, digest: str, entry: Entry) -> None:
        """Note a chunk (64 hex) that the store has."""
        numbers = self._NUMBERS.pack(entry.size, (entry.modified - _EPOCH) // _MICROSECOND)
        self._shards.add((bytes.fromhex(digest) + numbers,))

    def shard_without(self, number: int, retained: Collection[bytes]) -> Iterator[ListedChunk]:
        """Yield the chunks of one shard whose digests are not among those retained."""
        for record in self._shards.records(number):
            digest = record[:_DIGEST]
            if digest not in retained:
                size, microseconds = self._NUMBERS.unpack_from(record, _DIGEST)
                yield ListedChunk(digest, size, _EPOCH + microseconds * _MICROSECOND)
