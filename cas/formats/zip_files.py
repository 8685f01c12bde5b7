"""Find the members of a zip file: torch's `.pt` and `.bin`, numpy's `.npz`.

Source: APPNOTE.TXT 6.3.10. Nothing is unpacked or unpickled.
"""

from __future__ import annotations

import struct

from cas.formats.runs import MAX_HEADER, Budget, SeekableFile, Start, Unknown, read_at

_TAIL = 22 + 65535  # the end record, and the longest comment after it
_ZIP64 = 0xFFFFFFFF  # in place of a value: the zip64 field holds it
_STORED = 0  # method of a member that is not compressed
_SIZES_FOLLOW = 0x08  # flag of a member: its sizes and CRC stand after its data


def starts(file: SeekableFile, size: int, budget: Budget) -> list[Start]:
    """Where the stored members' data begin, and the directory.

    Args:
        file: the file.
        size: its bytes.
        budget: how many members are read.

    Raises:
        Unknown, struct.error: the file is no zip, is damaged, or has too many members.
    """
    start, directory = _directory(file, size)
    found = [Start(start, None)]
    at = 0
    while at < len(directory):
        budget.take()
        signature, method, unpacked, packed, name, extra, comment, member = struct.unpack_from(
            "<4s6xH8xIIHHH8xI", directory, at
        )
        if signature != b"PK\x01\x02":
            raise Unknown
        if member == _ZIP64:
            fields = directory[at + 46 + name : at + 46 + name + extra]
            member = _zip64_offset(fields, (unpacked == _ZIP64) + (packed == _ZIP64))
        at += 46 + name + extra + comment
        signature, flags, name, extra = struct.unpack("<4s2xH18xHH", read_at(file, member, 30))
        if signature != b"PK\x03\x04":
            raise Unknown
        if method == _STORED:
            found.append(Start(member + 30 + name + extra, None))
        if not flags & _SIZES_FOLLOW:
            # The CRC stands in this header, not after the data. So the header changes with its own member, and must
            # not change the chunk of the member before it: it starts a run.
            found.append(Start(member, None))
    return found


def _directory(file: SeekableFile, size: int) -> tuple[int, bytes]:
    """Offset and bytes of the central directory (APPNOTE.TXT, sections 4.3.12 to 4.3.16)."""
    tail = read_at(file, max(0, size - _TAIL), min(size, _TAIL))
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        raise Unknown
    length, start = struct.unpack_from("<II", tail, end + 12)
    locator = end - 20
    if locator >= 0 and tail.startswith(b"PK\x06\x07", locator):
        (record,) = struct.unpack_from("<Q", tail, locator + 8)
        signature, length, start = struct.unpack("<4s36xQQ", read_at(file, record, 56))
        if signature != b"PK\x06\x06":
            raise Unknown
    if length > MAX_HEADER:
        raise Unknown
    return start, read_at(file, start, length)


def _zip64_offset(extra: bytes, before: int) -> int:
    """Where a member begins, from its zip64 field: the value after `before` other values (APPNOTE.TXT, 4.5.3)."""
    at = 0
    while True:
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            (offset,) = struct.unpack_from("<Q", extra, at + 4 + 8 * before)
            return int(offset)
        at += 4 + length
