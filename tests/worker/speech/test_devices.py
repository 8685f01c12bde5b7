"""The weights in memory, of the published version and of its float16 variant; on the GPU of a machine that has one."""

from __future__ import annotations

import pytest

from tests.worker.speech.conftest import Client, Hubs


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_weight_on_a_device_is_that_of_plain_f5_tts(device: str, client: Client, hubs: Hubs) -> None:
    found = client("on_device", device, hubs.full, hubs.half)
    if found is None:
        pytest.skip("torch finds no CUDA device")
    assert found["published"] == []
    # A GPU computes in float16, so that both are the same there; in float32 the variant has fewer digits.
    assert (found["variant"] == []) is (device == "cuda")
