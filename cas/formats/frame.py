"""How a chunk is stored: a header that says how to decode it, then one ordinary zstd frame.

The header is a skippable zstd frame (RFC 8878, section 3.1.2), so `zstd -d` decodes the whole. All integers are
little-endian; docs/design.md has the table. A frame is untrusted: every size that it claims is compared with the size
in the manifest before memory is allocated for it.
"""

from __future__ import annotations

import struct

import zstandard

from cas.errors import FormatError, IntegrityError
from cas.formats.digest import Buffer
from cas.parallel import ReusableBuffer

MAX_CHUNK = 64 * 1024 * 1024
"""Plain bytes of the largest chunk a reader accepts."""

LEVEL = 1
"""Default zstd level: higher levels gain under 1 % on byte planes of weights and take several times as long."""

# Planes of floats contain only matches by chance: to encode them costs more bytes than they save, and to search for
# them takes longer than all other work. So zstd gets a tiny hash table of earlier bytes: the result is smaller, and
# made twice as fast (docs/decisions/0013-zstd-for-planes.md).
_FOR_PLANES = {"strategy": zstandard.STRATEGY_FAST, "min_match": 7, "hash_log": 6}
_from_level = zstandard.ZstdCompressionParameters.from_level

_HEADER = struct.Struct("<II4sBBHQ")
_MAGIC = 0x184D2A5C
_TAG = b"CAS1"
_PAYLOAD = 16
_NO_FILTER, _BYTE_PLANES = 0, 1

_SAMPLE = 256 * 1024  # bytes; with a sample of 64 KiB a width was picked that shrinks to 0.88, where 0.84 was possible
_TOLERANCE = 1.005  # the smallest width whose sample is at most 0.5 % larger than the best one wins
_ZSTD_BLOCK = 128 * 1024  # RFC 8878, section 3.1.1.2.4


class FrameDamaged(IntegrityError):
    """A frame is cut short, too long, or claims another size than the manifest."""


def largest_frame(size: int) -> int:
    """The most bytes that the frame of a chunk of `size` plain bytes can have (ZSTD_COMPRESSBOUND)."""
    return _HEADER.size + size + (size >> 8) + 64 * 1024


class Encoder:
    """Encodes chunks into frames. It reuses its buffer for every chunk, so each thread needs its own.

    Args:
        level: zstd's compression level.
    """

    def __init__(self, level: int = LEVEL) -> None:
        options: dict[str, int] = {"write_content_size": 1, "write_checksum": 0, "write_dict_id": 0}
        self._compressor = zstandard.ZstdCompressor(compression_params=_from_level(level, **options))
        tuned = _FOR_PLANES if level == LEVEL else {}
        self._planes_compressor = zstandard.ZstdCompressor(compression_params=_from_level(level, **options, **tuned))
        self._buffer = bytearray()

    def encode(self, plain: Buffer, width: int | None = None) -> bytearray:
        """Return the frame of a chunk, in fresh memory; `encode_into` says the rest."""
        return bytearray().join(self._parts(plain, width))

    def encode_into(self, buffer: ReusableBuffer, plain: Buffer, width: int | None = None) -> memoryview:
        """Write the frame of a chunk to `buffer` and return it; a Decoder may use it in place.

        Args:
            buffer: where the frame goes, which is valid until the buffer's next use.
            plain: the chunk's plain bytes.
            width: bytes per element where the file's format tells it (1: no planes); None to pick a width by
                compressing a sample.

        Raises:
            ValueError: the width is outside 1..255, or the chunk is larger than MAX_CHUNK.
        """
        header, body = self._parts(plain, width)
        # The same size for all chunks of one size: a view that grows would be of fresh memory.
        frame = buffer.view(largest_frame(len(plain)))[: len(header) + len(body)]
        frame[: len(header)], frame[len(header) :] = header, body
        return frame

    def _parts(self, plain: Buffer, width: int | None) -> tuple[bytes, bytes]:
        """The header of a frame, and the zstd frame after it."""
        if len(plain) > MAX_CHUNK:
            raise ValueError(f"a chunk has at most {MAX_CHUNK} bytes, not {len(plain)}")
        if width is not None and not 1 <= width <= 255:
            raise ValueError(f"an element has 1 to 255 bytes, not {width}")
        if width is None:
            width = self._sampled_width(plain)
        kind = _BYTE_PLANES if width > 1 else _NO_FILTER
        body = self._compressor_for(width, len(plain)).compress(self._split_into_planes(plain, width))
        return _HEADER.pack(_MAGIC, _PAYLOAD, _TAG, kind, width, 0, len(plain)), body

    def _split_into_planes(self, plain: Buffer, width: int) -> Buffer:
        if width == 1:
            return plain
        from cas.formats import planes

        self._buffer, target = _grown(self._buffer, len(plain))
        planes.split(plain, width, target)
        return target

    def _sampled_width(self, plain: Buffer) -> int:
        middle = max(0, len(plain) - _SAMPLE) // 2 // 8 * 8
        sample = memoryview(plain)[middle : middle + _SAMPLE]
        sizes = {width: self._compressed(sample, width, len(plain)) for width in (1, 2, 4, 8)}
        good_enough = min(sizes.values()) * _TOLERANCE
        return next(width for width, size in sizes.items() if size <= good_enough)

    def _compressed(self, sample: memoryview, width: int, size: int) -> int:
        data, compressor = self._split_into_planes(sample, width), self._compressor_for(width, size)
        # Each plane of a whole chunk fills blocks of zstd by itself. The planes of a sample are shorter and would share
        # blocks, which hides what they gain: so each of them is compressed by itself.
        step = max(1, len(data) // (width if len(data) < size else 1))
        return sum(len(compressor.compress(data[at : at + step])) for at in range(0, len(data), step))

    def _compressor_for(self, width: int, size: int) -> zstandard.ZstdCompressor:
        # Planes that are smaller than a block of zstd share blocks. There, zstd tells the bytes of one plane from those
        # of another by matches alone, so these chunks need the compressor that searches for matches.
        return self._planes_compressor if width > 1 and size >= width * _ZSTD_BLOCK else self._compressor


class Decoder:
    """Decodes frames. It reuses its buffers for every frame, so each thread needs its own."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK)
        self._plain = bytearray()
        self._planes = bytearray()
        self._frame = bytearray()

    def decode(self, frame: Buffer, size: int, into: memoryview | None = None) -> memoryview:
        """Return the plain bytes of a frame; they are valid until the next call. The caller must hash them.

        Args:
            frame: the frame; no other thread may use it during the call, because the decoder writes to it for a moment.
                A read-only frame is copied first.
            size: plain bytes of the chunk, as the manifest gives them.
            into: writable memory of `size` bytes for the plain bytes, which stay valid then; None for the decoder's
                own. After an error it holds anything.

        Raises:
            FrameDamaged: the frame is not whole, or not of that size.
            FormatError: a newer version wrote it.
        """
        view = memoryview(frame)
        width = _read_header(view, size)
        body = view[_HEADER.size :]
        _check_body(body, size)
        plain = into
        if plain is None:
            self._plain, plain = _grown(self._plain, size)
        if width == 1:
            self._inflate(body, plain)
        else:
            self._inflate_planes(view, width, plain)
        return plain

    def _inflate_planes(self, view: memoryview, width: int, plain: memoryview) -> None:
        from cas.formats import blosc_planes

        buffer = view
        if view.readonly:
            self._frame, buffer = _grown(self._frame, len(view))
            buffer[:] = view
        try:
            # Blosc needs a header of its own before the zstd frame. Ours has the same length, so Blosc's is
            # written over it for the time of the call.
            if blosc_planes.unpack(buffer[_HEADER.size - blosc_planes.HEADER_SIZE :], width, plain):
                return
        except ValueError as error:
            raise FrameDamaged(f"zstd says: {error}") from error
        from cas.formats import planes

        self._planes, separate = _grown(self._planes, len(plain))
        self._inflate(view[_HEADER.size :], separate)
        planes.join(separate, width, plain)

    def _inflate(self, body: memoryview, out: memoryview) -> None:
        # readinto() with a buffer for all plain bytes lets zstd write straight into it: twice as fast as decompress(),
        # which allocates memory each time.
        with self._decompressor.stream_reader(body) as reader:
            done = 0
            try:
                while done < len(out) and (got := reader.readinto(out[done:])):
                    done += got
            except zstandard.ZstdError as error:
                raise FrameDamaged(f"zstd says: {error}") from error
        if done != len(out):
            raise FrameDamaged(f"frame ends after {done} of {len(out)} bytes")


class Codec:
    """An encoder and a decoder with their buffers: all that one thread needs for frames.

    Attributes:
        encoder: makes frames.
        decoder: opens frames.
    """

    def __init__(self) -> None:
        self.encoder, self.decoder = Encoder(), Decoder()


def decode(frame: Buffer, size: int) -> bytes:
    """Return the plain bytes of a frame, for callers who decode only one; see Decoder.decode."""
    return bytes(Decoder().decode(frame, size))


def claimed_size(frame: Buffer) -> int:
    """The number of plain bytes that a frame claims, for callers without a manifest, who must hash what it decodes to.

    Raises:
        FrameDamaged: this is no frame, or it claims more than MAX_CHUNK.
        FormatError: a newer version wrote it.
    """
    view = memoryview(frame)
    claimed = int(_HEADER.unpack_from(view)[-1]) if len(view) >= _HEADER.size else 0
    _read_header(view, claimed)
    if claimed > MAX_CHUNK:
        raise FrameDamaged(f"frame claims {claimed} bytes, more than the {MAX_CHUNK} of any chunk")
    return claimed


def check_whole(frame: Buffer, size: int) -> None:
    """Raise unless this is exactly one whole frame that claims `size` plain bytes. Nothing is decoded or hashed.

    Raises:
        FrameDamaged: it is not whole, or not of that size.
        FormatError: a newer version wrote it.
    """
    view = memoryview(frame)
    _read_header(view, size)
    _check_body(view[_HEADER.size :], size)


def _read_header(view: memoryview, size: int) -> int:
    """The width of the byte planes, 1 without planes; raises when the header is wrong or claims another size."""
    if len(view) < _HEADER.size:
        raise FrameDamaged(f"frame of {len(view)} bytes is shorter than its header")
    magic, payload, tag, kind, width, reserved, claimed = _HEADER.unpack_from(view)
    if magic != _MAGIC or tag[:3] != _TAG[:3]:
        raise FrameDamaged("this is no frame (an error page, or another program's object)")
    if tag != _TAG or payload != _PAYLOAD or reserved or kind not in (_NO_FILTER, _BYTE_PLANES):
        raise FormatError(
            f"frame of kind {bytes(tag)!r}/{kind} is damaged, or was written by a newer version: "
            "upgrade model-cas, or publish again with --force"
        )
    if kind == _BYTE_PLANES and width < 2:
        raise FrameDamaged(f"byte planes of width {width} make no sense")
    if claimed != size:
        raise FrameDamaged(f"frame claims {claimed} bytes where the manifest says {size}")
    return width if kind == _BYTE_PLANES else 1


def _check_body(body: memoryview, size: int) -> None:
    """Raise FrameDamaged, before anything is decoded, unless this is exactly one whole zstd frame of `size` bytes."""
    try:
        known = zstandard.get_frame_parameters(body)
        header = zstandard.frame_header_size(body)
    except zstandard.ZstdError as error:
        raise FrameDamaged(f"zstd says: {error}") from error
    if known.content_size != size:
        raise FrameDamaged(f"zstd frame claims {known.content_size} bytes where the manifest says {size}")
    if known.window_size > MAX_CHUNK or known.dict_id:
        raise FrameDamaged(f"zstd frame asks for a window of {known.window_size} bytes or a dictionary")
    if known.has_checksum:
        raise FrameDamaged("zstd frame has a checksum, which this program never writes")
    if (end := _end_of_blocks(body, header)) != len(body):
        raise FrameDamaged(f"zstd frame ends at byte {end} of {len(body)}")


def _end_of_blocks(body: memoryview, at: int) -> int:
    """Where the last block ends (RFC 8878, section 3.1.1.2).

    The caller compares it with the frame's end, because python-zstandard ignores bytes after the last block.
    """
    while True:
        if at + 3 > len(body):
            raise FrameDamaged(f"zstd frame is cut short at byte {len(body)}")
        word = int.from_bytes(body[at : at + 3], "little")
        last, kind, length = word & 1, word >> 1 & 3, word >> 3
        at += 3 + (1 if kind == 1 else length)
        if last:
            return at


def _grown(buffer: bytearray, size: int) -> tuple[bytearray, memoryview]:
    """`buffer` if it has `size` bytes, else a new one, and a view of its first `size` bytes."""
    if len(buffer) < size:
        buffer = bytearray(size)
    return buffer, memoryview(buffer)[:size]
