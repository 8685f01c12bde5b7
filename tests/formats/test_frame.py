"""Frames: their bytes are as documented, they decode to what was encoded, and everything else is refused."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cas.errors import FormatError, IntegrityError
from cas.formats.frame import MAX_CHUNK, Decoder, Encoder, FrameDamaged, claimed_size, decode, largest_frame
from cas.formats.planes import BLOCK, join
from tests.formats.hostile_frames import CASES, SIZE, header, zstd
from tests.support.bounded import call_within_memory

REFUSALS = (IntegrityError, FormatError)
WIDTHS = st.one_of(st.none(), st.integers(1, 8))

RANDOM = random.Random(1).randbytes(300_000)
FLOATS = np.random.default_rng(1).standard_normal(300_000, np.float32)
TEXT = b"".join(b"%d: the quick brown fox\n" % line for line in range(20_000))


def planes(plain: bytes, width: int) -> bytes:
    """The byte planes of `plain`, as docs/design.md describes them."""
    body = len(plain) - len(plain) % width
    return b"".join(plain[byte:body:width] for byte in range(width)) + plain[body:]


def block_headers(frame: bytes) -> list[int]:
    """The offsets in a frame at which the blocks of its zstd frame begin."""
    at = 24 + zstandard.frame_header_size(frame[24:])
    found: list[int] = []
    while at < len(frame):
        word = int.from_bytes(frame[at : at + 3], "little")
        found.append(at)
        at += 3 + (1 if word >> 1 & 3 == 1 else word >> 3)
    return found


@given(st.binary(max_size=3000), WIDTHS)
def test_any_bytes_read_back_at_any_width(plain: bytes, width: int | None) -> None:
    frame = Encoder().encode(plain, width)
    assert decode(frame, len(plain)) == plain
    assert len(frame) <= largest_frame(len(plain))


@pytest.mark.parametrize("width", [1, 2, 3, 4, 8, 255, None])
def test_codecs_are_reused_from_chunk_to_chunk(width: int | None) -> None:
    encoder, decoder = Encoder(), Decoder()
    for size in (300_000, 5, 2 * BLOCK + 7, 0, 1):
        assert decoder.decode(encoder.encode(RANDOM[:size], width), size) == RANDOM[:size]


@given(st.binary(max_size=500), st.integers(1, 8))
def test_any_zstd_reads_a_frame_and_finds_the_planes(plain: bytes, width: int) -> None:
    frame = Encoder().encode(plain, width)
    reader = zstandard.ZstdDecompressor().stream_reader(frame, read_across_frames=True)
    assert reader.read() == planes(plain, width)


@pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd command here")
def test_the_zstd_command_reads_a_frame() -> None:
    frame = Encoder().encode(TEXT, 1)
    assert subprocess.run(["zstd", "-dc"], input=frame, capture_output=True, check=True).stdout == TEXT


@pytest.mark.parametrize(("width", "kind"), [(1, 0), (2, 1), (4, 1), (8, 1)])
def test_the_header_is_as_documented(width: int, kind: int) -> None:
    frame = Encoder().encode(TEXT[:1000], width)
    assert frame[:8] == b"\x5c\x2a\x4d\x18" + b"\x10\0\0\0"  # skippable frame of 16 bytes
    assert frame[8:24] == b"CAS1" + bytes([kind, width]) + b"\0\0" + b"\xe8\x03\0\0\0\0\0\0"
    inner = zstandard.get_frame_parameters(frame[24:])
    assert (inner.content_size, inner.has_checksum, inner.dict_id) == (1000, False, 0)


@pytest.mark.parametrize(
    ("plain", "width"),
    [
        (FLOATS.tobytes(), 4),
        ((FLOATS * np.float32(0.02)).tobytes(), 4),
        (FLOATS[:10_000].tobytes(), 4),
        (FLOATS.astype(np.float16).tobytes(), 2),
        (np.arange(10**12, 10**12 + 50_000).tobytes(), 8),
        (TEXT, 1),
        (RANDOM, 1),
        (b"", 1),
    ],
    ids=["float32", "small float32", "short float32", "float16", "int64", "text", "random", "empty"],
)
def test_the_width_is_found_by_sampling(plain: bytes, width: int) -> None:
    frame = Encoder().encode(plain)
    assert (frame[12], frame[13]) == (int(width > 1), width)


def test_planes_pay_for_floats() -> None:
    plain = FLOATS.tobytes()
    assert len(Encoder().encode(plain, 4)) < 0.86 * len(plain) < 0.95 * len(Encoder().encode(plain, 1))


@pytest.mark.parametrize("width", [0, -1, 256])
def test_an_impossible_width_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        Encoder().encode(b"abc", width)


def test_a_chunk_over_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        Encoder().encode(memoryview(bytearray(MAX_CHUNK + 1)))
    whole = memoryview(bytearray(MAX_CHUNK))
    assert Decoder().decode(Encoder().encode(whole, 1), MAX_CHUNK) == whole


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_frame_is_refused(name: str) -> None:
    with pytest.raises(REFUSALS):
        decode(CASES[name], SIZE)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bomb that says so", "frame claims 2147483648 bytes where the manifest says 1000"),
        ("bomb that only zstd tells", "zstd frame claims 2147483648 bytes"),
        ("window of 128 MiB", "asks for a window of 134217728 bytes or a dictionary"),
        ("dictionary", "or a dictionary"),
        ("checksum announced and not there", "has a checksum"),
        ("trailing byte", "zstd frame ends at byte"),
        ("planes of width 1", "byte planes of width 1"),
        ("reserved bits", "written by a newer version"),
        ("header of another length", "written by a newer version"),
    ],
)
def test_a_hostile_frame_is_refused_before_it_is_decoded(name: str, reason: str) -> None:
    with pytest.raises(REFUSALS, match=reason):
        decode(CASES[name], SIZE)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded as Linux does it")
def test_hostile_frames_take_no_memory() -> None:
    call_within_memory(8, "tests.formats.hostile_frames", "refuse_all")


@pytest.mark.parametrize("options", [{"write_checksum": True}, {"write_content_size": False}])
def test_frames_with_other_options_are_refused(options: dict[str, bool]) -> None:
    inner = zstandard.ZstdCompressor(**options).compress(TEXT)  # type: ignore[arg-type]
    with pytest.raises(FrameDamaged):
        decode(header(len(TEXT)) + inner, len(TEXT))


@pytest.mark.parametrize("level", [-5, 3, 19, 22])
def test_frames_of_any_level_are_read(level: int) -> None:
    assert decode(Encoder(level).encode(FLOATS.tobytes(), 4), FLOATS.nbytes) == FLOATS.tobytes()


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("size", [MAX_CHUNK + 1, 2**40, 2**64 - 1])
def test_a_claim_over_the_largest_chunk_is_refused_where_no_manifest_tells_the_size(kind: int, size: int) -> None:
    sound = header(MAX_CHUNK, kind, kind + 1)
    assert claimed_size(sound) == MAX_CHUNK
    with pytest.raises(FrameDamaged, match="more than the 67108864 of any chunk"):
        claimed_size(header(size, kind, kind + 1))


@pytest.mark.parametrize("longer", [-1, 0, 1])
def test_planes_are_decoded_from_a_zstd_frame_about_as_long_as_they_are(longer: int) -> None:
    """Blosc takes a block as long as its content for one that is not compressed."""
    head, literal = len(zstd(b"", 0)), RANDOM[:1000]
    repeated = head + 3 + 3 + 1 - longer  # the bytes that the run of zeros saves: the headers, and one byte of its own
    body = zstd((len(literal) << 3).to_bytes(3, "little") + literal + (repeated << 3 | 3).to_bytes(3, "little") + b"\0",
                len(literal) + repeated)  # fmt: skip
    stored = literal + bytes(repeated)
    assert len(body) == len(stored) + longer
    for width in (2, 4):
        plain = bytearray(len(stored))
        join(stored, width, memoryview(plain))
        assert decode(header(len(stored), 1, width) + body, len(stored)) == plain


def test_a_frame_is_as_it_was_after_it_was_decoded_or_refused() -> None:
    """A publish decodes the frame that it is about to send; the decoder writes over its header meanwhile."""
    for plain, width in ((TEXT[:5000], 2), (FLOATS.tobytes(), 4), (TEXT[:5000], 1)):
        frame = Encoder().encode(plain, width)
        before = bytes(frame)
        assert Decoder().decode(frame, len(plain)) == plain
        assert frame == before
    middle = len(frame) // 2
    for at in range(middle, middle + 20):
        damaged = bytearray(before)
        damaged[at] ^= 0xFF
        was = bytes(damaged)
        with contextlib.suppress(FrameDamaged):
            Decoder().decode(damaged, len(plain))
        assert damaged == was


def test_a_newer_version_is_told_from_damage() -> None:
    with pytest.raises(FormatError, match="newer version"):
        decode(CASES["newer version"], SIZE)
    with pytest.raises(FrameDamaged, match="no frame"):
        decode(CASES["an error page"], SIZE)


def test_a_truncated_frame_is_refused_wherever_it_ends() -> None:
    small, large = Encoder().encode(TEXT[:200], 2), Encoder().encode(FLOATS.tobytes(), 4)
    for frame, size, step in ((small, 200, 1), (large, FLOATS.nbytes, 4999)):
        assert len(decode(frame, size)) == size
        for end in range(0, len(frame), step):
            with pytest.raises(FrameDamaged):
                decode(frame[:end], size)


def test_a_corrupted_block_structure_is_refused() -> None:
    frame = Encoder().encode(FLOATS.tobytes(), 4)
    headers = block_headers(frame)
    assert len(headers) > 5
    for at in headers:
        word = int.from_bytes(frame[at : at + 3], "little")
        # a type that does not exist, one byte more, one fewer, the last block come early or never
        for other in (word | 3 << 1, word + 8, word - 8, word ^ 1):
            broken = frame[:at] + other.to_bytes(3, "little") + frame[at + 3 :]
            with pytest.raises(FrameDamaged):
                decode(broken, FLOATS.nbytes)


@given(st.binary(min_size=1, max_size=300), WIDTHS, st.data())
def test_a_flipped_bit_is_refused_or_changes_nothing_but_the_bytes(
    plain: bytes, width: int | None, data: st.DataObject
) -> None:
    frame = bytearray(Encoder().encode(plain, width))
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(REFUSALS):
        assert len(decode(frame, len(plain))) == len(plain)


@given(
    st.sampled_from([b"", header(100), header(100, 1, 4), header(100) + b"\x28\xb5\x2f\xfd"]),
    st.binary(max_size=300),
)
def test_random_bytes_never_crash_the_decoder(start: bytes, noise: bytes) -> None:
    with contextlib.suppress(REFUSALS):
        assert len(decode(start + noise, 100)) == 100
