"""A loaded model, call by call: parts, stops, threads, and texts that F5-TTS itself cannot say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.worker.speech.conftest import Client, Hubs


@pytest.fixture(scope="module")
def answer(warm_client: Client, hubs: Hubs, recordings: Path) -> Any:
    return warm_client("speaking", hubs.full, recordings / "a short one.wav")


def test_the_sentences_of_a_text_make_up_what_f5_tts_makes_of_them(answer: Any, plain_f5: Any) -> None:
    found = answer["in parts"]
    assert found["parts"] == plain_f5["in parts"]
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


SAYS = {
    "illegal": "CUDA error: an illegal memory access was encountered",
    "full": "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB",
    "full, says CUDA": "CUDA error: out of memory",
    "cublas": "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cudnn": "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "cufft": "cuFFT error: CUFFT_ALLOC_FAILED",
}


@pytest.mark.parametrize("case", [case for case in SAYS if case != "illegal"])
def test_a_job_for_which_the_gpu_is_too_small_is_told_to_be_shorter(answer: Any, case: str) -> None:
    kind, told, still_locked, freed = answer["of gpu"][case]
    assert (kind, still_locked) == ("GpuFull", False)
    assert told == f"the GPU has too little memory for this job ({SAYS[case]}): send less text"
    assert freed == [True], "its tensors were given up before the memory was"


@pytest.mark.parametrize("case", SAYS)
def test_a_gpu_that_refuses_all_after_a_failure_is_broken(answer: Any, case: str) -> None:
    kind, told, still_locked, _ = answer["of gpu"][f"{case}, refusing"]
    assert (kind, still_locked) == ("WorkerBroken", False)
    assert told == f"the GPU failed ({SAYS[case]}): send the job again"


def test_an_error_of_cuda_itself_is_never_tried_again(answer: Any) -> None:
    kind, told, still_locked, freed = answer["of gpu"]["illegal"]
    assert (kind, still_locked, freed) == ("WorkerBroken", False, [])
    assert told == f"the GPU failed ({SAYS['illegal']}): send the job again"


def test_a_mistake_is_no_failure_of_the_gpu(answer: Any) -> None:
    kind, told, still_locked, freed = answer["of gpu"]["mistake"]
    assert (kind, still_locked, freed) == ("RuntimeError", False, [])
    assert told.startswith("The size of tensor a (3) must match")


def test_the_next_job_after_a_full_gpu_sounds_as_ever(answer: Any) -> None:
    assert answer["of gpu"]["after"] == answer["of gpu"]["whole"]


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("no code", "no kernel image is available for execution on the device); torch 2.11.0"),
        ("full", "the model needs more memory than it has free: choose GPUs with 16 GB or more"),
        ("ecc", "uncorrectable ECC error encountered); it or its driver is broken"),
    ],
)
def test_a_gpu_that_fails_while_the_model_is_loaded_is_no_damage(answer: Any, case: str, told: str) -> None:
    kind, code, text = answer["of gpu at the start"][case]
    assert (kind, code) == ("GpuFailed", 9)
    assert text.startswith("the GPU failed while the model was loaded (") and told in text


def test_damage_is_no_failure_of_the_gpu(answer: Any) -> None:
    kind, code, text = answer["of gpu at the start"]["damage"]
    assert (kind, code) == ("FormatError", 5)
    assert "cannot be loaded" in text


@pytest.mark.parametrize("case", ["words", "letters"])
def test_a_long_text_without_punctuation_is_spoken(answer: Any, case: str) -> None:
    parts, samples = answer["without punctuation"][case]
    assert parts >= 5
    assert samples > parts * 24_000
    assert answer["kept"]


def test_speaking_leaves_no_files_and_no_variables(answer: Any) -> None:
    assert answer["files"] == []
    assert answer["hash seed"] is None
