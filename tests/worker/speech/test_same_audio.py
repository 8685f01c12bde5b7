"""Ours and plain `F5TTS()`: the same tensors, and the same audio to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.worker.speech.conftest import Client, Hubs
from tools.models.f5tts import f5_tts_shapes
from worker.speech import spectrum

TEXTS = ["short", "slow", "more steps", "no guidance", "tiny text", "chinese", "long"]
RECORDINGS = ["quiet stereo", "long with pauses", "long with breaths", "long without a pause"]


@pytest.fixture(scope="module")
def answer(warm_client: Client, hubs: Hubs, recordings: Path) -> Any:
    return warm_client("compare", hubs.full, hubs.half, recordings)


@pytest.mark.parametrize("case", TEXTS + RECORDINGS)
def test_the_audio_is_that_of_plain_f5_tts(answer: Any, plain_f5: Any, case: str) -> None:
    ours = answer["audio"][case]
    assert ours == plain_f5["audio"][case]
    length, loudest, _ = ours
    assert length > 20_000
    assert loudest > 0.01


def test_each_case_has_audio_of_its_own(answer: Any) -> None:
    assert len({ours[2] for ours in answer["audio"].values()}) == len(TEXTS + RECORDINGS)


def test_one_seed_gives_one_audio(answer: Any) -> None:
    first, second, other = answer["again"]
    assert first == second == answer["audio"]["short"]
    assert other != first


def test_a_seed_is_told_when_none_was_given(answer: Any) -> None:
    assert len(set(answer["seeds"])) > 1
    assert all(0 <= seed < 2**32 for seed in answer["seeds"])


@pytest.mark.parametrize(
    ("which", "as_plain"), [("model", "model"), ("vocoder", "vocoder"), ("model in float16", "in float16")]
)
def test_every_tensor_is_that_of_plain_f5_tts(answer: Any, plain_f5: Any, which: str, as_plain: str) -> None:
    assert len(answer["tensors"]["model"]) > 50
    assert answer["tensors"][which] == plain_f5["tensors"][as_plain]


@pytest.mark.parametrize(("which", "as_plain"), [("variant in float16", "in float16"), ("variant", "plain cast")])
def test_the_float16_variant_gives_what_f5_tts_casts_to(answer: Any, plain_f5: Any, which: str, as_plain: str) -> None:
    assert answer["tensors"][which] == plain_f5["tensors"][as_plain]
    assert answer["tensors"]["variant"] != plain_f5["tensors"]["model"]
    assert answer["half"][0] == answer["audio"]["short"][0]
    assert answer["half"] != answer["audio"]["short"]


def test_texts_are_split_where_plain_f5_tts_splits_them(answer: Any, plain_f5: Any) -> None:
    assert answer["split"] == plain_f5["split"]
    assert any(len(parts) > 5 for cuts in answer["split"] for parts in cuts)


def test_the_spectrum_has_the_figures_of_plain_f5_tts(plain_f5: Any) -> None:
    ours = [spectrum.RATE, spectrum.HOP, spectrum.WINDOW, spectrum.WINDOW, spectrum.CHANNELS]
    assert plain_f5["figures"] == [*ours, "vocos", "euler", 0.15]


def test_the_network_of_v1_base_takes_the_published_tensors(answer: Any) -> None:
    published = {name.removeprefix("ema_model."): list(shape) for name, (_, shape) in f5_tts_shapes().items()}
    assert answer["shapes"] == published


def test_several_voices_in_one_text_are_those_of_infer_cli(answer: Any, plain_f5: Any) -> None:
    ours, (voices, *told) = answer["several voices"]
    assert ours == plain_f5["several voices"]
    assert [done for done, _ in told] == [*range(len(told))], "told of each part, over all voices"
    assert {count for _, count in told} == {len(told)} and len(told) > voices
