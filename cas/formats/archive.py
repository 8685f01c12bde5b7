"""An archive: a tar file whose members are the objects of a store, each under its key (docs/design.md, "Archive").

Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar's manual, "Basic Tar Format".
Headers that this module makes depend on a member's name and size alone, so equal objects make equal archives. Whoever
reads one may have it from another tar: long names of GNU and of pax, folders and links are known, too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cas.errors import FormatError, IntegrityError
from cas.formats.runs import Unknown
from cas.formats.tar_files import BLOCK, LONG_NAMES, PAX, PAX_FOR_ALL, REGULAR, read_header

END = bytes(2 * BLOCK)
"""What ends an archive: two blocks of zeros."""

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_NAME, _PREFIX = 100, 155  # bytes of a name, and of the folders before it, that fit into a header
_MAX_EXTENDED = 1 << 16  # bytes of an extended header, or of a long name, that are read

ReadAt = Callable[[int, int], bytes]
"""Returns the bytes of an archive at an offset: as many as asked for, or fewer where the archive ends."""


class ArchiveCutShort(IntegrityError):
    """An archive ends before its end."""


class Member(NamedTuple):
    """A regular file in an archive.

    Attributes:
        name: its path, without a `./` at the beginning.
        offset: where its data begin in the archive.
        size: bytes of its data.
    """

    name: str
    offset: int
    size: int


def header(name: str, size: int) -> bytes:
    """Return what stands before the data of a member: one block, or three where the name is long.

    Args:
        name: its path, in ASCII.
        size: bytes of its data, under 8 GiB.
    """
    before, fits = b"", _split(name)
    if fits is None:
        record = _pax_record(b"path", name.encode())
        before = _block("PaxHeader", "", len(record), PAX) + record + padding(len(record))
        fits = name[-_NAME:], ""
    return before + _block(*fits, size, b"0")


def padding(size: int) -> bytes:
    """Return the zeros that follow `size` bytes of data, up to the next block."""
    return bytes(-size % BLOCK)


def members(read: ReadAt, where: str) -> Iterator[Member]:
    """Yield the regular files of an archive in its order; what is no file, such as a folder, is left out.

    Offsets are asked for in rising order, so that `read` may stand for a stream. A consumer may read the data of a
    member before it takes the next.

    Args:
        read: returns bytes of the archive.
        where: the archive's name, for errors.

    Raises:
        FormatError: it is no tar file, or has a member of a kind that no store's object is.
        ArchiveCutShort: it ends in the middle.
    """
    at, path, declared = 0, None, None
    while (block := read(at, BLOCK)) != bytes(BLOCK):
        if len(block) < BLOCK:
            raise _cut_short(where, at + len(block))
        try:
            size, kind = read_header(block)
        except Unknown:
            raise FormatError(
                f"{where} has no header of a tar file at byte {at}: it is no archive, or damaged"
            ) from None
        data = at + BLOCK
        if kind in LONG_NAMES or kind in (PAX, PAX_FOR_ALL):
            extended = read(data, size) if size <= _MAX_EXTENDED else b""
            if size > _MAX_EXTENDED:
                raise FormatError(f"{where} has an extended header of {size} bytes at byte {at}: refusing it")
            if len(extended) < size:
                raise _cut_short(where, data + len(extended))
            if kind == PAX:
                records = _pax_records(extended, where, at)
                path = records.get(b"path", path)
                declared = records.get(b"size", declared)
            elif kind == b"L":
                path = extended.rstrip(b"\0")
        else:
            size = int(declared) if declared is not None else size
            if kind in REGULAR:
                yield Member(_text(path if path is not None else _path_of(block)), data, size)
            elif not kind.isdigit():
                raise FormatError(
                    f"{where} has a member of type {kind!a} at byte {at}, which no store has: refusing it"
                )
            elif declared is None:
                size = 0  # a folder, a link or a device has no data, whatever its header says
            path = declared = None
        at = data + size + -size % BLOCK


def is_archive(block: bytes) -> bool:
    """Return whether a file that begins with these bytes (a block) may be an archive."""
    try:
        read_header(block)
    except (Unknown, struct.error):
        return False
    return len(block) == BLOCK


def _cut_short(where: str, at: int) -> ArchiveCutShort:
    return ArchiveCutShort(f"{where} is cut short: it ends at byte {at}, before its end mark: copy it again")


def _split(name: str) -> tuple[str, str] | None:
    """A name and its folders as the two fields of a header hold them; None for one that does not fit."""
    if len(name) <= _NAME:
        return name, ""
    slash = name.find("/", len(name) - _NAME - 1)
    return (name[slash + 1 :], name[:slash]) if 0 < slash <= _PREFIX else None


def _block(name: str, folders: str, size: int, kind: bytes) -> bytes:
    fields = [name.encode(), b"0000644", b"0000000", b"0000000", b"%011o" % size, b"%011o" % 0, b" " * 8, kind, b""]
    fields += [b"ustar", b"00", b"", b"", b"0000000", b"0000000", folders.encode()]
    total = sum(_HEADER.pack(*fields))
    fields[6] = b"%06o\0 " % total
    return _HEADER.pack(*fields)


def _pax_record(key: bytes, value: bytes) -> bytes:
    """One record of an extended header, which begins with its own length."""
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length = len(b"%d" % length) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def _pax_records(data: bytes, where: str, at: int) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        digits, space, _ = data[position : position + 20].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = data[position + len(digits) + 1 : position + length]
        if not record.endswith(b"\n") or length > len(data) - position:
            raise FormatError(f"{where} has a malformed extended header at byte {at}: refusing it")
        key, _, value = record[:-1].partition(b"=")
        if key.startswith(b"GNU.sparse") or (key == b"size" and not (value.isdigit() and len(value) <= 18)):
            raise FormatError(f"{where} has a sparse member or a size that is none at byte {at}: refusing it")
        found[key] = value
        position += length
    return found


def _path_of(block: bytes) -> bytes:
    fields: tuple[bytes, ...] = _HEADER.unpack(block)
    name, folders = (fields[index].partition(b"\0")[0] for index in (0, 15))
    is_posix = fields[9] == b"ustar\0"  # GNU's own format has times where POSIX has the folders
    return folders + b"/" + name if folders and is_posix else name


def _text(path: bytes) -> str:
    """A path as text; what is no UTF-8 gives a key that no store has."""
    return path.decode(errors="replace").removeprefix("./")
