"""Jobs in the words of RunPod's own endpoints and of OpenAI: read as ours, and answered in theirs."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.jobs.test_handler import handler
from tests.worker.jobs.test_schema import GOOD, WAV, anything, check, refused
from tests.worker.jobs.tone import Tone, frames_of
from worker.jobs import serving, shapes, upload
from worker.jobs.references import Inline, Linked, Named
from worker.jobs.schema import FORMATS, parse
from worker.jobs.shapes import Shape

# As in RunPod's documentation of the two endpoints.
CHATTERBOX = {"prompt": "Hello! Welcome to our text-to-speech demonstration.", "voice": "lucy", "format": "wav"}
MINIMAX = {
    "prompt": "Welcome.",
    "voice_id": "Wise_Woman",
    "speed": 1,
    "volume": 1,
    "pitch": 0,
    "emotion": "happy",
    "english_normalization": False,
}
# As OpenAI's clients send it.
SPEECH = {"model": "tts-1", "input": "The quick brown fox.", "voice": "alloy"}


def openai(**changes: object) -> dict[str, Any]:
    return {"openai_route": "/v1/audio/speech", "openai_input": {**SPEECH, **changes}}


class TestRunPod:
    """`prompt`, `voice_url`, `audio_url`."""

    def test_the_documented_inputs_are_read(self) -> None:
        first, second = parse(CHATTERBOX), parse(MINIMAX)
        assert (first.text, first.source, first.format) == (CHATTERBOX["prompt"], Named("lucy"), "wav")
        assert (second.text, second.source, second.manner.speed) == ("Welcome.", Named("Wise_Woman"), 1.0)
        assert first.shape is second.shape is Shape.RUNPOD

    def test_what_f5_tts_cannot_do_is_told(self) -> None:
        assert parse(CHATTERBOX).ignored == ()
        assert parse(MINIMAX).ignored == ("volume", "pitch", "emotion", "english_normalization")
        assert parse({**MINIMAX, "emotion": None, "pitch": None}).ignored == ("volume", "english_normalization")

    def test_a_url_overrides_the_voice(self) -> None:
        linked = {**CHATTERBOX, "voice_url": "https://host/a.wav", "ref_text": "A voice."}
        assert parse(linked).source == Linked("https://host/a.wav", "A voice.")

    def test_our_fields_stand_beside_theirs(self) -> None:
        sent = {"prompt": "Hi.", "ref_audio": GOOD["ref_audio"], "ref_text": "A voice.", "seed": 5, "format": "mp3"}
        request = parse(sent)
        assert (request.source, request.manner.seed, request.format) == (Inline(WAV, "A voice."), 5, "mp3")

    def test_ogg_is_opus(self) -> None:
        assert parse({**CHATTERBOX, "format": "ogg"}).format == "opus"

    @pytest.mark.parametrize(
        ("uploads", "asked", "deliver"),
        [(True, None, "upload"), (False, None, "base64"), (True, "base64", "base64"), (False, "upload", "upload")],
    )
    def test_a_url_is_uploaded_audio_where_there_is_a_bucket(self, uploads: bool, asked: str, deliver: str) -> None:
        assert parse({**CHATTERBOX, "return": asked}, uploads=uploads).deliver == deliver
        assert parse({**GOOD, "return": asked}, uploads=uploads).deliver == (asked or "base64")

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"prompt": ""}, "prompt has nothing to speak in it"),
            ({"prompt": None, "voice_id": "a", "voice": None}, "prompt is missing: write what to say"),
            ({"text": "Hi."}, "text is given beside prompt, which means the same: leave one of the two out"),
            ({"voice_id": "b"}, "voice_id is given beside voice, which means the same"),
            ({"voice": None}, "voice_url is missing: send audio in base64 or its https URL, or name a voice instead"),
            ({"voice": None, "voice_id": "/"}, "voice_id is '/': a name has letters"),
            ({"voice_url": "http://a"}, "ref_text is missing: write what is said in voice_url"),
            ({"voice_url": "http://a", "ref_text": "a"}, "voice_url is a URL that does not begin with https://"),
            ({"format": "aac"}, "format is 'aac': send one of wav, flac, mp3, opus, pcm"),
            ({"promt": "Hi."}, "'promt' is not a field"),
        ],
    )
    def test_errors_name_what_the_sender_wrote(self, change: dict[str, object], sentence: str) -> None:
        assert refused({**CHATTERBOX, **change}).startswith(sentence)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (
                {"voice_url": "https://localhost/a", "ref_text": "A."},
                "voice_url cannot be fetched from localhost: its address is not a public one",
            ),
            ({"voice": None, "voice_id": "lucy"}, "voice_id is given, but this worker has no bucket"),
        ],
    )
    def test_so_do_errors_of_the_recording(self, change: dict[str, object], sentence: str) -> None:
        found = asyncio.run(handler(Tone())({"id": "1", "input": {**CHATTERBOX, **change}}))
        assert found["error"].startswith(sentence)

    def test_the_answer_has_a_url(self) -> None:
        output = {"url": "https://bucket/a.wav", "format": "wav", "seconds": 1.0}
        assert shapes.answer(Shape.RUNPOD, dict(output)) == {**output, "audio_url": "https://bucket/a.wav"}

    def test_without_a_bucket_the_url_holds_the_audio_itself(self) -> None:
        answer = shapes.answer(Shape.RUNPOD, {"audio": base64.b64encode(WAV).decode(), "format": "mp3"})
        assert answer == {"audio_url": f"data:audio/mpeg;base64,{GOOD['ref_audio']}", "format": "mp3"}
        request = parse({**CHATTERBOX, "voice_url": answer["audio_url"], "ref_text": "A voice."})
        assert request.source == Inline(WAV, "A voice."), "it can be sent back as a reference"


class TestOpenAi:
    """`/v1/audio/speech` through RunPod's proxy."""

    def test_what_openais_clients_send_is_read(self) -> None:
        request = parse(openai(response_format="opus", speed=1.5, instructions="Whisper."))
        assert (request.text, request.source, request.format) == (SPEECH["input"], Named("alloy"), "opus")
        assert (request.manner.speed, request.shape, request.stream) == (1.5, Shape.OPENAI, False)
        assert request.ignored == ("model", "instructions")

    def test_mp3_is_the_default(self) -> None:
        assert parse(openai()).format == parse(openai(response_format=None, format=None)).format == "mp3"

    def test_a_voice_may_be_an_object_with_an_id(self) -> None:
        assert parse(openai(voice={"id": "voice_1"})).source == Named("voice_1")

    def test_our_fields_stand_beside_theirs(self) -> None:
        request = parse(openai(voice=None, ref_audio=GOOD["ref_audio"], ref_text="A voice.", seed=3))
        assert (request.source, request.manner.seed) == (Inline(WAV, "A voice."), 3)

    @pytest.mark.parametrize(
        ("change", "streams"),
        [({"stream_format": "sse"}, True), ({"stream_format": "audio"}, False), ({"stream": True}, True)],
    )
    def test_a_stream_of_events_is_a_stream(self, change: dict[str, object], streams: bool) -> None:
        assert parse(openai(**change)).stream is streams

    @pytest.mark.parametrize(
        ("job", "sentence"),
        [
            ({"openai_route": "/v1/models"}, "openai_route is '/v1/models': this worker answers /v1/audio/speech"),
            ({"openai_input": SPEECH}, "openai_route is null: this worker answers /v1/audio/speech"),
            ({"openai_route": "/v1/audio/speech", "openai_input": []}, "openai_input is a list: send an object"),
            (openai(input=None), "input is missing: write what to say"),
            (openai(input=[]), "input is a list: send a string"),
            (openai(response_format="aac"), "response_format is 'aac': send one of wav, flac, mp3, opus, pcm"),
            (openai(stream_format="ws"), "stream_format is 'ws': send one of audio, sse"),
            (openai(voice={"name": "a"}), "voice is an object: send a string"),
            (openai(speed=4), "speed is 4: send a number from 0.3 to 2.0"),
            (openai(text="Hi."), "text is given beside input, which means the same"),
        ],
    )
    def test_errors_name_what_the_sender_wrote(self, job: dict[str, object], sentence: str) -> None:
        assert refused(job).startswith(sentence)

    def test_parts_are_openais_events(self) -> None:
        part, totals = {"part": 0, "audio": "UklGRg=="}, {"parts": 1, "seconds": 0.5}
        events = [shapes.part(Shape.OPENAI, part), shapes.totals(Shape.OPENAI, totals)]
        assert all(
            isinstance(event, str) and event.startswith("data: ") and event.endswith("}\n\n") for event in events
        )
        assert [json.loads(str(event)[6:]) for event in events] == [
            {"type": "speech.audio.delta", **part},
            {"type": "speech.audio.done", **totals},
        ]


def test_a_job_in_our_words_is_left_as_it_is() -> None:
    assert shapes.read(GOOD, uploads=True).fields is GOOD
    for function in (shapes.answer, shapes.part, shapes.totals):
        assert function(Shape.OURS, {"audio": "x"}) == {"audio": "x"}


def test_every_format_can_be_uploaded_and_named() -> None:
    assert upload.KINDS.keys() == set(FORMATS)
    assert len({shapes.media_type(format) for format in FORMATS}) == len(FORMATS)


foreign = st.sampled_from([
    "prompt", "voice_url", "voice_id", "volume", "openai_route", "openai_input", "text", "voice", "format", "return",
])  # fmt: skip


@given(st.dictionaries(foreign, anything, max_size=4), st.sampled_from([CHATTERBOX, MINIMAX, openai(), {}]))
def test_anything_in_a_foreign_shape_becomes_a_request_or_one_sentence(
    changes: dict[str, object], good: dict[str, Any]
) -> None:
    check({**good, **changes})


@given(st.dictionaries(st.sampled_from(["input", "voice", "response_format", "stream_format", "model"]), anything))
def test_anything_in_openais_body_becomes_a_request_or_one_sentence(changes: dict[str, object]) -> None:
    check(openai(**changes))


def test_events_are_sent_as_text_and_their_end_is_an_answer() -> None:
    answered: list[object] = []
    config = serving.configuration(handler(Tone()), stream=True, after_answer=answered.append)
    body = {"input": "One. Two.", "ref_audio": GOOD["ref_audio"], "ref_text": "A voice.", "model": "tts-1"}
    given = {**openai(), "openai_input": {**body, "stream_format": "sse", "response_format": "wav"}}

    async def collect() -> list[Any]:
        return [part async for part in config["handler"]({"id": "1", "input": given})]

    events = [json.loads(event.removeprefix("data: ")) for event in asyncio.run(collect())]
    assert [event["type"] for event in events] == ["speech.audio.delta"] * 2 + ["speech.audio.done"]
    assert [frames_of(base64.b64decode(event["audio"])) for event in events[:2]] == [800, 800]
    assert events[-1]["parts"] == 2 and events[-1]["ignored"] == ["model"]
    assert answered == [{}], "nothing that counts as an error, whatever letters the audio has"
