"""Where files are cut: the chunks begin at tensors, and cover every file, hostile and broken ones too."""

from __future__ import annotations

import io
import random
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cas.formats import tensor_files
from cas.formats.chunking import CHUNK, Span
from cas.formats.runs import LARGE
from tests.formats.files_to_cut import MIB, cut, floats, gguf, safetensors, torch_zip, zipped
from tests.formats.hostile_tensor_files import CASES
from tests.support.bounded import call_within_memory

# Boundaries


def test_safetensors_is_cut_at_its_tensors() -> None:
    sizes = [1000, 2000, MIB, 8, 20 * MIB, 8]
    data, at = safetensors(("F32", size) for size in sizes)
    assert cut(data) == [
        (0, at, 1),
        (at, 3000, 4),  # small neighbours share a chunk
        (at := at + 3000, MIB, 4),  # 1 MiB is large
        (at := at + MIB, 8, 4),
        (at := at + 8, CHUNK, 4),  # a large one is cut every 8 MiB from its start
        (at := at + CHUNK, CHUNK, 4),
        (at := at + CHUNK, 4 * MIB, 4),
        (at + 4 * MIB, 8, 4),
    ]


def test_how_deep_a_header_nests_decides_however_deep_the_stack_is() -> None:
    entry = b'"t":{"dtype":"F32","shape":[1],"data_offsets":[0,%d],"new":' % (3 * MIB)

    def model(depth: int) -> bytes:
        header = b"{" + entry + b"[" * depth + b"]" * depth + b"}}"
        return len(header).to_bytes(8, "little") + header + floats(3 * MIB // 4).tobytes()

    def deeper(frames: int, data: bytes) -> list[Span]:
        return deeper(frames - 1, data) if frames else cut(data)

    assert [span.width for span in cut(model(98))] == [1, 4]  # with those of the header and of the entry: 100
    assert cut(model(98)) == deeper(500, model(98))
    assert [span.width for span in cut(model(99))] == [None]


def test_small_tensors_share_chunks_of_about_a_mebibyte() -> None:
    data, at = safetensors([("F16", 300 * 1024)] * 10)
    assert [span.size for span in cut(data)] == [at, 1200 * 1024, 1200 * 1024, 600 * 1024]
    data, at = safetensors([("F16", LARGE - 1)] * 3)
    assert [span.size for span in cut(data)] == [at, 2 * (LARGE - 1), LARGE - 1]


@pytest.mark.parametrize(
    ("dtype", "width"),
    [("F64", 8), ("I64", 8), ("F32", 4), ("C64", 4), ("F16", 2), ("BF16", 2), ("I8", 1), ("F8_E4M3", 1), ("NEW", 1)],
)
def test_the_dtype_tells_the_width(dtype: str, width: int) -> None:
    data, at = safetensors([(dtype, 64)])
    assert cut(data) == [(0, at, 1), (at, 64, width)]


def test_a_shared_chunk_of_mixed_dtypes_tells_no_width() -> None:
    data, at = safetensors([("F32", 64), ("F16", 64)])
    assert cut(data)[1] == (at, 128, None)


def test_an_empty_tensor_lends_its_width_to_nobody() -> None:
    entry = '"%s":{"dtype":"%s","shape":[],"data_offsets":[0,%d]}'
    text = f"{{{entry % ('a', 'F16', 64)},{entry % ('b', 'U8', 0)}}}".encode()
    assert [span.width for span in cut(len(text).to_bytes(8, "little") + text + bytes(64))] == [1, 2]


def test_a_safetensors_file_without_tensors_is_cut_after_its_header() -> None:
    data, at = safetensors([], {"note": "empty"})
    assert cut(data) == [(0, at, 1)]


def test_a_torch_zip_is_cut_at_its_members_data(tmp_path: Path) -> None:
    tensors = {"a": floats(5 * MIB // 4), "b": floats(10, 1), "c": floats(10 * MIB // 4, 2)}
    data = torch_zip(tensors, tmp_path)
    a, c = (data.index(tensors[name].tobytes()) for name in "ac")
    starts = [span.offset for span in cut(data)]
    assert {0, a, c, c + CHUNK} <= set(starts)
    assert [start for start in starts if a < start < a + 5 * MIB or c < start < c + 10 * MIB] == [c + CHUNK]


@pytest.mark.parametrize("streamed", [False, True])
def test_any_zip_is_cut_at_stored_data_and_not_within_compressed_data(streamed: bool) -> None:
    noise = random.Random(1).randbytes(3 * MIB)
    data = zipped([(noise, zipfile.ZIP_STORED), (noise, zipfile.ZIP_DEFLATED), (noise, zipfile.ZIP_STORED)], streamed)
    first, last = data.index(noise), data.rindex(noise)
    starts = [span.offset for span in cut(data)]
    assert {first, last} <= set(starts)
    # Where sizes precede the data, a header belongs to no neighbour; where they follow it, it does not change.
    assert (data.index(b"PK\3\4", first + len(noise)) in starts) is not streamed


def test_zip64_is_understood() -> None:
    noise = random.Random(1).randbytes(2 * MIB)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in "ab":
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(noise)
    data = bytearray(file.getvalue())
    # Directory entries as for a file over 4 GiB: the member's place stands in a zip64 field.
    entry = data.index(b"PK\1\2")
    directory, place = bytearray(), 0
    for name in b"ab":
        fields = struct.pack("<HHQ", 1, 8, place)
        directory += data[entry : entry + 30] + struct.pack("<H10xI", len(fields), 0xFFFFFFFF)
        directory += bytes([name]) + fields
        place = data.index(b"PK\3\4", 4)
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, len(directory), entry)
    end += struct.pack("<4sIQI", b"PK\6\7", 0, entry + len(directory), 1)
    end += struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2, 2, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    whole = bytes(data[:entry] + directory + end)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.read("b") == noise
    assert {whole.index(noise), whole.rindex(noise)} <= {span.offset for span in cut(whole)}


def test_gguf_is_cut_at_its_tensors(tmp_path: Path) -> None:
    tensors = {"a": floats(9 * MIB // 4), "b": floats(7, 1), "c": floats(MIB, 2).astype(np.float16)}
    data = gguf(tensors, tmp_path)
    a, b, c = (data.index(array.tobytes()) for array in tensors.values())
    assert cut(data) == [(0, a, 1), (a, CHUNK, 4), (a + CHUNK, MIB, 4), (b, c - b, 4), (c, 2 * MIB, 2)]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_one_byte_repeated_has_no_cuts_by_content_and_is_cut_every_8_mib(size: int) -> None:
    found = cut(b"x" * size)
    assert [span.offset for span in found] == list(range(0, size, CHUNK))
    assert {span.width for span in found} <= {None}


# Hostile and broken files


def _seeds() -> list[bytes]:
    data, _ = safetensors([("F32", 400), ("F16", 200)], {"note": "x"})
    zips = [
        zipped([(bytes(300), zipfile.ZIP_STORED), (bytes(300), zipfile.ZIP_DEFLATED)], way) for way in (True, False)
    ]
    head = struct.pack("<4sIQQ", b"GGUF", 3, 1, 1) + struct.pack("<Q17sII", 17, b"general.alignment", 4, 32)
    info = struct.pack("<Q1sIQIQ", 1, b"t", 1, 100, 0, 0)
    return [data, *zips, head + info + bytes(500)]


SEEDS = _seeds()
MAGICS = [b"", b"GGUF\3\0\0\0", b"PK\3\4", b"\x20\0\0\0\0\0\0\0{", b"\2\0\0\0\0\0\0\0{}"]
EXTREMES = [b"\xff", b"\0" * 8, b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"-", b"9" * 30, b"1.5", b"NaN", b"true", b"["]
PIECES = st.sampled_from(EXTREMES) | st.binary(max_size=8)


def test_the_seeds_are_understood() -> None:
    assert [len(tensor_files.runs(io.BytesIO(seed), len(seed)) or ()) for seed in SEEDS] == [3, 3, 4, 2]


@given(st.sampled_from(MAGICS), st.binary(max_size=200))
def test_any_bytes_are_covered(magic: bytes, rest: bytes) -> None:
    cut(magic + rest)


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), PIECES), max_size=4),
)
def test_a_mutated_header_is_covered(seed: bytes, edits: list[tuple[float, int, bytes]]) -> None:
    data = seed
    for place, removed, inserted in edits:
        at = int(place * len(data))
        data = data[:at] + inserted + data[at + removed :]
    cut(data)


@pytest.mark.parametrize(
    "offsets",
    [
        *("[-8,8]", "[-999999,8]", "[8,0]", "[0,1e300]", "[1.5,3]", "[NaN,3]", "[true,9]", "[]", "[0,1,2]", "null"),
        *("[0,99999999]", "[99999999,999999999]", f"[{2**64 - 1},{2**64}]", f"[0,{10**400}]", f"[{10**400},{10**401}]"),
    ],
    ids=lambda offsets: offsets[:24],
)
def test_offsets_out_of_place_are_covered(offsets: str) -> None:
    entry = '{"dtype":"F32","shape":[1],"data_offsets":%s}'
    text = ('{"a":' + entry % "[0,4]" + ',"b":' + entry % offsets + "}").encode()
    cut(len(text).to_bytes(8, "little") + text + bytes(64))


def test_overlapping_tensors_are_covered() -> None:
    entry = '{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    text = f'{{"a":{entry % (0, 60)},"b":{entry % (0, 4)},"c":{entry % (30, 64)}}}'.encode()
    cut(len(text).to_bytes(8, "little") + text + bytes(64))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded as Linux does it")
@pytest.mark.parametrize("name", CASES)
def test_a_hostile_header_costs_little_time_and_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(CASES[name]())
    call_within_memory(160, "tests.formats.hostile_tensor_files", "cut", str(path), seconds=20)
    path.unlink()
