"""Find the members of a tar file (`.tar`, NVIDIA's `.nemo`): each large member's data starts a run.

Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar's manual, "Basic Tar Format".
What lies between large members (headers, small files) is cut by its content, as one run, so that a small file that
grows moves no boundary behind it.
"""

from __future__ import annotations

import struct

from cas.formats.runs import LARGE, Budget, SeekableFile, Start, Unknown, read_at

BLOCK = 512
"""Bytes of a block: members begin at multiples of this."""

_FIELDS = struct.Struct("124x12s12x8sc100x5s")  # size, checksum, type, and the magic behind the link's name
_NO_DATA = b"123456"  # types of links, devices, folders, queues
REGULAR = b"0\0007"
"""Types of members with data: regular, regular in old files, contiguous."""

LONG_NAMES = b"LK"
"""Types of GNU members that hold the name of the member after them."""

PAX, PAX_FOR_ALL = b"x", b"g"
"""Types of extended headers, for the member after it and for all."""

_MAX_PAX = 1 << 20  # bytes of an extended header that are read


def starts(file: SeekableFile, size: int, budget: Budget) -> list[Start]:
    """Where the large members' data begin and end.

    Args:
        file: the file.
        size: its bytes.
        budget: how many members and records of extended headers are read.

    Raises:
        Unknown: the file is no tar, is damaged, or has sparse or too many members.
    """
    found = [Start(0, None, alone=True, by_content=True)]
    at, declared = 0, None
    while at < size and (header := read_at(file, at, BLOCK)) != bytes(BLOCK):
        budget.take()
        length, kind = read_header(header)
        data = at + BLOCK
        if kind in (PAX, PAX_FOR_ALL):
            told = _pax_size(read_at(file, data, length) if length <= _MAX_PAX else b"", budget)
            declared = told if kind == PAX else declared
        elif kind in REGULAR:
            length, declared = (length if declared is None else declared), None
        elif kind in _NO_DATA:
            length, declared = 0, None
        elif kind not in LONG_NAMES:
            raise Unknown  # a sparse member, or the extension of a program that is not known
        at = data + -(-length // BLOCK) * BLOCK
        if at > size:
            raise Unknown
        if length >= LARGE and kind in REGULAR:
            # A member may be a file of a known kind, so its padding is not part of its run.
            found += [Start(data, None, by_content=True), Start(data + length, None, alone=True, by_content=True)]
    return found


def read_header(header: bytes) -> tuple[int, bytes]:
    """Return the bytes of a member's data, and its type, given its header (one block); raise Unknown for no header."""
    size, checksum, kind, magic = _FIELDS.unpack_from(header)
    # The checksum is the sum of the header's bytes, where its own eight count as spaces.
    if magic != b"ustar" or _octal(checksum) != sum(header) - sum(checksum) + 8 * 0x20:
        raise Unknown
    # GNU tar writes sizes of 8 GiB and more as a big-endian number behind a byte 0x80.
    return int.from_bytes(size[1:], "big") if size[0] == 0x80 else _octal(size), kind


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        raise Unknown
    return int(digits, 8)


def _pax_size(records: bytes, budget: Budget) -> int | None:
    """The size that an extended header gives the member after it; None when it gives none."""
    told = None
    at = 0
    while at < len(records):
        budget.take()
        digits, space, _ = records[at : at + 20].partition(b" ")
        if not space or not digits.isdigit() or int(digits) <= len(digits) + 1:
            raise Unknown
        record = records[at + len(digits) + 1 : at + int(digits)]
        name, _, value = record.rstrip(b"\n").partition(b"=")
        if name.startswith(b"GNU.sparse"):
            raise Unknown
        if name == b"size":
            if not value.isdigit() or len(value) > 20:
                raise Unknown
            told = int(value)
        at += int(digits)
    return told
