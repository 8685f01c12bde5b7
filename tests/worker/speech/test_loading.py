"""Which caches are loaded, and what is said of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.worker.speech.conftest import Client, Hubs

WEIGHTS = "F5TTS_v1_Base/model_1250000.safetensors"


@pytest.fixture(scope="module")
def answer(warm_client: Client, hubs: Hubs, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return warm_client("loading", hubs.full, tmp_path_factory.mktemp("copies"))


@pytest.mark.parametrize("case", ["as it was", "no record, none wanted"])
def test_a_whole_cache_is_loaded(answer: Any, case: str) -> None:
    assert answer[case] == ["loaded", ""]


@pytest.mark.parametrize(
    ("case", "file"),
    [
        ("weights changed", WEIGHTS),
        ("weights cut", WEIGHTS),
        ("weights touched", WEIGHTS),
        ("vocoder changed", "pytorch_model.bin"),
        ("vocoder config changed", "config.yaml"),
        ("config changed", "F5TTS_v1_Base/config.yaml"),
    ],
)
def test_a_file_that_changed_since_it_was_verified_is_refused(answer: Any, case: str, file: str) -> None:
    kind, message = answer[case]
    assert kind == "IntegrityError"
    assert Path(message.split(" changed since it was verified")[0]).as_posix().endswith(file)
    assert "cas restore --verify" in message


@pytest.mark.parametrize("case", ["no record", "exchanged"])
def test_a_file_that_was_never_verified_is_refused_where_that_is_wanted(answer: Any, case: str) -> None:
    kind, message = answer[case]
    assert kind == "IntegrityError"
    assert "was never verified here" in message


def test_a_file_that_changes_while_it_is_read_is_refused(answer: Any) -> None:
    kind, message = answer["changed while it was read"]
    assert kind == "IntegrityError"
    assert WEIGHTS in message


@pytest.mark.parametrize(
    ("case", "kind", "told"),
    [
        ("weights gone", "NotFoundError", WEIGHTS),
        ("model gone", "NotFoundError", "charactr/vocos-mel-24khz"),
        ("of another width", "FormatError", "tensors differ"),
        ("too large", "FormatError", "a parameter of 402,653,184 numbers"),
        ("config without a network", "FormatError", "model.backbone"),
        ("code in the vocoder's config", "FormatError", "feature_extractor.class_path is 'subprocess.Popen'"),
        ("a variable in the config", "FormatError", "model.arch.dim is '${oc.env:PATH}'"),
        ("code in a pickle", "FormatError", "pytorch_model.bin cannot be loaded"),
        ("a pickle of a list", "FormatError", "no mapping of names to tensors"),
        ("a pickle of words", "FormatError", "no mapping of names to tensors"),
        ("a pickle without names", "FormatError", "no mapping of names to tensors"),
        ("a sparse pickle", "FormatError", "no mapping of names to tensors"),
        ("no pickle", "FormatError", "pytorch_model.bin cannot be loaded"),
        ("cut and unknown", "FormatError", f"{WEIGHTS} cannot be loaded"),
        ("no memory", "CasError", f"{WEIGHTS} cannot be loaded, as too little memory is free"),
        ("the disk fails", "CacheError", f"{WEIGHTS} cannot be read (Input/output error)"),
    ],
)
def test_what_cannot_be_loaded_is_named_on_one_line(answer: Any, case: str, kind: str, told: str) -> None:
    got, message = answer[case]
    assert got == kind
    assert told in message
    assert "\n" not in message
    assert len(message) < 600


def test_the_network_can_be_named_by_the_environment(answer: Any) -> None:
    without, message, named, _ = answer["named by the environment"]
    assert without == "FormatError"
    assert "tensors differ" in message
    assert named == "loaded"
