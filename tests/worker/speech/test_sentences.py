"""Where sentences end; in the worker's environment, as the module imports F5-TTS."""

from __future__ import annotations

from typing import Any

import pytest

from tests.worker.speech.conftest import Client

CASES = {
    "none": ("", []),
    "one": ("Just one sentence here", ["Just one sentence here"]),
    "two": (
        "This is the first one. And is this the second?  ",
        ["This is the first one.", "And is this the second?"],
    ),
    "short": ("Hm. Oh! This is long enough. No.", ["Hm. Oh! This is long enough. No."]),
    "number": ("It costs 3.50 and that is all.", ["It costs 3.50 and that is all."]),
    "lines": (
        "A line without an end\nand another line of text",
        ["A line without an end", "and another line of text"],
    ),
    "chinese": ("今天天气很好。我们去公园散步吧\uff01", ["今天天气很好。", "我们去公园散步吧\uff01"]),
}


@pytest.fixture(scope="module")
def answer(warm_client: Client) -> Any:
    return warm_client("sentences", *(text for text, _ in CASES.values()))


@pytest.mark.parametrize("case", CASES)
def test_a_text_is_its_sentences(answer: Any, case: str) -> None:
    assert answer[list(CASES).index(case)] == CASES[case][1]
