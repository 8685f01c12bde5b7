"""What a worker that speaks has imported, in an environment without what its image leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.worker.speech.clients.absent import NAMES
from tests.worker.speech.conftest import Client, Hubs

MOST = 1_800
"""Modules; there were 5,451 when all was imported that F5-TTS imports."""


@pytest.fixture(scope="module")
def answer(warm_client: Client, hubs: Hubs, recordings: Path) -> Any:
    return warm_client("imported", hubs.full, recordings / "long with breaths.wav")


@pytest.mark.parametrize("when", ["first", "then"])
def test_a_worker_imports_what_it_uses(answer: Any, when: str) -> None:
    tops = {name.partition(".")[0] for name in answer[when]}
    assert {"torch", "runpod", "f5_tts", "vocos", "soundfile", "pydub"} <= tops
    assert tops & NAMES == set()
    assert not any(name.startswith(("torch._dynamo", "torch._inductor")) for name in answer[when])
    assert len(answer[when]) < MOST
    assert "cas.hub.download" not in answer[when], "it catches errors of huggingface_hub, which is put off"


def test_it_looks_for_nothing_that_its_image_leaves_out(answer: Any) -> None:
    assert answer["looked for"] == []
    assert answer["others"] == ["UNetT", "MMDiT"], "networks of other models were made, too"


def test_it_imports_nothing_more_to_speak(answer: Any) -> None:
    later = set(answer["then"]) - set(answer["first"])
    assert {name for name in later if not name.startswith("torch.utils.serialization")} == set()
    assert all(answer["bytes"])
