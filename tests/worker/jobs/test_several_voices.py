"""A text that several voices speak: what a job may say of them, and what it gets."""

from __future__ import annotations

import asyncio
import base64
import io
import wave
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cas.bucket import Kind, open_bucket
from tests.worker.jobs.test_handler import GOOD, answer, handler, job, streamed
from tests.worker.jobs.test_schema import anything, check, refused
from tests.worker.jobs.tone import RATE, WAV, Tone
from worker.jobs.audio_input import MAX_AUDIO
from worker.jobs.references import MAX_VOICES, Inline, Linked, Named, Reference
from worker.jobs.schema import parse
from worker.jobs.turns import Turn
from worker.jobs.voices import Voices

TOWN = WAV + b"town"
VOICES: dict[str, Any] = {
    "town": {"ref_audio": base64.b64encode(TOWN).decode(), "ref_text": "A town.", "speed": 0.5},
    "country": {"ref_audio": base64.b64encode(WAV + b"country").decode(), "ref_text": "A country."},
}
TEXT = "Two words. [town] One. [country] Three whole words. [main] End."


def samples(output: dict[str, Any]) -> bytes:
    with wave.open(io.BytesIO(base64.b64decode(output["audio"]))) as reader:
        return reader.readframes(reader.getnframes())


def alone(text: str, voice: str = "") -> dict[str, Any]:
    """The answer to a job with the words of one voice."""
    return answer(handler(Tone()), job(text=text, seed=1, **(VOICES[voice] if voice else {})))


class TestReading:
    """What `voices` may be."""

    def test_all_ways_to_give_a_voice(self) -> None:
        request = parse({
            **GOOD,
            "text": TEXT,
            "voices": {"town": VOICES["town"], "country": "anna-2", "more": {"voice": "bob", "speed": 2}, "url": {
                "ref_audio": "https://host/a.wav", "ref_text": "A."}},
        })  # fmt: skip
        assert request.voices == {
            "town": Reference(Inline(TOWN, "A town."), 0.5),
            "country": Reference(Named("anna-2")),
            "more": Reference(Named("bob"), 2.0),
            "url": Reference(Linked("https://host/a.wav", "A.")),
        }
        assert request.turns == (
            Turn("main", "Two words."),
            Turn("town", "One."),
            Turn("country", "Three whole words."),
            Turn("main", "End."),
        )
        assert list(request.spoken) == ["main", "town", "country"]

    def test_a_list_names_voices_of_the_bucket(self) -> None:
        request = parse({**GOOD, "text": "[anna] Hi.", "voices": ["anna", "bob"]})
        assert request.voices == {"anna": Reference(Named("anna")), "bob": Reference(Named("bob"))}
        assert list(request.spoken) == ["anna"]

    def test_without_voices_brackets_are_spoken(self) -> None:
        request = parse({**GOOD, "text": "[town] Hi."})
        assert (request.text, request.turns, list(request.spoken)) == ("[town] Hi.", (), ["main"])

    @pytest.mark.parametrize(
        ("voices", "sentence"),
        [
            ("anna", "voices is 'anna': send an object with a voice for each name, or a list of names in the bucket"),
            ([1], "voices has 1 in its list: send names of voices in the bucket"),
            (["anna-2"], "voices has the name 'anna-2', which cannot be written as [name] in the text"),
            ({"a b": "anna"}, "voices has the name 'a b', which cannot be written as [name] in the text"),
            ({"": "anna"}, "voices has the name '', which cannot be written as [name] in the text"),
            ({"a" * 65: "anna"}, "voices has the name 'aaa"),
            ({"main": "anna"}, "voices has the name main, which is that of the job's own voice"),
            ({"town": 5}, "voices.town is 5: send an object with ref_audio, ref_text, voice, speed"),
            ({"town": "../x"}, "voices.town is '../x': a name has letters"),
            ({"town": None}, "voices.town is null: send an object"),
            ({"town": {}}, "voices.town.ref_audio is missing: send audio in base64 or its https URL"),
            (
                {"town": {"ref_audio": "UklGRg=="}},
                "voices.town.ref_text is missing: write what is said in voices.town.",
            ),
            ({"town": {**VOICES["town"], "voice": "a"}}, "voices.town.ref_audio is given beside voices.town.voice"),
            ({"town": {**VOICES["town"], "speed": 3}}, "voices.town.speed is 3: send a number from 0.3 to 2.0"),
            ({"town": {**VOICES["town"], "ref_audio": "http://a"}}, "voices.town.ref_audio is a URL that does not"),
            ({"town": {**VOICES["town"], "sped": 1}}, "'sped' is not a field of voices.town: did you mean speed?"),
            ({"b\u00fcro": {}}, "voices.b\\xfcro.ref_audio is missing"),
            ({}, "text has [town], but no voice of that name: there are main; add it to voices, or write (town)"),
            ({f"v{n}": "anna" for n in range(MAX_VOICES + 1)}, "voices has 17 voices: at most 16 are allowed"),
        ],
    )
    def test_sentences(self, voices: object, sentence: str) -> None:
        assert refused({**GOOD, "text": "[town] Hi.", "voices": voices}).startswith(sentence)

    def test_the_recordings_have_a_limit_together(self) -> None:
        large = {"ref_audio": base64.b64encode(WAV.ljust(MAX_AUDIO, b"\0")).decode(), "ref_text": "A."}
        assert parse({**large, "text": "[a] x", "voices": {"a": large}})
        said = refused({**GOOD, "text": "[a] x", "voices": {"a": large, "b": large}})
        assert said.endswith(f" have {2 * MAX_AUDIO + len(WAV)} bytes: at most {2 * MAX_AUDIO} are allowed")

    @given(anything | st.dictionaries(st.sampled_from(["town", "main", "x y"]), anything))
    def test_anything_becomes_a_request_or_one_sentence(self, voices: object) -> None:
        check({**GOOD, "text": "[town] Hi.", "voices": voices})


class TestSpeaking:
    """Each part with its voice, one answer."""

    def test_each_voice_says_its_part_at_its_speed(self) -> None:
        found = answer(handler(Tone()), job(text=TEXT, voices=VOICES, seed=1))
        parts = [alone("Two words."), alone("One.", "town"), alone("Three whole words.", "country"), alone("End.")]
        assert samples(found) == b"".join(map(samples, parts))
        assert len(set(map(samples, parts))) == 4
        assert found["seconds"] == 0.8  # words of a tenth of a second, one of them at half the speed

    def test_a_voice_without_a_speed_takes_that_of_the_job(self) -> None:
        found = answer(handler(Tone()), job(text="[town] One. [country] Two.", voices=VOICES, speed=0.4))
        assert found["seconds"] == pytest.approx(0.1 / 0.5 + 0.1 / 0.4)

    def test_a_stream_sends_each_sentence_of_each_voice(self) -> None:
        *parts, totals = streamed(
            handler(Tone()), job(text="One. Two. [town] Three.", voices=VOICES, stream=True, seed=1)
        )
        assert [part["part"] for part in parts] == [0, 1, 2]
        assert samples(parts[2]) == samples(alone("Three.", "town"))
        assert totals["parts"] == 3

    def test_progress_is_told_over_all_voices(self) -> None:
        told: list[Any] = []
        answer(handler(Tone(), progress=lambda *update: told.append(update[1])), job(text=TEXT, voices=VOICES))
        assert told == [{"done": 0, "parts": 4}]

    def test_silence_is_removed_from_the_whole(self) -> None:
        assert answer(handler(Tone()), job(text=TEXT, voices=VOICES, remove_silence=True))["seconds"] == 0.4

    def test_only_voices_that_speak_are_fetched(self) -> None:
        asked: list[str] = []
        urls = {name: {"ref_audio": f"https://{name}/a.wav", "ref_text": "A."} for name in ("town", "country")}
        speaking = handler(Tone(), fetch=lambda url: asked.append(url) or WAV)
        assert "audio" in answer(
            speaking, job(text="[town] Hi. [town] Ho.", voices=urls, ref_audio="https://main/a.wav")
        )
        assert asked == ["https://town/a.wav"]

    def test_fetched_recordings_have_a_limit_together(self) -> None:
        urls = {name: {"ref_audio": f"https://{name}/a.wav", "ref_text": "A."} for name in ("a", "b", "c")}
        speaking = handler(Tone(), fetch=lambda _: WAV.ljust(MAX_AUDIO, b"\0"))
        assert "audio" in answer(speaking, job(text="[a] Hi. [b] Ho.", voices=urls))
        assert (
            "the recordings of the voices have" in answer(speaking, job(text="[a] x [b] x [c] x", voices=urls))["error"]
        )

    def test_no_recording_is_fetched_for_a_job_that_has_failed(self) -> None:
        asked: list[str] = []
        names = [f"v{number}" for number in range(MAX_VOICES)]
        urls = {name: {"ref_audio": f"https://{name}/a.wav", "ref_text": "A."} for name in names}
        text = " ".join(f"[{name}] Hi." for name in names)
        speaking = handler(Tone(), fetch=lambda url: asked.append(url) or WAV.ljust(MAX_AUDIO, b"\0"))

        async def run() -> Any:
            found = await speaking(job(text=text, voices=urls))
            left = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*left, return_exceptions=True)
            return found

        assert "the recordings of the voices have" in asyncio.run(run())["error"]
        assert len(asked) < MAX_VOICES

    def test_voices_of_the_bucket_speak(self, tmp_path: Path) -> None:
        bucket = open_bucket(str(tmp_path))
        bucket.put("voices/town/a.wav", TOWN, Kind.DOCUMENT)
        bucket.put("voices/town/a.txt", b"A town.", Kind.DOCUMENT)
        speaking = handler(Tone(), voices=Voices(bucket))
        for voices in (["town"], {"town": "town"}, {"town": {"voice": "town"}}):
            found = answer(speaking, job(text="[town] One.", voices=voices, seed=1, speed=0.5))
            assert samples(found) == samples(alone("One.", "town"))
        assert "voice anna is unknown" in answer(speaking, job(text="[anna] Hi.", voices=["anna"]))["error"]

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"text": "[laughs] Hi."}, "text has [laughs], but no voice of that name: there are main, town, country"),
            ({"text": "[anna] Hi.", "voices": ["anna"]}, "voices.anna.voice is given, but this worker has no bucket"),
            (
                {"text": "[u] Hi.", "voices": {"u": {"ref_audio": "https://localhost/a", "ref_text": "A."}}},
                "voices.u.ref_audio cannot be fetched from localhost: its address",
            ),
        ],
    )
    def test_errors_name_the_voice(self, changes: dict[str, Any], error: str) -> None:
        assert answer(handler(Tone()), job(**{"voices": VOICES, **changes}))["error"].startswith(error)

    def test_a_bucket_is_needed_only_for_voices_that_speak(self) -> None:
        assert answer(handler(Tone()), job(text="Hi.", voices=["anna"]))["seconds"] == 800 / RATE
