"""Sound in and out of bytes, whatever somebody sends, and the part of a recording that is taken."""

from __future__ import annotations

from typing import Any

import pytest

from tests.worker.speech.conftest import Client


@pytest.fixture(scope="module")
def answer(warm_client: Client) -> Any:
    return warm_client("sounds")


@pytest.mark.parametrize(
    ("kind", "magic", "difference"),
    [
        ("wav", b"RIFF", 1e-4),
        ("flac", b"fLaC", 1e-4),
        ("mp3", b"\xff\xf3", 0.1),
        ("opus", b"OggS", 0.3),
        ("pcm", b"", 1e-4),
    ],
)
def test_what_is_encoded_can_be_decoded(answer: Any, kind: str, magic: bytes, difference: float) -> None:
    head, frames, rate, found, again, _ = answer["round trips"][kind]
    assert bytes.fromhex(head).startswith(magic)
    assert (rate, again) == (24_000, True)
    assert frames == 24_000 or (kind == "mp3" and 24_000 <= frames <= 27_000)
    assert found < difference


def test_mp3_is_smaller_than_flac_and_flac_than_wav(answer: Any) -> None:
    sizes = {kind: trip[-1] for kind, trip in answer["round trips"].items()}
    assert sizes["mp3"] < sizes["flac"] < sizes["wav"]


def test_samples_that_are_too_loud_are_clipped(answer: Any) -> None:
    assert answer["loud"][:2] == [32767, -32768]
    assert abs(answer["loud"][2] - 16384) <= 1


def test_pcm_is_16_bits_little_endian_without_a_header(answer: Any) -> None:
    assert answer["loud pcm"] == "ff7f00800040"


def test_an_ogg_stream_has_one_serial_number_which_its_audio_decides(answer: Any) -> None:
    first, second = answer["serials"]
    assert len(first) == len(second) == 8
    assert first != second


def test_only_known_formats_are_written(answer: Any) -> None:
    assert answer["unknown format"] == "format 'aac' is not known: choose one of wav, flac, mp3, opus, pcm"


@pytest.mark.parametrize("case", ["24 bit", "float", "vorbis", "opus", "header claims more"])
def test_common_files_are_decoded(answer: Any, case: str) -> None:
    shape, rate = answer["decoded"][case]
    assert (shape, rate) in [([24_000, 1], 24_000), ([48_000, 1], 48_000)]


def test_sixteen_bits_stay_as_they_are(answer: Any) -> None:
    assert answer["decoded"]["16 bit"] == [True]


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("empty", "cannot be decoded"),
        ("text", "cannot be decoded"),
        ("half of a header", "cannot be decoded"),
        ("no frames", "is empty"),
        ("aiff", "is a AIFF file"),
        ("five channels", "has 5 channels"),
        ("low rate", "has 4000 samples a second"),
        ("high rate", "has 400000 samples a second"),
        ("not numbers", "samples that are no numbers"),
        ("too long", "is longer than 120 s"),
        ("too large", "at most 40000 are taken"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(answer: Any, case: str, told: str) -> None:
    refused, message = answer["decoded"][case]
    assert refused == "refused"
    assert told in message
    assert message.startswith("the audio")
    assert "\n" not in message


def test_two_minutes_are_taken(answer: Any) -> None:
    assert answer["decoded"]["just not too long"] == [[120 * 24_000, 1], 24_000]


def test_silence_is_removed_as_f5_tts_does(answer: Any, plain_f5: Any) -> None:
    found = answer["without silence"]
    assert found["digest"] == plain_f5["without silence"]
    before, after = found["lengths"]
    assert 24_000 < after < before - 4 * 24_000
    assert found["all silent"] == 0


@pytest.mark.parametrize(
    ("case", "text"), [("short", "Words. "), ("long", "Words. "), ("ends", "Words. "), ("stereo", "词。")]
)
def test_a_recording_is_shortened_and_its_text_ended(answer: Any, case: str, text: str) -> None:
    seconds, channels, got = answer["prepared"][case]
    assert got == text
    assert channels == (2 if case == "stereo" else 1)
    low, high = {"short": (2.3, 3.1), "long": (6, 12.06), "ends": (1.8, 2.3), "stereo": (1.8, 2.1)}[case]
    assert low <= seconds <= high


@pytest.mark.parametrize(
    ("case", "told"), [("silent", "is silent"), ("click", "too short"), ("no text", "text of the reference audio")]
)
def test_a_recording_that_gives_no_voice_is_refused(answer: Any, case: str, told: str) -> None:
    assert told in answer["prepared"][case]
