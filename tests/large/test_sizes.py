"""Full-size models: a limit for their bytes in the store, and for the memory of a publish and a restore."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.bench.measure import run
from tools.models.f5tts import f5_tts

MEMORY = 400 * 1024 * 1024
GB = 1_000_000_000


def peak_of_cas(tmp_path: Path, *words: str) -> tuple[dict[str, Any], int]:
    """Run the real command, and return its JSON document and its peak of resident bytes."""
    command = [sys.executable, "-m", "cas", "--json", "-q", "--store", str(tmp_path / "store"), *words]
    measured = run(command, os.environ, tmp_path / "out.json")
    return json.loads((tmp_path / "out.json").read_text()), measured.peak


def round_trip(tmp_path: Path, source: Path) -> dict[str, Any]:
    """Publish `source`, remove it, restore it, check the peaks of both, and return the document of the publish."""
    published, publish_peak = peak_of_cas(tmp_path, "publish", "m", "--dir", str(source), "--as", "a/b")
    shutil.rmtree(source)
    restored, restore_peak = peak_of_cas(tmp_path, "restore", "m", "--cache-dir", str(tmp_path / "c"))
    assert restored["fetched"] == published["total"]
    assert publish_peak < MEMORY, f"publish took {publish_peak >> 20} MiB"
    assert restore_peak < MEMORY, f"restore took {restore_peak >> 20} MiB"
    return published


def test_f5_tts_shrinks_and_moves_within_the_memory_bound(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    f5_tts(source / "model.safetensors")
    published = round_trip(tmp_path, source)
    assert published["total"] > 1.3 * GB
    assert published["wire"] / published["total"] <= 0.85


def test_six_gigabytes_take_no_more_memory(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < 16 * GB:
        pytest.skip(f"{tmp_path} has less than 16 GB free")
    source = tmp_path / "src"
    source.mkdir()
    generator = np.random.default_rng(6)
    with (source / "weights.dat").open("wb") as file:
        for _ in range(6 * GB // (8 << 20)):
            file.write(generator.bytes(8 << 20))
    assert round_trip(tmp_path, source)["total"] > 5.9 * GB
    shutil.rmtree(tmp_path / "store")
    shutil.rmtree(tmp_path / "c")
