"""Safetensors files of every shape, and those that only claim to be one."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cas
from cas import refs
from cas.errors import FormatError, InputError
from cas.formats import chunking
from cas.refs import reflog
from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.models import REPO, put_model, snapshot
from tests.support.safetensors import (
    FLOATS,
    TARGETS,
    WIDTHS,
    Tensor,
    cast_all,
    normal,
    publish_file,
    read_safetensors,
    safetensors,
    with_header,
)

NAMES = st.text(st.characters(codec="utf-8"), min_size=0, max_size=8).filter(lambda name: name != "__metadata__")


@st.composite
def tensor(draw: st.DrawFn) -> Tensor:
    dtype = draw(st.sampled_from(sorted(WIDTHS)))
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=3)))
    count = WIDTHS[dtype]
    for extent in shape:
        count *= extent
    return Tensor(dtype, shape, draw(st.binary(min_size=count, max_size=count)))


@st.composite
def files(draw: st.DrawFn) -> tuple[dict[str, Tensor], dict[str, str] | None, list[str]]:
    tensors = draw(st.dictionaries(NAMES, tensor(), max_size=6))
    metadata = draw(st.none() | st.dictionaries(NAMES, st.text(st.characters(codec="utf-8"), max_size=9), max_size=2))
    return tensors, metadata, draw(st.permutations(list(tensors)))


def round_trip(data: bytes, cast: str) -> bytes:
    """Return the file as a restore writes it."""
    with tempfile.TemporaryDirectory() as folder:
        store = cas.open_store(f"{folder}/store")
        publish_file(store, Path(folder) / "src", data)
        cas.derive("m", store, cast=cast, tags=["small"])
        found = refs.resolve(store, "m:small").manifest.repos[0].files[0]
        restored = snapshot(cas.restore("m:small", store, cache_dir=f"{folder}/hub")) / found.path
        with restored.open("rb") as opened:
            assert [span.size for span in chunking.spans(opened, found.size)] == [chunk.size for chunk in found.chunks]
        return restored.read_bytes()


def aligned(tensors: dict[str, Tensor], order: list[str]) -> dict[str, bool]:
    found, at = {}, 0
    for name in order:
        found[name] = at % WIDTHS[tensors[name].dtype] == 0 or not tensors[name].data
        at += len(tensors[name].data)
    return found


@settings(max_examples=60)
@given(file=files(), cast=st.sampled_from(sorted(TARGETS)))
def test_any_file_comes_back_with_its_floats_cast_and_nothing_else_changed(file: Any, cast: str) -> None:
    tensors, metadata, order = file
    target = TARGETS[cast]
    data = safetensors(tensors, metadata, order)
    if all(one.dtype == target or one.dtype not in FLOATS for one in tensors.values()):
        with pytest.raises(InputError, match="no safetensors file with floating tensors"):
            round_trip(data, cast)
        return
    now, metadata_now, order_now = read_safetensors(round_trip(data, cast))
    assert list(now) == list(tensors)
    assert metadata_now == metadata
    for name, old in tensors.items():
        if old.dtype in FLOATS:
            assert now[name] == Tensor(target, old.shape, cast_all(old.data, old.dtype, target))
        else:
            assert now[name] == old
    before, after = aligned(tensors, order), aligned(now, order_now)
    assert all(after[name] for name in tensors if before[name])


def test_the_order_of_the_data_stays_where_alignment_allows_it() -> None:
    values = {"b": Tensor("F32", (3,), normal(3)), "a": Tensor("F32", (1,), normal(1)), "c": Tensor("U8", (3,), b"abc")}
    now, _, order = read_safetensors(round_trip(safetensors(values, None, ["c", "b", "a"]), "float16"))
    assert (list(now), order) == (["b", "a", "c"], ["c", "b", "a"])
    odd = {"w": Tensor("F32", (3,), normal(3)), "i": Tensor("I32", (2,), b"12345678")}
    now, _, order = read_safetensors(round_trip(safetensors(odd), "bfloat16"))
    assert (list(now), order) == (["w", "i"], ["i", "w"])


def test_large_tensors_between_small_ones_over_many_chunks() -> None:
    tensors = {
        "small": Tensor("F32", (7,), normal(7)),
        "large": Tensor("F32", ((9 << 20) // 2 + 3,), normal((9 << 20) // 2 + 3)),
        "ints": Tensor("I64", (1 << 18,), b"\1\2\3\4\5\6\7\0" * (1 << 18)),
        "after": Tensor("F64", (300_000,), normal(600_000, 4)),
        "u8": Tensor("U8", (11,), b"x" * 11),
        "last": Tensor("BF16", (5,), b"ab" * 5),
    }
    now, _, _ = read_safetensors(round_trip(safetensors(tensors), "float16"))
    for name, old in tensors.items():
        wanted = cast_all(old.data[:400_000], old.dtype, "F16") if old.dtype in FLOATS else old.data
        assert now[name].data[: len(wanted)] == wanted, name
    end = tensors["large"].data[-40_000:]
    assert now["large"].data[-20_000:] == cast_all(end, "F32", "F16")


def entry(dtype: str, shape: list[int], *offsets: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


MALFORMED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "too short"),
    "no length": (b"1234567", "too short"),
    "longer than the file": (struct.pack("<Q", 100) + b"{}", "longer than the file"),
    "impossible length": (b"\xff" * 8 + b"{}", "longer than the file"),
    "not JSON": (with_header(b"{nonsense", b""), "malformed"),
    "not an object": (with_header(b"[1]", b""), "not one of safetensors"),
    "not UTF-8": (with_header(b'{"\xff":1}', b""), "malformed"),
    "deep": (with_header(b'{"a":' + b"[" * 100_000, b""), "malformed"),
    "no shape": (with_header({"w": {"dtype": "F32", "data_offsets": [0, 4]}}, b"1234"), "malformed"),
    "negative": (with_header({"w": entry("F32", [1], -4, 0)}, b""), "malformed"),
    "negative shape": (with_header({"w": entry("F32", [-1, -1], 0, 4)}, b"1234"), "malformed"),
    "fraction": (with_header(b'{"w":{"dtype":"F32","shape":[1.5],"data_offsets":[0,6]}}', b"123456"), "malformed"),
    "three offsets": (with_header({"w": entry("F32", [1], 0, 4, 4)}, b"1234"), "malformed"),
    "backwards": (with_header({"w": entry("F32", [1], 4, 0)}, b"1234"), "begins at 4, where 0 is free"),
    "overlap": (with_header({"a": entry("F32", [2], 0, 8), "b": entry("F32", [1], 4, 8)}, b"12345678"), "where 8 is"),
    "gap": (with_header({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}, b"1" * 12), "where 4 is free"),
    "late": (with_header({"a": entry("F32", [1], 4, 8)}, b"1" * 8), "where 0 is free"),
    "rest": (with_header({"a": entry("F32", [1], 0, 4)}, b"1" * 8), "take up 4 of 8"),
    "beyond": (with_header({"a": entry("F32", [4], 0, 16)}, b"1" * 8), "take up 16 of 8"),
    "wrong size": (with_header({"a": entry("F32", [3], 0, 8)}, b"1" * 8), "not its shape's size"),
    "odd bits": (with_header({"a": entry("F4", [3], 0, 2)}, b"12"), "not its shape's size"),
    "huge shape": (with_header({"a": entry("F32", [1 << 50, 1 << 50, 0], 0, 0)}, b""), "impossibly large"),
    "huge extent": (with_header({"a": entry("F32", [1 << 63], 0, 0)}, b""), "malformed"),
    "huge number": (with_header(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b"]}}", b""), "malformed"),
    "metadata of numbers": (with_header({"__metadata__": {"a": 1}, "w": entry("F32", [], 0, 4)}, b"1234"), "malformed"),
    "twice": (
        with_header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":'
                    b'{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', b"12345678"),
        "begins at 4, where 0 is free",
    ),
    "a control character": (with_header({"\x1b[31m": entry("F32", [2], 0, 4)}, b"1234"), r"'\\x1b\[31m'"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused_in_one_line(case: str, directory_store: Store) -> None:
    data, told = MALFORMED[case]
    # A publish would refuse such a file.
    put_model(directory_store, {REPO: {"a.txt": b"a", "sub/model.safetensors": data}})
    with pytest.raises(FormatError, match=told) as caught:
        cas.derive("m", directory_store, cast="float16", tags=["x"])
    assert str(caught.value).startswith("org/model/sub/model.safetensors cannot be cast: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    with pytest.raises(FormatError):
        cas.derive("m", directory_store, cast="float16", tags=["x"], dry_run=True)
    assert "x" not in reflog.tags(directory_store, "m")["m"]


def test_the_command_ends_with_the_format_exit_code(directory_store: Store) -> None:
    put_model(directory_store, {REPO: {"model.safetensors": MALFORMED["gap"][0]}})
    done = call_cas("--store", directory_store.url, "derive", "m", "--cast", "float16", "--tag", "x")
    assert (done.returncode, done.stdout) == (5, "")
    assert len(done.stderr.splitlines()) == 1


def test_headers_that_would_take_much_memory_are_refused(directory_store: Store, tmp_path: Path) -> None:
    size = (32 << 20) + 8
    publish_file(directory_store, tmp_path / "long", struct.pack("<Q", size) + b"{}".ljust(size))
    with pytest.raises(FormatError, match="where at most 33554432 are read"):
        cas.derive("m", directory_store, cast="float16", tags=["x"])
    many = b"{" + b",".join(b'"%d":{}' % number for number in range(1 << 18)) + b"}"
    publish_file(directory_store, tmp_path / "many", with_header(many, b""))
    with pytest.raises(FormatError, match="at most 262144 tensors"):
        cas.derive("m", directory_store, cast="float16", tags=["x"])


def test_metadata_that_looks_like_a_tensor_is_no_trap(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the boundaries of chunks are not those of tensors, elements must not be torn."""
    count = (8 << 20) + 9
    even = {"w": Tensor("F32", (count,), normal(1000) * (count // 1000) + normal(count % 1000))}
    now, metadata, _ = read_safetensors(round_trip(safetensors(even, {"data_offsets": "mine"}), "float16"))
    assert metadata == {"data_offsets": "mine"}
    assert now["w"].data[:2000] == cast_all(normal(1000), "F32", "F16")
    odd = safetensors({"u": Tensor("U8", (1,), b"u"), **even}, {"data_offsets": "mine"})
    now, _, _ = read_safetensors(round_trip(odd, "float16"))
    assert now["w"].data[:2000] == cast_all(normal(1000), "F32", "F16")
    publish_file(directory_store, tmp_path / "src", odd)
    monkeypatch.setattr("cas.formats.tensor_files.runs", lambda file, size: None)
    with pytest.raises(FormatError, match="its header is read as another format's"):
        cas.derive("m", directory_store, cast="float16", tags=["x"])


def test_types_from_the_future_are_carried() -> None:
    header = {"w": entry("F32", [2], 0, 8), "q": entry("Q3_K", [77, 5], 8, 13)}
    data = round_trip(with_header(header, normal(2) + b"quant"), "float16")
    (length,) = struct.unpack_from("<Q", data)
    now = json.loads(data[8 : 8 + length])
    assert now["q"] == entry("Q3_K", [77, 5], 4, 9)
    assert data[8 + length :] == cast_all(normal(2), "F32", "F16") + b"quant"


def test_a_file_cut_at_other_places_is_read_all_the_same(directory_store: Store, tmp_path: Path) -> None:
    """Another program, or another version of this one, may cut files where it likes."""
    from cas.formats import manifest
    from cas.formats.digest import hex_of
    from cas.formats.frame import Codec
    from cas.formats.manifest import ChunkRef

    tensors = {"w": Tensor("F32", (1000,), normal(1000)), "d": Tensor("F64", (500,), normal(1000, 1))}
    data = safetensors(tensors)
    publish_file(directory_store, tmp_path / "src", data)
    original = refs.resolve(directory_store, "m").manifest
    chunks, at = [], 0
    for size in [1, 2, 3, 70, 1001, len(data)]:
        piece = data[at : at + size]
        at += len(piece)
        frame = directory_store.make_frame(hex_of(piece), piece, None, Codec())
        directory_store.put_frame(hex_of(piece), frame)
        chunks.append(ChunkRef(hex_of(piece), len(piece)))
    import msgspec

    (repo,) = original.repos
    file = msgspec.structs.replace(repo.files[0], chunks=tuple(chunks))
    other = msgspec.structs.replace(original, repos=(msgspec.structs.replace(repo, files=(file,)),))
    digest = directory_store.put_manifest(other)
    assert manifest.digest_of(other) == digest
    cas.derive(f"m@{digest}", directory_store, cast="float16", tags=["fp16"])
    restored = snapshot(cas.restore("m:fp16", directory_store, cache_dir=tmp_path / "hub")) / "model.safetensors"
    now, _, _ = read_safetensors(restored.read_bytes())
    for name, old in tensors.items():
        assert now[name].data == cast_all(old.data, old.dtype, "F16")
