"""Models of other owners beside plain F5-TTS: a trainer's checkpoint and vocabulary, other architectures and types."""

from __future__ import annotations

from typing import Any

import pytest

from tests.worker.speech.conftest import Client, FineTunes, Hubs

CASES = [
    "as published",
    "permuted",
    "extended",
    "extended again",
    "without average",
    "in an old format",
    "E2-TTS",
    "v0 Base",
    "bfloat16",
]


@pytest.fixture(scope="module")
def answer(warm_client: Client, hubs: Hubs, fine_tunes: FineTunes) -> Any:
    return warm_client("fine_tunes", hubs.full, fine_tunes.recording, fine_tunes.file)


@pytest.mark.parametrize("case", CASES)
def test_the_audio_is_that_of_plain_f5_tts(answer: Any, fine_tunes: FineTunes, case: str) -> None:
    ours = answer["audio"][case]
    assert ours == fine_tunes.plain["audio"][case]
    length, loudest, _ = ours
    assert length > 20_000
    assert loudest > 0.01


def test_each_model_has_a_voice_of_its_own(answer: Any) -> None:
    assert set(answer["audio"]) == set(CASES)
    digests = {case: digest for case, (_, _, digest) in answer["audio"].items()}
    assert digests.pop("in an old format") == digests["extended"]
    assert len(set(digests.values())) == len(CASES) - 1


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("vocabulary too short", ["has 2546 characters", "is for 2548", "short/vocab.txt", "short/model_last.pt"]),
        ("vocabulary too long", ["has 2550 characters", "is for 2548", "long/vocab.txt"]),
        ("a line twice", ["twice/vocab.txt", "2549 lines and 2548 different ones", "line 2549 ('\\u01c0')"]),
        ("not UTF-8", ["latin/vocab.txt", "is not UTF-8"]),
        ("empty vocabulary", ["empty/vocab.txt", "it is empty"]),
        ("no weights in it", ["neither ema_model_state_dict nor model_state_dict"]),
        ("code in it", ["code/model_last.pt cannot be loaded"]),
        ("words in it", ["no mapping of names to tensors"]),
        ("more than it has", ["its tensors overlap"]),
        ("bytes", ["bytes/config.yaml wants the tokenizer byte"]),
        ("bigvgan", ["'bigvgan'", "only vocos is supported"]),
        ("bigvgan by its folder", ["F5TTS_Base_bigvgan/model_last.pt", "only vocos is supported"]),
    ],
)
def test_what_does_not_fit_is_one_line_with_the_file(answer: Any, case: str, told: list[str]) -> None:
    kind, message = answer["errors"][case]
    assert kind == "FormatError"
    assert [part for part in told if part not in message] == [], message
    assert "\n" not in message
    assert len(message) < 700


def test_without_a_config_the_folder_tells_the_architecture(answer: Any) -> None:
    assert answer["by folder"] == [
        ["UNetT", "E2TTS_Base"],
        ["DiT", "F5TTS_Base"],
        ["DiT", "F5TTS_v1_Base"],
        ["DiT", "F5TTS_v1_Base"],
    ]
