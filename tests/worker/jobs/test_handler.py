"""Jobs answered: with a small speaker of real signals, and every error that a job can meet."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cas.bucket import Kind, open_bucket
from cas.errors import StoreError
from tests.worker.jobs.tone import RATE, WAV, Tone, encode, frames_of, shorten
from worker.errors import BadRequest
from worker.jobs.handler import MAX_PAYLOAD, Handler
from worker.jobs.voices import Voices

GOOD: dict[str, Any] = {"text": "Two words.", "ref_audio": base64.b64encode(WAV).decode(), "ref_text": "A voice."}
DIGEST = "blake3:" + "0" * 64


def handler(speaker: Tone, **options: Any) -> Handler:
    """Without a bucket, unless one is given."""
    return Handler(speaker, digest=DIGEST, encode=encode, shorten=shorten, **options)


def job(**changes: Any) -> dict[str, Any]:
    """A good job, but for what is changed."""
    return {"id": "job-1", "input": {**GOOD, **changes}}


def answer(speaking: Handler, given: dict[str, Any]) -> dict[str, Any]:
    """Of the plain handler."""
    found = asyncio.run(speaking(given))
    json.dumps(found, allow_nan=False)
    return found


def streamed(speaking: Handler, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything that the generator sends."""

    async def collect() -> list[dict[str, Any]]:
        return [part async for part in speaking.stream(given)]

    return asyncio.run(collect())


async def until(event: threading.Event) -> None:
    """Waits until it is set; fails when it never is."""
    assert await asyncio.to_thread(event.wait, 10)


class TestAnswers:
    """What a job gets."""

    def test_audio_and_all_that_is_known_about_it(self) -> None:
        found = answer(handler(Tone()), job(seed=7))
        assert frames_of(base64.b64decode(found.pop("audio"))) == RATE // 5
        assert list(found.pop("timings")) == ["reference", "wait", "speak", "deliver"]
        assert found == {"sample_rate": RATE, "seconds": 0.2, "format": "wav", "seed": 7, "model": DIGEST}

    def test_one_seed_gives_one_audio_and_the_seed_drawn_is_told(self) -> None:
        speaking = handler(Tone())
        first = answer(speaking, job())
        assert answer(speaking, job(seed=first["seed"]))["audio"] == first["audio"]
        assert answer(speaking, job(seed=(first["seed"] + 1) % 2**32))["audio"] != first["audio"]

    def test_manner_reaches_the_speaker(self) -> None:
        assert answer(handler(Tone()), job(speed=0.5))["seconds"] == 0.4

    def test_silence_is_removed_where_asked(self) -> None:
        assert answer(handler(Tone()), job(remove_silence=True))["seconds"] == 0.1

    def test_audio_of_nothing_but_silence_is_not_cut_to_nothing(self) -> None:
        speaking = Handler(Tone(), digest=DIGEST, encode=encode, shorten=lambda samples, _: samples[:0])
        assert answer(speaking, job(remove_silence=True))["seconds"] == 0.2

    def test_a_url_is_fetched(self) -> None:
        asked: list[str] = []
        speaking = handler(Tone(), fetch=lambda url: asked.append(url) or WAV)
        assert "audio" in answer(speaking, job(ref_audio="https://host/a.wav"))
        assert asked == ["https://host/a.wav"]

    def test_a_url_that_answers_with_a_page_is_refused(self) -> None:
        speaking = handler(Tone(), fetch=lambda _: b"<html>")
        assert answer(speaking, job(ref_audio="https://host/")) == {
            "error": "ref_audio is not audio: send a wav, flac, mp3 or ogg file"
        }

    def test_a_named_voice_speaks(self, tmp_path: Path) -> None:
        bucket = open_bucket(str(tmp_path))
        bucket.put("voices/anna/a.wav", WAV + b"more", Kind.DOCUMENT)
        bucket.put("voices/anna/a.txt", b"Anna.", Kind.DOCUMENT)
        speaking = handler(Tone(), voices=Voices(bucket))
        named = answer(speaking, {"id": "1", "input": {"text": "Two words.", "voice": "anna", "seed": 1}})
        sent = answer(speaking, job(seed=1, ref_audio=base64.b64encode(WAV + b"more").decode()))
        assert named["audio"] == sent["audio"] != answer(speaking, job(seed=1))["audio"]

    def test_upload_answers_with_a_url_that_no_other_job_gets(self) -> None:
        stored: dict[str, bytes] = {}

        def upload(name: str, audio: bytes, format: str) -> str:
            stored[f"{name}.{format}"] = audio
            return f"https://bucket/{name}.{format}"

        speaking = handler(Tone(), upload=upload)
        given = {"id": "../job/1", "input": {**GOOD, "return": "upload", "format": "mp3"}}
        first, second = answer(speaking, given), answer(speaking, given)
        assert "audio" not in first
        assert first["url"] != second["url"]
        assert {f"https://bucket/{name}" for name in stored} == {first["url"], second["url"]}
        assert all("/" not in name for name in stored)

    def test_progress_is_told_while_there_is_some_and_never_at_the_end(self) -> None:
        told: list[object] = []
        given = job(text="One. Two. Three.")
        answer(handler(Tone(), progress=lambda *update: told.append(update)), given)
        assert told == [(given, {"done": 0, "parts": 3})]  # the next would come within a second

    def test_progress_that_cannot_be_told_fails_no_job(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail(*_: object) -> None:
            raise OSError("no way")

        assert "audio" in answer(handler(Tone(), progress=fail), job())
        assert "progress could not be sent" in caplog.text


class TestErrors:
    """One string under "error", and the worker lives on."""

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({}, "input is null: send an object"),
            ({"id": "1", "input": "text"}, "input is 'text': send an object"),
            (job(text=""), "text has nothing to speak in it"),
            (job(ref_text=None), "ref_text is missing"),
            (job(txet="a"), "'txet' is not a field: did you mean text?"),
            (job(ref_audio="????"), "ref_audio is neither base64 nor an https URL"),
            (job(ref_audio="https://localhost/a.wav"), "ref_audio cannot be fetched from localhost: its address"),
            (job(text="undecodable"), "the audio cannot be decoded: send a wav, flac, mp3 or ogg file"),
            (job(stream=True), "stream is true, but this endpoint answers in one"),
            ({"id": "1", "input": {"text": "a", "voice": "anna"}}, "voice is given, but this worker has no bucket"),
            (job(**{"return": "upload"}), "return is upload, but this worker has no bucket"),
        ],
    )
    def test_a_wrong_job_is_told_why(self, given: dict[str, Any], error: str, caplog: pytest.LogCaptureFixture) -> None:
        speaking = handler(Tone())
        found = answer(speaking, given)
        assert list(found) == ["error"]
        assert found["error"].startswith(error)
        assert not caplog.records
        assert "audio" in answer(speaking, job())

    def test_the_unexpected_is_a_reference_and_the_traceback_is_in_the_log(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        speaking = handler(Tone())
        found = answer(speaking, job(text="crash"))["error"]
        assert "secret" not in found and "\n" not in found
        record = caplog.records[-1]
        assert record.levelno == logging.ERROR
        assert record.args and str(record.args[1]) in found  # type: ignore[index]
        assert record.exc_info and "a secret of the model" in caplog.text
        assert "audio" in answer(speaking, job())

    def test_an_upload_that_fails_is_one_line_and_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        def upload(*_: object) -> str:
            raise StoreError("upload failed\n (503)")

        found = answer(handler(Tone(), upload=upload), job(**{"return": "upload"}))
        assert found == {"error": "upload failed (503)"}
        assert "upload failed" in caplog.text

    def test_audio_that_the_platform_would_not_take_is_refused_with_the_ways_out(self) -> None:
        found = answer(handler(Tone()), job(text="a " * 2499, speed=0.3))  # 1.7 minutes and 13 MB
        assert found.keys() == {"error"}
        assert "ask for upload" in found["error"]

    def test_a_worker_that_is_broken_asks_to_be_replaced(self) -> None:
        wanted = {"error": "the GPU failed (why): send the job again", "refresh_worker": True}
        assert answer(handler(Tone()), job(text="broken")) == wanted
        assert streamed(handler(Tone()), job(text="broken")) == [wanted]
        assert streamed(handler(Tone()), job(text="One. broken.", stream=True))[-1] == wanted

    def test_a_job_that_takes_too_long_is_cut_and_the_next_one_answered(self) -> None:
        speaker = Tone()
        speaking = handler(speaker, seconds=0.3)
        assert "not spoken within 0.3 s" in answer(speaking, job(text="wait"))["error"]
        assert speaker.stopped.wait(10)
        assert "audio" in answer(speaking, job())


class TestStreaming:
    """Long text part by part."""

    def test_parts_come_in_order_and_totals_last(self) -> None:
        *parts, totals = streamed(handler(Tone()), job(text="One. Two words. Three words now.", stream=True, seed=3))
        assert [part["part"] for part in parts] == [0, 1, 2]
        assert [frames_of(base64.b64decode(part["audio"])) for part in parts] == [800, 1600, 2400]
        assert all(part["seed"] == 3 and part["model"] == DIGEST for part in parts)
        assert list(totals.pop("timings")) == ["reference", "wait", "speak", "deliver"]
        assert totals == {"parts": 3, "seconds": 0.6, "format": "wav", "seed": 3, "model": DIGEST}

    def test_a_part_is_sent_before_the_next_is_spoken(self) -> None:
        speaker = Tone()

        async def first_part_of_two() -> dict[str, Any]:
            parts = handler(speaker).stream(job(text="One. wait. Three.", stream=True))
            first = await anext(parts)
            await until(speaker.waiting)
            speaker.go.set()
            assert [part.get("part") async for part in parts] == [1, 2, None]
            return first

        assert asyncio.run(first_part_of_two())["part"] == 0

    def test_a_job_that_does_not_stream_comes_in_one(self) -> None:
        speaking = handler(Tone())
        (only,) = streamed(speaking, job(seed=1))
        assert only["audio"] == answer(speaking, job(seed=1))["audio"]

    @pytest.mark.parametrize("text", ["One. crash. Three.", "One. undecodable. Three."])
    def test_an_error_in_the_middle_ends_it(self, text: str) -> None:
        first, last = streamed(handler(Tone()), job(text=text, stream=True))
        assert first["part"] == 0
        assert list(last) == ["error"]

    def test_parts_that_together_are_more_than_the_platform_takes_end_with_the_ways_out(self) -> None:
        *parts, last = streamed(handler(Tone()), job(text=("a " * 249 + "a. ") * 9, speed=0.3, stream=True))
        assert 0 < len(parts) < 9
        assert sum(len(part["audio"]) for part in parts) <= MAX_PAYLOAD
        assert "ask for upload" in last["error"]

    def test_a_wrong_job_is_one_error(self) -> None:
        (only,) = streamed(handler(Tone()), job(text="", stream=True))
        assert only["error"].startswith("text has nothing to speak")

    def test_a_stream_that_is_left_stops_the_speaker(self) -> None:
        speaker = Tone()
        speaking = handler(speaker)

        async def leave() -> None:
            parts: AsyncIterator[Any] = speaking.stream(job(text="One. wait. Three.", stream=True))
            await anext(parts)
            await until(speaker.waiting)
            await parts.aclose()  # type: ignore[attr-defined]

        asyncio.run(leave())
        assert speaker.stopped.wait(10)
        assert "audio" in answer(speaking, job())


def test_bad_requests_are_input_errors() -> None:
    assert BadRequest("x").exit_code == 2
