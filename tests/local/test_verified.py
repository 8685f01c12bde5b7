"""The record of verified files: what it vouches for, and what it forgets."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from cas.formats.manifest import ChunkRef
from cas.local.verified import FileStamp, VerifiedFiles, stamp_of

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
CHUNKS = {A: (ChunkRef("1" * 64, 3), ChunkRef("2" * 64, 2)), B: (ChunkRef("3" * 64, 4),)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with the files `a` (5 bytes, content A) and `b` (5 bytes, content B), both recorded."""
    stamps = {}
    for name, content in (("a", A), ("b", B)):
        (tmp_path / name).write_bytes(b"12345")
        os.utime(tmp_path / name, ns=(10**18, 10**18))
        stamp = stamp_of(tmp_path / name, content)
        assert stamp
        stamps[(name,)] = stamp
    VerifiedFiles(tmp_path).update(stamps, CHUNKS)
    return tmp_path


def test_a_stamp_is_size_and_time_to_the_nanosecond(root: Path) -> None:
    assert VerifiedFiles(root).valid_stamp(("a",), A) == FileStamp(A, 5, 10**18)
    os.utime(root / "a", ns=(10**18, 10**18 + 1))
    assert VerifiedFiles(root).valid_stamp(("a",), A) is None
    (root / "a").write_bytes(b"123456")
    os.utime(root / "a", ns=(10**18, 10**18))
    assert VerifiedFiles(root).valid_stamp(("a",), A) is None
    (root / "a").unlink()
    assert VerifiedFiles(root).valid_stamp(("a",), A) is None


def test_a_file_that_was_verified_as_another_content_is_not_vouched_for(root: Path) -> None:
    assert VerifiedFiles(root).valid_stamp(("a",), B) is None
    assert VerifiedFiles(root).valid_stamp(("c",), A) is None


@pytest.mark.parametrize("name", ["verified.json", "chunks.json"])
def test_a_record_of_another_version_is_not_read(name: str, root: Path) -> None:
    path = root / ".cas" / name
    document = msgspec.json.decode(path.read_bytes())
    assert [found for found, _ in VerifiedFiles(root).unchanged_files()] == [root / "a"]
    path.write_bytes(msgspec.json.encode({**document, "version": 2}))
    assert list(VerifiedFiles(root).unchanged_files()) == []
    assert (VerifiedFiles(root).valid_stamp(("a",), A) is None) == (name == "verified.json")


def test_chunks_that_do_not_add_up_are_not_told(root: Path) -> None:
    """Those of B have 4 bytes, and the file has 5."""
    assert dict(VerifiedFiles(root).unchanged_files()) == {root / "a": CHUNKS[A]}


def test_chunks_of_a_file_that_changed_are_not_told(root: Path) -> None:
    os.utime(root / "a")
    assert list(VerifiedFiles(root).unchanged_files()) == []


def test_what_changed_or_went_leaves_the_record_at_the_next_update(root: Path) -> None:
    os.utime(root / "b")
    (root / "c").write_bytes(b"c")
    stamp = stamp_of(root / "c", C)
    assert stamp
    VerifiedFiles(root).update({("c",): stamp}, {})
    assert [VerifiedFiles(root).names((name,)) for name in "abc"] == [True, False, True]
    (root / "a").unlink()
    VerifiedFiles(root).update({}, {})
    assert [VerifiedFiles(root).names((name,)) for name in "abc"] == [False, False, True]


def test_a_claim_vouches_for_nothing_and_lasts_while_the_name_is_taken(root: Path) -> None:
    VerifiedFiles(root).claim({("new",): C, ("a",): C})
    record = VerifiedFiles(root)
    assert [record.names((name,)) for name in ("new", "a")] == [True, True]
    assert [record.names((name,), claimed=False) for name in ("new", "a", "b")] == [False, False, True]
    assert record.valid_stamp(("a",), C) is None
    assert record.valid_stamp(("new",), C) is None
    record.update({}, {})
    assert [VerifiedFiles(root).names((name,)) for name in ("new", "a")] == [False, True]


def test_a_directory_without_a_record_vouches_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert VerifiedFiles(tmp_path).valid_stamp(("a",), A) is None
    assert VerifiedFiles(tmp_path).is_unchanged(tmp_path / "a") is None
