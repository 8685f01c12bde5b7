"""How a chunk is stored: a header that says how to decode it, then one ordinary zstd frame.

The header is a skippable zstd frame (RFC 8878, section 3.1.2), so `zstd -d` decodes the whole. All
integers are little-endian; docs/design.md has the table. A frame is untrusted until decoded: every size
it claims is checked against what the manifest promised before any memory is taken for it.
"""

from __future__ import annotations

import struct

import zstandard

from cas.errors import FormatError, IntegrityError
from cas.formats.digest import Buffer

MAX_CHUNK = 64 * 1024 * 1024
"""Plain bytes of the largest chunk a reader accepts."""

LEVEL = 1
"""Default zstd level: higher ones gain under 1 % on planed weights and cost several times the time."""

# Planes of floats hold no matches worth having: the few that chance brings cost more to write down than they save, and
# to look for them takes longer than the rest. So little is remembered of what came before: smaller and twice as fast
# (docs/decisions/0013-zstd-for-planes.md).
_FOR_PLANES = {"strategy": zstandard.STRATEGY_FAST, "min_match": 7, "hash_log": 6}
_from_level = zstandard.ZstdCompressionParameters.from_level

_HEADER = struct.Struct("<II4sBBHQ")
_MAGIC = 0x184D2A5C
_TAG = b"CAS1"
_PAYLOAD = 16
_NO_FILTER, _BYTE_PLANES = 0, 1

_SAMPLE = 256 * 1024  # a 64 KiB sample misleads zstd: it chose 0.88 where 0.84 was to be had
_TOLERANCE = 1.005
_ZSTD_BLOCK = 128 * 1024  # RFC 8878, section 3.1.1.2.4


class FrameDamaged(IntegrityError):
    """A frame is cut short, over-long, or claims what the manifest does not."""


def largest_frame(size: int) -> int:
    """Bytes that the frame of a chunk of `size` plain bytes can take at most (ZSTD_COMPRESSBOUND)."""
    return _HEADER.size + size + (size >> 8) + 64 * 1024


class Encoder:
    """Makes frames, reusing its buffers from chunk to chunk; not safe to share between threads."""

    def __init__(self, level: int = LEVEL) -> None:
        options: dict[str, int] = {"write_content_size": 1, "write_checksum": 0, "write_dict_id": 0}
        self._compressor = zstandard.ZstdCompressor(compression_params=_from_level(level, **options))
        tuned = _FOR_PLANES if level == LEVEL else {}
        self._planes_compressor = zstandard.ZstdCompressor(compression_params=_from_level(level, **options, **tuned))
        self._scratch = bytearray()

    def encode(self, plain: Buffer, width: int | None = None) -> bytearray:
        """The frame of `plain`, in memory that a Decoder may use in place.

        width: bytes per element where the file's format tells it (1: no planes), None to pick by sample.
        Raises ValueError for a width outside 1..255 or a chunk over MAX_CHUNK.
        """
        if len(plain) > MAX_CHUNK:
            raise ValueError(f"a chunk has at most {MAX_CHUNK} bytes, not {len(plain)}")
        if width is not None and not 1 <= width <= 255:
            raise ValueError(f"an element has 1 to 255 bytes, not {width}")
        if width is None:
            width = self._sampled_width(plain)
        kind = _BYTE_PLANES if width > 1 else _NO_FILTER
        frame = bytearray(_HEADER.pack(_MAGIC, _PAYLOAD, _TAG, kind, width, 0, len(plain)))
        frame += self._compressor_for(width, len(plain)).compress(self._planed(plain, width))
        return frame

    def _planed(self, plain: Buffer, width: int) -> Buffer:
        if width == 1:
            return plain
        from cas.formats import planes

        self._scratch, target = _at_least(self._scratch, len(plain))
        planes.split(plain, width, target)
        return target

    def _sampled_width(self, plain: Buffer) -> int:
        middle = max(0, len(plain) - _SAMPLE) // 2 // 8 * 8
        sample = memoryview(plain)[middle : middle + _SAMPLE]
        sizes = {width: self._compressed(sample, width, len(plain)) for width in (1, 2, 4, 8)}
        good_enough = min(sizes.values()) * _TOLERANCE
        return next(width for width, size in sizes.items() if size <= good_enough)

    def _compressed(self, sample: memoryview, width: int, size: int) -> int:
        data, compressor = self._planed(sample, width), self._compressor_for(width, size)
        # A chunk's planes fill whole blocks of zstd with one kind of byte. Those of a sample are shorter and would
        # share blocks, which hides what they gain: each is compressed by itself.
        step = max(1, len(data) // (width if len(data) < size else 1))
        return sum(len(compressor.compress(data[at : at + step])) for at in range(0, len(data), step))

    def _compressor_for(self, width: int, size: int) -> zstandard.ZstdCompressor:
        # Smaller planes share zstd's blocks, where one kind of byte is told from another by matches alone.
        return self._planes_compressor if width > 1 and size >= width * _ZSTD_BLOCK else self._compressor


class Decoder:
    """Opens frames, reusing its buffers from chunk to chunk; not safe to share between threads."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK)
        self._plain = bytearray()
        self._planes = bytearray()
        self._frame = bytearray()

    def decode(self, frame: Buffer, size: int) -> memoryview:
        """The `size` plain bytes of `frame`, valid until the next call.

        frame: nobody else may use it meanwhile, unless it is read-only, which costs a copy. Raises FrameDamaged when it
        is not whole or not of that size, FormatError when a newer version wrote it. The bytes are
        not yet trusted: the caller hashes them.
        """
        view = memoryview(frame)
        width = _read_header(view, size)
        body = view[_HEADER.size :]
        _check_body(body, size)
        self._plain, plain = _at_least(self._plain, size)
        if width == 1:
            self._inflate(body, plain)
        else:
            self._inflate_planes(view, width, plain)
        return plain

    def _inflate_planes(self, view: memoryview, width: int, plain: memoryview) -> None:
        from cas.formats import planes

        room = view
        if view.readonly:
            self._frame, room = _at_least(self._frame, len(view))
            room[:] = view
        try:
            # The header of a frame is as long as what Blosc wants before the body.
            if planes.unpack(room[_HEADER.size - planes.BEFORE :], width, plain):
                return
        except ValueError as error:
            raise FrameDamaged(f"zstd says: {error}") from error
        self._planes, planed = _at_least(self._planes, len(plain))
        self._inflate(view[_HEADER.size :], planed)
        planes.join(planed, width, plain)

    def _inflate(self, body: memoryview, out: memoryview) -> None:
        # readinto() a buffer that holds the whole frame lets zstd write straight into it: twice as fast as
        # decompress(), which returns fresh memory each time.
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
    """An encoder and a decoder with their buffers: what one thread needs to make frames and to open them."""

    def __init__(self) -> None:
        self.encoder, self.decoder = Encoder(), Decoder()


def decode(frame: Buffer, size: int) -> bytes:
    """The plain bytes of one frame, for callers who open just one; see Decoder.decode."""
    return bytes(Decoder().decode(frame, size))


def claimed_size(frame: Buffer) -> int:
    """Plain bytes that a frame says it holds, for who has no manifest to ask; believe it when they are hashed.

    Raises FrameDamaged when it is no frame or claims more than MAX_CHUNK, FormatError when a newer version wrote it.
    """
    view = memoryview(frame)
    claimed = int(_HEADER.unpack_from(view)[-1]) if len(view) >= _HEADER.size else 0
    _read_header(view, claimed)
    if claimed > MAX_CHUNK:
        raise FrameDamaged(f"frame claims {claimed} bytes, more than the {MAX_CHUNK} of any chunk")
    return claimed


def _read_header(view: memoryview, size: int) -> int:
    """The element width to undo; raises when the header is not ours or promises another size."""
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
    """Refuses, before decoding, a zstd frame that is not exactly one whole frame of `size` bytes."""
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
    """Where the last block ends (RFC 8878, section 3.1.1.2): python-zstandard ignores what follows it."""
    while True:
        if at + 3 > len(body):
            raise FrameDamaged(f"zstd frame is cut short at byte {len(body)}")
        word = int.from_bytes(body[at : at + 3], "little")
        last, kind, length = word & 1, word >> 1 & 3, word >> 3
        at += 3 + (1 if kind == 1 else length)
        if last:
            return at


def _at_least(buffer: bytearray, size: int) -> tuple[bytearray, memoryview]:
    """`buffer`, or a larger one, and a view of its first `size` bytes."""
    if len(buffer) < size:
        buffer = bytearray(size)
    return buffer, memoryview(buffer)[:size]
