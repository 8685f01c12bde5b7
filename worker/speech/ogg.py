"""Ogg files whose bytes depend on the audio alone: libsndfile draws the serial number of each stream at random.

Format: RFC 3533, section 6. A page has its stream's serial number at byte 14, its checksum at byte 22, and the number
of its segments at byte 26, whose sizes follow.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_HEADER = 27  # bytes, without the sizes of the segments
_SERIAL = slice(14, 18)
_CHECKSUM = slice(22, 26)
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def steady(data: bytes) -> bytes:
    """Return an Ogg file with a serial number that its content decides.

    Files of different audio have different numbers, as the parts of one Ogg stream must have when a listener joins
    them.

    Args:
        data: pages of one stream, as libsndfile writes them.
    """
    pages = [bytearray(page) for page in _pages(data)]
    for page in pages:
        page[_SERIAL] = page[_CHECKSUM] = bytes(4)
    serial = zlib.crc32(b"".join(pages)).to_bytes(4, "little")
    for page in pages:
        page[_SERIAL] = serial
        page[_CHECKSUM] = _checksum(page).to_bytes(4, "little")
    return b"".join(pages)


def _pages(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        body = start + _HEADER + data[start + _HEADER - 1]
        end = body + sum(data[start + _HEADER : body])
        yield data[start:end]
        start = end


def _checksum(page: bytes | bytearray) -> int:
    """Return the checksum of a page whose own is zeros.

    Ogg's polynomial is that of zlib, but it starts with 0, inverts nothing, and takes the bits of each byte from the
    other end.
    """
    found = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{found:032b}"[::-1], 2)
