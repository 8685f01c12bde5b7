"""Which voice says what of a text: as F5-TTS's own command line reads it, but for names that nobody has."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadRequest
from worker.jobs.fields import is_spoken
from worker.jobs.turns import Turn, is_name, read_turns

NAMES = ("town", "country", "b\u00fcro", "v_2")


def of_infer_cli(text: str) -> list[tuple[str, str]]:
    """The loop of f5_tts/infer/infer_cli.py, which takes the main voice for a name that it does not know."""
    found = []
    for chunk in re.split(r"(?=\[\w+\])", text):
        if not chunk.strip():
            continue
        match = re.match(r"\[(\w+)\]", chunk)
        voice = match[1] if match else "main"
        found.append((voice, re.sub(r"\[(\w+)\]", "", chunk).strip()))
    return found


def turns(text: str) -> list[tuple[str, str]]:
    return [tuple(turn) for turn in read_turns(text, NAMES, "text")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No name at all.", [("main", "No name at all.")]),
        (
            'He said [town] "My friend!" [main] and left.',
            [("main", "He said"), ("town", '"My friend!"'), ("main", "and left.")],
        ),
        ("[town]One.[country]\nTwo.\n", [("town", "One."), ("country", "Two.")]),
        ("[town] One. [town] Two.", [("town", "One."), ("town", "Two.")]),
        ("[town] [country] Two.", [("country", "Two.")]),
        ("\u201c[town] Hello\u201d. [main] \u2026", [("town", "Hello\u201d.")]),
        ("[a pause] and [town-2] [] [[town]] x", [("main", "[a pause] and [town-2] [] ["), ("town", "] x")]),
        ("[b\u00fcro] Ja. [v_2] Nein.", [("b\u00fcro", "Ja."), ("v_2", "Nein.")]),
    ],
)
def test_the_voice_changes_at_each_name(text: str, expected: list[tuple[str, str]]) -> None:
    assert turns(text) == expected


pieces = st.sampled_from(
    [*(f"[{name}]" for name in (*NAMES, "main")), "[", "]", "a b", "1", " ", "\n", "[]", "...", "\u0663"]
)


@given(st.lists(pieces | st.text(max_size=3), max_size=12).map("".join))
def test_any_text_is_cut_as_f5_tts_cuts_it(text: str) -> None:
    theirs = [(voice, spoken) for voice, spoken in of_infer_cli(text) if is_spoken(spoken)]
    unknown = {voice for voice, _ in of_infer_cli(text)} - {*NAMES, "main"}
    if unknown or not theirs:
        with pytest.raises(BadRequest):
            turns(text)
    else:
        assert turns(text) == theirs


def test_a_name_that_nobody_has_is_told_with_the_names_that_there_are() -> None:
    with pytest.raises(BadRequest) as error:
        read_turns("Ha. [laughs] Yes.", ("town", "b\u00fcro"), "text")
    assert str(error.value) == (
        "text has [laughs], but no voice of that name: there are main, town, b\\xfcro; add it to voices, or write "
        "(laughs)"
    )


def test_names_alone_are_nothing_to_speak() -> None:
    with pytest.raises(BadRequest, match="nothing to speak in it but names of voices"):
        read_turns("[town] ... [main]", NAMES, "text")


@pytest.mark.parametrize("names", [("\U00020000" * 64,) * 16, tuple(f"name_{n}" * 8 for n in range(16))])
def test_an_error_stays_short_whatever_the_names_are(names: tuple[str, ...]) -> None:
    with pytest.raises(BadRequest) as error:
        read_turns("[" + "\U00020000" * 900 + "] x", names, "text")
    line = str(error.value)
    assert line.isascii() and line.isprintable() and len(line) < 600


@pytest.mark.parametrize(
    ("name", "expected"), [("a", True), ("\u4f60", True), ("", False), ("a b", False), ("a]", False)]
)
def test_what_may_stand_in_brackets(name: str, expected: bool) -> None:
    assert is_name(name) is expected
    assert not expected or read_turns(f"[{name}] x", (name,), "text") == (Turn(name, "x"),)
