"""`python -m tools.bench.gpu`, here on the processor with a tiny model, beside plain F5-TTS in its own environment."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.speech.conftest import Hubs
from tools.bench import gpu


@pytest.mark.timeout(300)
def test_the_check_of_a_gpu_passes_on_a_processor(
    hubs: Hubs, worker_python: Path, reference_python: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, out = hubs.full.parents[1] / "store", tmp_path / "gpu.json"
    pythons = ["--python", str(worker_python), "--plain-python", str(reference_python)]
    assert gpu.main(["--store", str(store), "--device", "cpu", "--json", str(out), *pythons]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("cpu: ") and "tensors" in lines[0]
    document = json.loads(out.read_text())
    assert (document["device"], document["wrong"]) == ("cpu", [])
    assert {"imports", "wait", "load", "first inference"} <= document["start"].keys()


OURS: dict[str, Any] = {
    "published": {"model": {"a": ["f32", "1", "2"]}},
    "float16": {"model": {"a": ["f32", "3", "2"]}},
    "audio": ["x", "x"],
    "loudest": 0.5,
}
PLAIN = {"model": {"a": ["f32", "1", "2"]}}


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("published", "model", "a"), ["f32", "0", "2"], "published: 1 tensors of the model are not those of plain"),
        (("published", "model", "a"), ["f16", "1", "2"], "published: 1 tensors"),
        (("float16", "model", "a"), ["f32", "1", "0"], "float16: 1 tensors"),
        (("float16", "model"), {}, "float16: 1 tensors"),
        (("audio",), ["x", "y"], "one seed gave two audios"),
        (("loudest",), 0.0, "the audio is silent"),
    ],
)
def test_what_is_not_the_same_is_told(path: tuple[str, ...], value: object, told: str) -> None:
    assert list(gpu.differences(OURS, PLAIN)) == []
    found: Any = copy.deepcopy(OURS)
    entry = found
    for name in path[:-1]:
        entry = entry[name]
    entry[path[-1]] = value
    (line,) = gpu.differences(found, PLAIN)
    assert line.startswith(told)
