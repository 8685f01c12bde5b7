"""What a job may ask for: anything at all arrives, and becomes a Request or one sentence."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadRequest
from worker.jobs.audio_input import MAX_AUDIO
from worker.jobs.references import MAX_REF_TEXT, Inline, Linked, Named
from worker.jobs.schema import FIELDS, MAX_TEXT, Request, parse
from worker.speech.speaker import MAX_SEED, Manner

WAV = b"RIFF\x24\0\0\0WAVEfmt "
GOOD = {"text": "Hello.", "ref_audio": base64.b64encode(WAV).decode(), "ref_text": "A voice."}
BY_NAME = {"text": "Hello.", "voice": "anna"}


def refused(given: object) -> str:
    """The one sentence that says why."""
    with pytest.raises(BadRequest) as error:
        parse(given)
    return str(error.value)


class TestDefaults:
    """As F5-TTS has them."""

    def test_the_least_that_a_job_needs(self) -> None:
        request = parse({**GOOD, "seed": 1})
        assert request == Request(
            "Hello.", Inline(WAV, "A voice."), Manner(1, 1.0, 32, 2.0), False, "wav", "base64", False
        )

    def test_everything_can_be_said(self) -> None:
        said = {"speed": 2, "nfe_step": 16, "cfg_strength": 0, "seed": MAX_SEED, "remove_silence": True}
        request = parse({**GOOD, **said, "format": "mp3", "return": "upload", "stream": True})
        assert request.manner == Manner(MAX_SEED, 2.0, 16, 0.0)
        assert (request.remove_silence, request.format, request.deliver, request.stream) == (
            True,
            "mp3",
            "upload",
            True,
        )

    def test_jobs_without_a_seed_get_different_ones(self) -> None:
        assert len({parse(GOOD).manner.seed for _ in range(8)}) == 8

    def test_null_is_as_if_left_out(self) -> None:
        assert parse({**BY_NAME, "speed": None, "ref_audio": None, "seed": 3}) == parse({**BY_NAME, "seed": 3})

    def test_a_url_is_kept_for_later(self) -> None:
        assert parse({**GOOD, "ref_audio": "https://host/a.wav?key=1"}).source == Linked(
            "https://host/a.wav?key=1", "A voice."
        )

    def test_a_voice_is_named(self) -> None:
        assert parse(BY_NAME).source == Named("anna")

    def test_a_data_url_and_line_breaks_are_taken(self) -> None:
        text = f"data:audio/wav;base64,{GOOD['ref_audio'][:8]}\r\n{GOOD['ref_audio'][8:]}\n"
        assert parse({**GOOD, "ref_audio": text}).source == Inline(WAV, "A voice.")

    def test_blanks_around_a_text_are_left_out(self) -> None:
        assert parse({**BY_NAME, "text": " Hi.\n"}).text == "Hi."

    @pytest.mark.parametrize("text", ["你好", "héllo", "नमस्ते", "٣", "tab\tand\nline"])
    def test_every_script_is_taken(self, text: str) -> None:
        assert parse({**BY_NAME, "text": text}).text == text


class TestRefusals:
    """One sentence names the field, what is wrong and what is allowed."""

    @pytest.mark.parametrize("given", [None, [], "text", 1, True, [GOOD]])
    def test_an_input_that_is_no_object(self, given: object) -> None:
        assert refused(given).startswith("input is ")

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"text": None}, "text is missing: write what to say, 1 to 5000 characters"),
            ({"text": 5}, "text is 5: send a string"),
            ({"text": ["a"]}, "text is a list: send a string"),
            ({"text": ""}, "text has nothing to speak in it: write at least one letter or digit"),
            ({"text": " \n\u200b\u3000"}, "text has nothing to speak in it: write at least one letter or digit"),
            ({"text": "?!…"}, "text has nothing to speak in it: write at least one letter or digit"),
            ({"text": "a" * (MAX_TEXT + 1)}, "text has 5001 characters: at most 5000 are allowed"),
            ({"text": "a\0"}, "text contains the control character U+0000: leave it out"),
            ({"text": "a\ud800"}, "text is not valid Unicode at character 2: send UTF-8"),
            ({"ref_text": None}, "ref_text is missing: write what is said in ref_audio, 1 to 1000 characters"),
            ({"ref_text": "  "}, "ref_text has nothing to speak in it: write at least one letter or digit"),
            ({"ref_text": "a" * (MAX_REF_TEXT + 1)}, "ref_text has 1001 characters: at most 1000 are allowed"),
            (
                {"ref_audio": None},
                "ref_audio is missing: send audio in base64 or its https URL, or name a voice instead",
            ),
            ({"ref_audio": {}}, "ref_audio is an object: send a string"),
            (
                {"ref_audio": "/etc/passwd"},
                "ref_audio is neither base64 nor an https URL: send a wav, flac, mp3 or ogg file in base64, or its URL",
            ),
            (
                {"ref_audio": base64.b64encode(b"#EXTM3U").decode()},
                "ref_audio is not audio: send a wav, flac, mp3 or ogg file",
            ),
            ({"ref_audio": ""}, "ref_audio is not audio: send a wav, flac, mp3 or ogg file"),
            ({"ref_audio": "http://a"}, "ref_audio is a URL that does not begin with https://: only https is allowed"),
            ({"voice": "anna"}, "ref_audio is given beside voice, which has its own: leave one of the two out"),
            ({"speed": 0.29}, "speed is 0.29: send a number from 0.3 to 2.0"),
            ({"speed": "1"}, "speed is '1': send a number from 0.3 to 2.0"),
            ({"speed": True}, "speed is true: send a number from 0.3 to 2.0"),
            ({"speed": float("nan")}, "speed is nan: send a number from 0.3 to 2.0"),
            ({"speed": float("inf")}, "speed is inf: send a number from 0.3 to 2.0"),
            ({"speed": 10**400}, "speed is an integer of more than 18 digits: send a number from 0.3 to 2.0"),
            ({"nfe_step": 0}, "nfe_step is 0: send an integer from 1 to 64"),
            ({"nfe_step": 32.0}, "nfe_step is 32.0: send an integer from 1 to 64"),
            ({"nfe_step": False}, "nfe_step is false: send an integer from 1 to 64"),
            ({"cfg_strength": -1}, "cfg_strength is -1: send a number from 0.0 to 10.0"),
            ({"seed": -1}, "seed is -1: send an integer from 0 to 4294967295"),
            ({"seed": 2**32}, "seed is 4294967296: send an integer from 0 to 4294967295"),
            ({"remove_silence": 1}, "remove_silence is 1: send true or false"),
            ({"stream": "yes"}, "stream is 'yes': send true or false"),
            ({"format": "WAV"}, "format is 'WAV': send one of wav, flac, mp3, opus, pcm"),
            ({"format": ["wav"]}, "format is a list: send one of wav, flac, mp3, opus, pcm"),
            ({"return": "s3"}, "return is 's3': send one of base64, upload"),
            ({"ref_adio": "x"}, "'ref_adio' is not a field: did you mean ref_audio?"),
            ({"Speed": 1}, "'Speed' is not a field: did you mean speed?"),
            ({"zzz": 1}, f"'zzz' is not a field: the fields are {', '.join(FIELDS)}"),
        ],
    )
    def test_sentences(self, change: dict[str, object], sentence: str) -> None:
        assert refused({**GOOD, **change}) == sentence

    @pytest.mark.parametrize("name", ["../anna", "a/b", "", ".", "anna\n", "a" * 97, "ann\u0430"])
    def test_names_of_voices_are_restricted(self, name: str) -> None:
        assert refused({**BY_NAME, "voice": name}).startswith("voice is ")

    @pytest.mark.parametrize("size", [MAX_AUDIO + 1, 2 * MAX_AUDIO])
    def test_audio_has_a_limit(self, size: int) -> None:
        large = base64.b64encode(WAV.ljust(size, b"\0")).decode()
        assert f"at most {MAX_AUDIO}" in refused({**GOOD, "ref_audio": large})

    def test_audio_of_just_the_limit_is_taken(self) -> None:
        large = WAV.ljust(MAX_AUDIO, b"\0")
        assert parse({**GOOD, "ref_audio": base64.b64encode(large).decode()}).source == Inline(large, "A voice.")

    def test_a_huge_field_name_is_shown_in_part(self) -> None:
        assert len(refused({**GOOD, "é" * 10**7: 1})) < 700


anything: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text(st.characters(categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


class TestAnything:
    """Hostile input survives."""

    @given(anything | st.dictionaries(st.sampled_from(FIELDS), anything))
    def test_any_value_becomes_a_request_or_one_sentence(self, given: object) -> None:
        check(given)

    @given(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=2), st.sampled_from([GOOD, BY_NAME]))
    def test_a_good_job_with_anything_changed(self, changes: dict[str, object], good: dict[str, object]) -> None:
        check({**good, **changes})

    @given(st.text())
    def test_any_reference(self, text: str) -> None:
        check({**GOOD, "ref_audio": text})

    def test_deep_nesting(self) -> None:
        deep: list[object] = []
        for _ in range(100_000):
            deep = [deep]
        assert refused({**GOOD, "text": deep}) == "text is a list: send a string"
        while deep:  # taken apart, as its destruction at once goes deep
            deep = deep[0]  # type: ignore[assignment]


def check(given: object) -> None:
    """A Request within its limits, or one line of ASCII."""
    try:
        request = parse(given)
    except BadRequest as error:
        line = str(error)
        assert line.isascii() and line.isprintable() and len(line) < 500
        return
    assert 1 <= len(request.text) <= MAX_TEXT
    assert 0.3 <= request.manner.speed <= 2
    json.dumps(request.text.encode().decode())
    msgspec.json.encode(request)
