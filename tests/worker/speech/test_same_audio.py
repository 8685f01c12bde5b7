"""Ours and plain `F5TTS()`: the same tensors, and the same audio to the bit."""

from __future__ import annotations

from typing import Any

import pytest

from tests.worker.speech.conftest import Client, Hubs
from tools.models.f5tts import f5_tts_shapes

TEXTS = ["short", "slow", "more steps", "no guidance", "tiny text", "chinese", "long"]
RECORDINGS = ["quiet stereo", "long with pauses", "long with breaths", "long without a pause"]


@pytest.fixture(scope="module")
def answer(warm_client: Client, hubs: Hubs, recordings: Any) -> Any:
    return warm_client("compare", hubs.full, hubs.half, recordings)


@pytest.mark.parametrize("case", TEXTS + RECORDINGS)
def test_the_audio_is_that_of_plain_f5_tts(answer: Any, case: str) -> None:
    theirs, ours = answer["audio"][case]
    assert ours == theirs
    length, loudest, _ = ours
    assert length > 20_000
    assert loudest > 0.01


def test_each_case_has_audio_of_its_own(answer: Any) -> None:
    assert len({ours[2] for _, ours in answer["audio"].values()}) == len(TEXTS + RECORDINGS)


def test_one_seed_gives_one_audio(answer: Any) -> None:
    first, second, other = answer["again"]
    assert first == second == answer["audio"]["short"][1]
    assert other != first


def test_a_seed_is_told_when_none_was_given(answer: Any) -> None:
    assert len(set(answer["seeds"])) > 1
    assert all(0 <= seed < 2**32 for seed in answer["seeds"])


@pytest.mark.parametrize("which", ["model", "vocoder", "model in float16"])
def test_every_tensor_is_that_of_plain_f5_tts(answer: Any, which: str) -> None:
    assert answer["count"] > 50
    assert answer["tensors"][which] == []


@pytest.mark.parametrize("which", ["variant in float16", "variant as plain cast"])
def test_the_float16_variant_gives_what_f5_tts_casts_to(answer: Any, which: str) -> None:
    assert answer["tensors"][which] == []
    assert answer["tensors"]["variant as plain"] != []
    assert answer["half"][0] == answer["audio"]["short"][1][0]
    assert answer["half"] != answer["audio"]["short"][1]


def test_the_network_of_v1_base_takes_the_published_tensors(answer: Any) -> None:
    published = {name.removeprefix("ema_model."): list(shape) for name, (_, shape) in f5_tts_shapes().items()}
    assert answer["shapes"] == published
