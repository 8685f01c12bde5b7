"""A model that is loaded while it comes is the model that came; what goes wrong meanwhile is told at the end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.worker.speech.conftest import Client, Hubs

ORDER = ["device", "networks", "warm-up", "memory", "vocoder_weights", "weights"]
MEANWHILE = ("warm-up", "memory")
"""What is done while no file is here that could be loaded."""


@pytest.fixture(scope="module")
def answer(warm_client: Client, hubs: Hubs, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return warm_client("early", hubs.full, hubs.half, tmp_path_factory.mktemp("early"))


def test_each_step_is_done_when_its_files_are_here(answer: Any) -> None:
    assert answer["in order"] == {"phases": [f"early.{name}" for name in ORDER], "different": [], "read again": 0}


def test_no_inference_takes_a_processor_from_the_restore(answer: Any) -> None:
    phases = [f"early.{name}" for name in ORDER if name != "warm-up"]
    assert answer["in order, on a processor"] == {"phases": phases, "different": [], "read again": 0}


def test_weights_that_are_here_do_not_wait_for_anything_else(answer: Any) -> None:
    phases = [f"early.{name}" for name in ORDER if name not in MEANWHILE]
    assert answer["all at once"] == {"phases": phases, "read again": 0}


def test_weights_go_into_the_memory_that_was_taken_for_them(answer: Any) -> None:
    assert answer["into the memory"] == {"all": True, "left": 0}


def test_what_was_loaded_of_another_version_is_dropped(answer: Any) -> None:
    found = answer["another version"]
    assert (found["different"], found["read again"]) == ([], 1)
    assert found["others"] > 50
    assert answer["begun anew"] == {"different": [], "read again": 1}
    assert answer["freed"]


@pytest.mark.parametrize(
    ("case", "file"),
    [("weights touched", "model_1250000.safetensors"), ("vocoder touched", "bin"), ("config touched", "config.yaml")],
)
def test_a_file_that_changes_after_it_was_loaded_is_refused(case: str, file: str, answer: Any) -> None:
    kind, message = answer[case]
    assert kind == "IntegrityError"
    assert f"{file} changed since it was verified" in message


def test_another_file_in_its_place_is_read(answer: Any) -> None:
    assert answer["exchanged"] == 1


def test_the_vocoder_of_a_second_version_is_here_for_every_source_of_the_first(answer: Any) -> None:
    assert answer["vocoder of a second version"] == 0


def test_weights_at_the_top_of_their_repo_are_read_once(answer: Any) -> None:
    assert answer["at the top"] == 0


def test_an_error_of_early_work_is_raised_by_loading(answer: Any) -> None:
    kind, message, *phases = answer["damaged config"]
    assert (kind, phases) == ("FormatError", ["early.device", "early.networks"])
    assert "is no F5-TTS config" in message
    assert answer["no device"] == ["NoGpu", "no GPU today"]


def test_an_error_of_early_work_alone_is_none(answer: Any) -> None:
    assert answer["not what came"] == ["loaded", "", "early.device", "early.networks"]
    assert answer["nothing expected"] == ["loaded", ""]


def test_a_signal_is_handled_while_a_step_does_not_end(answer: Any) -> None:
    assert answer["interrupted"] == "handled"
