"""Which local file a part file begins as a clone of: one that holds half of it or more at the same offsets."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.formats.manifest import ChunkRef
from cas.local.targets import ChunkLocation, LocalFiles, Target
from cas.ops.restore.plan import PendingFile, make_plan, part_file_name

CHUNKS = tuple(ChunkRef(f"{number:064x}", size) for number, size in enumerate((10, 20, 30)))
SEED = Path("/seed")
TARGET = Target(Path("/root"), ("blobs", "a"), (), 60, CHUNKS, "a" * 64, None)


def pending(places: dict[int, tuple[str, int]], local: LocalFiles | None = None) -> PendingFile:
    """Plan one target, whose chunks lie in local files: name and offset by the chunk's number."""
    locations = {CHUNKS[at]: ChunkLocation(SEED / name, offset, SEED) for at, (name, offset) in places.items()}
    (file,) = make_plan([TARGET], [local or LocalFiles()], None, locations).pending_files
    return file


@pytest.mark.parametrize(
    ("places", "base", "shared"),
    [
        ({2: ("x", 30)}, "x", 30),
        ({0: ("x", 0), 1: ("x", 10)}, "x", 30),
        ({1: ("x", 10)}, None, 0),
        ({0: ("x", 0), 1: ("x", 11)}, None, 0),
        ({2: ("x", 29)}, None, 0),
        ({0: ("y", 0), 1: ("x", 10), 2: ("x", 30)}, "x", 50),
        ({0: ("y", 0), 1: ("y", 10), 2: ("x", 31)}, "y", 30),
        ({}, None, 0),
    ],
)
def test_the_file_that_holds_half_at_the_same_offsets_is_the_base(
    places: dict[int, tuple[str, int]], base: str | None, shared: int
) -> None:
    file = pending(places)
    assert (file.base, file.shared) == (SEED / base if base else None, shared)


def test_a_part_file_that_is_resumed_has_no_base() -> None:
    name = part_file_name(TARGET.content, "they", "1")
    file = pending({2: ("x", 30)}, LocalFiles(part_files=((name, frozenset({0})),)))
    assert (file.part_file, file.base, file.missing) == (name, None, 2)
