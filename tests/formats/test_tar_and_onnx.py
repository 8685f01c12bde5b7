"""Tar files are cut at their members, ONNX models at the raw data of their tensors, whatever stands before these."""

from __future__ import annotations

import io
import pickle
import random
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cas.formats import runs
from tests.formats.files_to_cut import MIB, cut, floats, gguf, new_bytes, noise, safetensors, torch_zip, zipped
from tests.formats.tar_and_onnx import field, onnx, tar
from tools.models.weights import Array

KINDS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
LONG = "a/" + "long" * 40


def weights() -> dict[str, Array]:
    return {f"t{n}": floats(3 * MIB // 8 + n, n) for n in range(6)} | {"half": floats(MIB, 9).astype(np.float16)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["./model_weights.ckpt", LONG])
def test_a_longer_config_in_a_nemo_leaves_98_percent_as_they_are(kind: int, name: str, tmp_path: Path) -> None:
    checkpoint = torch_zip(weights(), tmp_path)
    if kind == tarfile.USTAR_FORMAT:
        name = name[:90]
    old, new = (
        tar({"./model_config.yaml": b"a: 1\n" * lines, name: checkpoint, "z.txt": b"z"}, kind) for lines in (200, 800)
    )
    assert new_bytes(old, new) <= 0.02 * len(new)


@pytest.mark.parametrize("inner", ["zip", "safetensors", "onnx", "noise"])
def test_what_is_in_a_tar_is_cut_as_it_is_by_itself(inner: str, tmp_path: Path) -> None:
    data = {
        "zip": lambda: torch_zip(weights(), tmp_path),
        "safetensors": lambda: safetensors([("F32", 3 * MIB), ("F16", 12 * MIB)])[0],
        "onnx": lambda: onnx(weights()),
        "noise": lambda: random.Random(1).randbytes(20 * MIB + 7),
    }[inner]()
    whole = tar({"config": b"c" * 3000, "member": data})
    start = whole.index(data)
    alone = [(span.offset + start, span.size, span.width) for span in cut(data)]
    assert [span for span in cut(whole) if start <= span.offset < start + len(data)] == alone


def test_a_changed_tensor_in_a_checkpoint_in_a_tar_is_all_that_changes(tmp_path: Path) -> None:
    changed = weights() | {"t3": floats(len(weights()["t3"]), 99)}
    old, new = (tar({"config": b"c", "w": torch_zip(tensors, tmp_path)}) for tensors in (weights(), changed))
    assert new_bytes(old, new) < changed["t3"].nbytes + 64 * 1024


def test_a_tar_in_a_tar_is_a_member_like_any_other() -> None:
    inner = tar({"a": random.Random(1).randbytes(3 * MIB)})
    whole = tar({"b": inner, "c": b"c"})
    assert whole.index(inner) in [span.offset for span in cut(whole)]


@pytest.mark.parametrize(("inner", "parts"), [("zip", 8), ("gguf", 4), ("onnx", 16)])
def test_what_is_in_all_members_of_a_tar_is_bounded_together(
    inner: str, parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = {f"t{n}": floats(MIB // 4, n) for n in range(2)}
    data = {"zip": torch_zip, "gguf": gguf, "onnx": lambda weights, _: onnx(weights)}[inner](tensors, tmp_path)
    whole = tar({"a": data, "b": data})
    members = [whole.index(data), whole.rindex(data)]

    def numbers() -> list[int]:
        return [sum(at <= span.offset < at + len(data) for span in cut(whole)) for at in members]

    every = len(cut(data))
    assert numbers() == [every, every]
    monkeypatch.setattr(runs, "MAX_TENSORS", 3 + 2 * parts)  # with the headers of the tar
    assert numbers() == [every, every]
    monkeypatch.setattr(runs, "MAX_TENSORS", 3 + 2 * parts - 1)
    assert numbers() == [every, 1]


@pytest.mark.parametrize("records", [9, 10])
def test_records_of_extended_headers_are_bounded(records: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.size, info.pax_headers = 2 * MIB, {f"k{n}": "v" for n in range(records)}
        archive.addfile(info, io.BytesIO(bytes(2 * MIB)))
    monkeypatch.setattr(runs, "MAX_TENSORS", 11)  # with the two headers
    assert (len(cut(file.getvalue())) > 1) == (records == 9)


def test_many_small_members_that_grow_move_nothing_behind_them() -> None:
    members = {f"{n:04}.jpg": noise(168 * MIB)[n * 97_000 : (n + 1) * 97_000] for n in range(400)}
    longer = {name: data + b"x" * 3000 if name == "0001.jpg" else data for name, data in members.items()}
    assert new_bytes(tar(members), tar(longer)) <= 16 * MIB  # the chunk that it is in, and one more


def test_sizes_that_a_tar_tells_elsewhere() -> None:
    data = random.Random(1).randbytes(2 * MIB)
    info = tarfile.TarInfo("a")
    info.size = len(data)
    pax = info.create_pax_header({**info.get_info(), "size": 9 << 30}, "utf-8")  # in an extended header
    gnu = info.create_gnu_header({**info.get_info(), "size": 9 << 30}, "utf-8", "strict")  # in base 256
    assert b"size=9663676416" in pax
    assert gnu[124] == 0x80
    small = info.create_pax_header(info.get_info(), "utf-8")
    both = info.create_pax_header({**info.get_info(), "mtime": 1.5}, "utf-8")  # an extended header without a size
    for head in (small, both):
        whole = head + data + bytes(1024)
        assert len(head) in [span.offset for span in cut(whole)]
    for head in (pax, gnu):  # longer than the file: damaged
        cut(head + data + bytes(1024))


@pytest.mark.parametrize("member", [b"S", b"V", b"?"], ids=repr)
def test_a_tar_with_a_sparse_or_unknown_member_is_cut_by_its_content(member: bytes) -> None:
    data = random.Random(1).randbytes(9 * MIB)
    info = tarfile.TarInfo("a")
    info.size, info.type = len(data), member
    assert cut(info.tobuf() + data + bytes(1024))[0].offset == 0
    assert 512 not in [span.offset for span in cut(info.tobuf() + data + bytes(1024))]


@pytest.mark.parametrize("front", [1, 100, 5000])
def test_bytes_at_the_front_of_an_onnx_model_leave_98_percent_as_they_are(front: int) -> None:
    tensors = weights() | {"small": np.arange(9), "int8": np.zeros(MIB * 2, np.int8)}
    old, new = onnx(tensors), onnx(tensors, "test" + "x" * front)
    assert new_bytes(old, new) <= 0.02 * len(new)


def test_widths_of_onnx_tensors_are_known() -> None:
    tensors = weights() | {"int8": np.frombuffer(noise(168 * MIB)[: 2 * MIB], np.int8), "int64": np.arange(MIB)}
    data = onnx(tensors)
    widths = {span.offset: span.width for span in cut(data)}
    assert [widths[data.index(array.tobytes())] for array in tensors.values()] == [4] * 6 + [2, 1, 8]


def test_what_is_between_two_onnx_tensors_costs_a_request_only_where_it_is_large() -> None:
    tensors = {f"t{n}": floats(MIB, n) for n in range(5)}
    data = onnx(tensors)
    begins = [data.index(array.tobytes()) for array in tensors.values()]
    assert [span.offset for span in cut(data)] == [0, *begins]
    small = onnx({f"{'s' * 250}{n}" if n % 2 else f"t{n}": floats(MIB, n) for n in range(5)})
    assert len(cut(small)) == 1 + 5 + 2


def test_floats_in_a_field_of_their_own_are_data_too() -> None:
    array = floats(MIB)
    data = field(1, 8) + field(7, field(5, field(1, MIB) + field(2, 1) + field(4, array.tobytes())))
    assert (data.index(array.tobytes()), 4 * MIB, 4) in cut(data)


def test_bytes_that_only_begin_like_onnx_are_cut_by_their_content() -> None:
    unknown = noise(168 * MIB)[: 20 * MIB]
    model = onnx({"t": floats(3 * MIB)})
    for data in (field(1, 8) + unknown, model[:-1], model + b"\0", model + field(99, 1), field(7, unknown)):
        assert data.find(unknown) not in [span.offset for span in cut(data)][1:]


def test_a_legacy_checkpoint_that_lost_and_won_a_few_bytes_keeps_95_percent() -> None:
    """As torch.save(…, _use_new_zipfile_serialization=False) lays it out: pickles, then each storage's raw bytes."""

    def legacy(note: str) -> bytes:
        file = io.BytesIO()
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {"epoch": 1, "note": note}, ["0", "1"]):
            pickle.dump(part, file, protocol=2)
        for size in (100 * MIB, 68 * MIB):
            file.write((size // 4).to_bytes(8, "little") + noise(168 * MIB)[-size:])
        return file.getvalue()

    old, new = legacy("v1"), legacy("v2 " + "x" * 100)
    assert new_bytes(old, new) <= 0.05 * len(new)


def test_compressed_containers_are_stored_as_they_are() -> None:
    """Nothing is unpacked: what an archive compresses is cut, and stored, as the bytes it is."""
    data = zipped([(noise(168 * MIB)[: 9 * MIB], zipfile.ZIP_DEFLATED)], streamed=False)
    assert sum(span.size for span in cut(data)) == len(data)


def test_the_size_in_an_extended_header_counts_for_one_member() -> None:
    first, second = noise(168 * MIB)[: 2 * MIB], noise(168 * MIB)[2 * MIB : 3 * MIB + MIB // 2]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data, headers in (("a", first, {"size": str(len(first))}), ("b", second, {}), ("c", first[:-1], {})):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(data), headers
            archive.addfile(info, io.BytesIO(data))
    whole = file.getvalue()
    assert b"size=2097152" in whole
    starts = {span.offset for span in cut(whole)}
    assert {whole.index(first), whole.index(second), whole.rindex(first[:-1])} <= starts
