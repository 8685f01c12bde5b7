"""A loaded model, call by call: parts, stops, threads, and texts that F5-TTS itself cannot say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.worker.speech.conftest import Client, Hubs


@pytest.fixture(scope="module")
def answer(warm_client: Client, hubs: Hubs, recordings: Path) -> Any:
    return warm_client("speaking", hubs.full, recordings / "a short one.wav")


def test_the_sentences_of_a_text_make_up_what_f5_tts_makes_of_them(answer: Any) -> None:
    found = answer["in parts"]
    assert found["parts"] == found["theirs"]
    assert len(found["texts"]) == len(found["lengths"]) == 8 > found["once"]
    assert all(length > 10_000 for length in found["lengths"])


def test_a_part_is_given_as_soon_as_it_is_made(answer: Any) -> None:
    found = answer["in parts"]
    count = len(found["texts"])
    assert found["told"] == [[done, count] for done in range(count)]
    assert found["seen"] == [*range(1, count + 1)]


def test_speech_ends_at_the_next_step_when_it_is_to_stop(answer: Any) -> None:
    endings = answer["stopped"]["endings"]
    assert endings["by an event"] == ["Stopped", 3]
    assert endings["by its progress"] == ["Called"]


def test_a_stream_that_is_closed_lets_others_speak(answer: Any) -> None:
    assert answer["stopped"]["endings"]["by closing"] == [True, False]


def test_nothing_of_a_stopped_text_is_heard_in_the_next(answer: Any) -> None:
    before, after_event, after_all = answer["stopped"]["after"]
    assert before == after_event == after_all


def test_threads_do_not_disturb_each_other(answer: Any) -> None:
    found = answer["together"]
    assert found["together"] == found["alone"]
    assert len(set(found["alone"].values())) == 4


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("empty text", "the text is empty"),
        ("blank text", "the text is empty"),
        ("no reference text", "the text of the reference audio is empty"),
        ("no audio", "the audio cannot be decoded"),
        ("slow voice", "minutes in this voice, 30 are allowed: send less, or look whether ref_text is all"),
    ],
)
def test_what_cannot_be_said_is_refused(answer: Any, case: str, told: str) -> None:
    assert told in answer["refused"][case]


def test_a_gpu_that_fails_is_told_in_one_line(answer: Any) -> None:
    told, still_locked = answer["broken"]
    assert told == "the GPU failed (CUDA error: an illegal memory access was encountered): send the job again"
    assert still_locked == "False"


@pytest.mark.parametrize("case", ["words", "letters"])
def test_a_long_text_without_punctuation_is_spoken(answer: Any, case: str) -> None:
    parts, samples = answer["without punctuation"][case]
    assert parts >= 5
    assert samples > parts * 24_000
    assert answer["kept"]


def test_speaking_leaves_no_files_and_no_variables(answer: Any) -> None:
    assert answer["files"] == []
    assert answer["hash seed"] is None
