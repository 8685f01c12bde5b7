"""The weights in memory, of the published version and of its float16 variant; on the GPU of a machine that has one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.worker.speech.conftest import Client, Hubs, answer


@pytest.fixture
def theirs(request: pytest.FixtureRequest, device: str, hubs: Hubs, recordings: Path, tmp_path: Path) -> Any:
    """The tensors of plain F5-TTS on the device; a GPU cannot be used in a fork."""
    if device == "cpu":
        return request.getfixturevalue("plain_f5")
    python = request.getfixturevalue("reference_python")
    variables = {"HF_HUB_CACHE": str(hubs.full), "HF_HUB_OFFLINE": "1"}
    return answer(python, "plain", device, recordings, tmp_path, **variables)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_weight_on_a_device_is_that_of_plain_f5_tts(
    device: str, client: Client, hubs: Hubs, request: pytest.FixtureRequest
) -> None:
    found = client("on_device", device, hubs.full, hubs.half)
    if found is None:
        pytest.skip("torch finds no CUDA device")
    theirs = request.getfixturevalue("theirs")["tensors"]["model"]
    assert found["published"] == theirs
    # A GPU computes in float16, so that both are the same there; in float32 the variant has fewer digits.
    assert (found["variant"] == theirs) is (device == "cuda")
