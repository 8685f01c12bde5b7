"""Frames that claim what they do not contain, made by hand after RFC 8878: a zstd library would not write them."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from cas.errors import FormatError, IntegrityError
from cas.formats import blosc_planes, frame, planes  # noqa: F401 (imported late, numpy with it: before memory is counted)

SIZE = 1000
"""Plain bytes that the manifest gives for each of the frames."""

_2_GIB = 1 << 31
_BLOCK = 128 * 1024


def header(size: int, kind: int = 0, width: int = 1, tag: bytes = b"CAS1") -> bytes:
    """The header of a frame, which stands before the zstd frame."""
    return struct.pack("<II4sBBHQ", 0x184D2A5C, 16, tag, kind, width, 0, size)


def zeros(size: int) -> bytes:
    """RLE blocks of zstd that decode to `size` zeros: 4 bytes for 128 KiB."""
    sizes = [_BLOCK] * (size // _BLOCK) + [size % _BLOCK]
    words = [(length << 3 | 1 << 1 | (at == len(sizes) - 1)) for at, length in enumerate(sizes)]
    return b"".join(word.to_bytes(3, "little") + b"\0" for word in words)


def zstd(
    blocks: bytes, claimed: int | None, *, window: int = 0x38, dictionary: int | None = None, checksum: bool = False
) -> bytes:
    """A zstd frame around `blocks`.

    Args:
        blocks: the blocks of the frame.
        claimed: the content size that the frame's header gives; None for a header without one.
        window: the window descriptor (0x38: 128 KiB).
        dictionary: the dictionary id; None for none.
        checksum: the header announces a checksum, which the frame lacks.
    """
    descriptor = (0 if claimed is None else 3 << 6) | checksum << 2 | (0 if dictionary is None else 3)
    fields = bytes([descriptor, window])
    fields += b"" if dictionary is None else dictionary.to_bytes(4, "little")
    fields += b"" if claimed is None else claimed.to_bytes(8, "little")
    return b"\x28\xb5\x2f\xfd" + fields + blocks


_SOUND = header(SIZE) + zstd(zeros(SIZE), SIZE)

CASES: Mapping[str, bytes] = {
    "bomb that says so": header(_2_GIB) + zstd(zeros(_2_GIB), _2_GIB),
    "bomb that only zstd tells": header(SIZE) + zstd(zeros(_2_GIB), _2_GIB),
    "bomb that nobody tells": header(SIZE) + zstd(zeros(_2_GIB), SIZE),
    "bomb of unknown size": header(SIZE) + zstd(zeros(_2_GIB), None),
    "bomb of planes": header(SIZE, 1, 4) + zstd(zeros(_2_GIB), SIZE),
    "window of 128 MiB": header(SIZE) + zstd(zeros(SIZE), SIZE, window=17 << 3),
    "window of 3.75 TiB": header(SIZE) + zstd(zeros(SIZE), SIZE, window=0xFF),
    "bomb and window": header(SIZE) + zstd(zeros(_2_GIB), SIZE, window=0xFF),
    "dictionary": header(SIZE) + zstd(zeros(SIZE), SIZE, dictionary=7),
    "one byte fewer": header(SIZE) + zstd(zeros(SIZE - 1), SIZE),
    "one byte more": header(SIZE) + zstd(zeros(SIZE + 1), SIZE),
    "our size is a lie": header(SIZE + 1) + zstd(zeros(SIZE), SIZE),
    "our size is absurd": header(2**64 - 1) + zstd(zeros(SIZE), SIZE),
    "zstd's size is a lie": header(SIZE) + zstd(zeros(SIZE), SIZE + 1),
    "unknown size": header(SIZE) + zstd(zeros(SIZE), None),
    "second frame": _SOUND + zstd(zeros(SIZE), SIZE),
    "second frame, skippable": _SOUND + struct.pack("<II", 0x184D2A50, 0),
    "our header twice": header(SIZE) + _SOUND,
    "trailing byte": _SOUND + b"\0",
    "no zstd frame": header(SIZE),
    "raw bytes": header(SIZE) + bytes(SIZE),
    "skippable in place of zstd": header(SIZE) + struct.pack("<II", 0x184D2A50, SIZE) + bytes(SIZE),
    "skippable that looks like blocks": header(SIZE)
    + struct.pack("<II", 0x184D2A50, SIZE)
    + ((SIZE - 3) << 3 | 1).to_bytes(3, "little")
    + bytes(SIZE - 3),
    "checksum announced and not there": header(SIZE) + zstd(zeros(SIZE), SIZE, checksum=True),
    "planes of width 0": header(SIZE, 1, 0) + zstd(zeros(SIZE), SIZE),
    "planes of width 1": header(SIZE, 1, 1) + zstd(zeros(SIZE), SIZE),
    "unknown filter": header(SIZE, 2, 4) + zstd(zeros(SIZE), SIZE),
    "reserved bits": _SOUND[:14] + b"\1\0" + _SOUND[16:],
    "header of another length": _SOUND[:4] + struct.pack("<I", 15) + _SOUND[8:],
    "newer version": header(SIZE, tag=b"CAS2") + zstd(zeros(SIZE), SIZE),
    "empty": b"",
    "an error page": b"<html><body>503 Service Unavailable</body></html>",
}


def refuse_all() -> None:
    """Decode every case, and fail unless each is refused."""
    assert frame.decode(_SOUND, SIZE) == bytes(SIZE)
    for name, data in CASES.items():
        try:
            frame.decode(data, SIZE)
        except (IntegrityError, FormatError):
            continue
        raise AssertionError(f"{name} was decoded")
