"""Ranges of a stored file: which slices of which chunks they consist of, and their bytes."""

from __future__ import annotations

import pytest

from cas.formats.frame import Codec
from cas.parallel import Pool, ReusableBuffer
from cas.store.store import Store
from cas.store.stored_file import ByteRange, StoredFile
from tests.support.buckets import RecordingBucket
from tests.support.by_hand import put

DATA = bytes(range(100))
CUTS = [10, 40, 41]


def stored(store: Store) -> tuple[StoredFile, RecordingBucket]:
    bucket = RecordingBucket(store.bucket)
    return StoredFile(Store(bucket), put(store, DATA, CUTS), Pool(Codec, 1)), bucket


@pytest.mark.parametrize(
    ("start", "size", "expected"),
    [
        (0, 10, [(10, 0, 10)]),
        (9, 2, [(10, 9, 1), (30, 0, 1)]),
        (10, 30, [(30, 0, 30)]),
        (39, 3, [(30, 29, 1), (1, 0, 1), (59, 0, 1)]),
        (40, 1, [(1, 0, 1)]),
        (0, 100, [(10, 0, 10), (30, 0, 30), (1, 0, 1), (59, 0, 59)]),
        (99, 1, [(59, 58, 1)]),
        (50, 0, []),
    ],
)
def test_a_range_is_cut_at_the_chunks(
    start: int, size: int, expected: list[tuple[int, int, int]], directory_store: Store
) -> None:
    file, _ = stored(directory_store)
    assert [(piece.chunk.size, piece.start, piece.size) for piece in file.slices(start, size)] == expected


def test_ranges_are_read_to_where_they_are_wanted_and_each_chunk_once(directory_store: Store) -> None:
    file, bucket = stored(directory_store)
    assert file.size == 100
    buffer = bytearray(b"-" * 60)
    file.read([ByteRange(35, 10, 0), ByteRange(0, 12, 20), ByteRange(10, 5, 50)], memoryview(buffer), ReusableBuffer())
    assert buffer == DATA[35:45] + b"-" * 10 + DATA[:12] + b"-" * 18 + DATA[10:15] + b"-" * 5
    assert len(bucket.read) == 4
