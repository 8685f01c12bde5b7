"""Archives are ordinary tar files: what we write, Python's own reader finds; and what others write, we find."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cas.errors import FormatError
from cas.formats.archive import END, ArchiveCutShort, header, is_archive, members, padding

LONG = "refs/pins/" + "d" * 96 + "/" + "m" * 96 + "/00000001-" + "0" * 16 + ".json"
NAMES = ["format.json", "chunks/ab/" + "ab" * 32, "manifests/" + "m" * 96 + "/" + "0" * 64 + ".json", LONG]


def packed(objects: dict[str, bytes]) -> bytes:
    return b"".join(header(name, len(data)) + data + padding(len(data)) for name, data in objects.items()) + END


def found(data: bytes) -> dict[str, bytes]:
    read = members(lambda offset, size: data[offset : offset + size], "x")
    return {member.name: data[member.offset : member.offset + member.size] for member in read}


@given(st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=2000)))
def test_what_is_packed_is_found(objects: dict[str, bytes]) -> None:
    data = packed(objects)
    assert found(data) == objects
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        read = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    assert read == objects


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_other_programs(form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        folder = tarfile.TarInfo("./chunks")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        link = tarfile.TarInfo("./link")
        link.type, link.linkname = tarfile.SYMTYPE, "format.json"
        tar.addfile(link)
        for name in NAMES if form != tarfile.USTAR_FORMAT else NAMES[:3]:
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mtime, info.uname = 5, 1.5, "somebody"
            tar.addfile(info, io.BytesIO(b"12345"))
    assert found(out.getvalue()) == dict.fromkeys(NAMES if form != tarfile.USTAR_FORMAT else NAMES[:3], b"12345")


def test_every_cut_is_noticed() -> None:
    data = packed(dict.fromkeys(NAMES, b"x" * 700))
    for at in range(0, len(data) - 512, 100):
        with pytest.raises(ArchiveCutShort):
            found(data[:at])
    assert found(data[: len(data) - 512]).keys() == set(NAMES)


def _with(kind: bytes, data: bytes = b"") -> bytes:
    """A member of another type, with a right checksum."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, len(data)
    return info.tobuf() + data + padding(len(data)) + END


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG" + bytes(508),
        b"x" * 512,
        _with(b"S"),
        _with(b"V"),
        _with(b"x", b"12 path=x\n"),
        _with(b"x", b"0 path=x\n"),
        _with(b"x", b"999999999999999999999 path=x\n"),
        _with(b"x", b"27 GNU.sparse.major=1\n1234\n"),
        _with(b"x", b"11 size=-1\n"),
        _with(b"x", bytes(1 << 17)),
    ],
)  # fmt: skip
def test_what_is_no_archive_of_a_store_is_refused(data: bytes) -> None:
    with pytest.raises((FormatError, ArchiveCutShort)):
        found(data + END)


def test_the_first_block_tells_archives_from_other_files() -> None:
    assert is_archive(header("format.json", 5))
    for block in (b"", b"x" * 512, bytes(512), header("format.json", 5)[:500]):
        assert not is_archive(block)
