"""Many jobs at once: one inference at a time, cancelled ones never run, floods are answered, memory stays flat."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import tracemalloc
from typing import Any

import pytest

from tests.worker.jobs.test_handler import GOOD, handler, job, until
from tests.worker.jobs.tone import Tone


def test_one_inference_at_a_time() -> None:
    speaker = Tone()
    speaking = handler(speaker)

    async def together() -> list[dict[str, Any]]:
        return await asyncio.gather(*(speaking(job(text=f"Job {number}.")) for number in range(30)))

    assert all("audio" in found for found in asyncio.run(together()))
    assert speaker.most_at_once == 1
    assert len(speaker.spoken) == 30


def test_streams_and_plain_jobs_do_not_mix() -> None:
    speaker = Tone()
    speaking = handler(speaker)

    async def stream() -> int:
        return len([part async for part in speaking.stream(job(text="One. Two. Three.", stream=True))])

    async def together() -> list[Any]:
        return await asyncio.gather(*(stream() if number % 2 else speaking(job()) for number in range(10)))

    found = asyncio.run(together())
    assert found[1::2] == [4] * 5
    assert speaker.most_at_once == 1


def test_a_cancelled_job_stops_at_once_and_the_next_is_answered() -> None:
    speaker = Tone()
    speaking = handler(speaker)

    async def scene() -> dict[str, Any]:
        running = asyncio.create_task(speaking(job(text="wait")))
        await until(speaker.waiting)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return await speaking(job())

    assert "audio" in asyncio.run(scene())
    assert speaker.stopped.is_set()
    assert speaker.most_at_once == 1


def test_a_cancelled_stream_stops_the_speaker() -> None:
    speaker = Tone()
    speaking = handler(speaker)

    async def collect() -> list[Any]:
        return [part async for part in speaking.stream(job(text="One. wait. Three.", stream=True))]

    async def scene() -> None:
        running = asyncio.create_task(collect())
        await until(speaker.waiting)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await until(speaker.stopped)

    asyncio.run(scene())


def test_a_job_cancelled_while_it_waits_is_never_spoken() -> None:
    speaker = Tone()
    speaking = handler(speaker)

    async def scene() -> dict[str, Any]:
        running = asyncio.create_task(speaking(job(text="wait")))
        await until(speaker.waiting)
        waiting = asyncio.create_task(speaking(job(text="Never.")))
        later = asyncio.create_task(speaking(job(text="Later.")))
        while len(asyncio.all_tasks()) < 4 or speaking._executor._thread._work_queue.qsize() < 2:
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not speaker.go.is_set()  # it did not have to wait for the one before it
        speaker.go.set()
        assert "audio" in await running
        return await later

    assert "audio" in asyncio.run(scene())
    assert speaker.spoken == ["wait", "Later."]


MALFORMED: list[Any] = [
    None,
    [],
    "text",
    {},
    {**GOOD, "text": ""},
    {**GOOD, "text": 5},
    {**GOOD, "text": "\ud800"},
    {**GOOD, "text": "a" * 10**6},
    {**GOOD, "ref_text": " "},
    {**GOOD, "ref_audio": "!"},
    {**GOOD, "ref_audio": "http://a"},
    {**GOOD, "ref_audio": base64.b64encode(b"\0" * 10**6).decode()},
    {**GOOD, "speed": float("nan")},
    {**GOOD, "seed": 10**5000},
    {**GOOD, "format": {"a": []}},
    {**GOOD, "unknown": 1},
    {**GOOD, "text": "crash"},
    {**GOOD, "text": "undecodable"},
    {**GOOD, "voice": "anna"},
    {**GOOD, "stream": True},
]


def test_a_flood_of_fifty_jobs_with_malformed_ones_among_them_is_answered() -> None:
    speaker = Tone()
    speaking = handler(speaker)
    inputs = [MALFORMED[at // 2 % len(MALFORMED)] if at % 2 else {**GOOD, "seed": at} for at in range(50)]

    async def flood() -> list[dict[str, Any]]:
        return await asyncio.gather(*(speaking({"id": str(at), "input": given}) for at, given in enumerate(inputs)))

    found = asyncio.run(flood())
    assert [one.get("seed") for one in found[::2]] == list(range(0, 50, 2))
    assert all(list(one) == ["error"] and isinstance(one["error"], str) for one in found[1::2])
    assert speaker.most_at_once == 1


def test_memory_is_flat_over_two_hundred_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("worker.jobs.handler"), "disabled", True)  # pytest keeps what is logged
    speaker = Tone()
    speaking = handler(speaker)
    large = base64.b64encode(b"RIFF".ljust(200_000, b"\0")).decode()

    async def some(count: int) -> None:
        for number in range(count):
            await speaking(job(ref_audio=large, text="Word " * 50))
            await speaking({"id": "bad", "input": MALFORMED[number % len(MALFORMED)]})
            async for _ in speaking.stream(job(text="One. Two. Three.", ref_audio=large, stream=True)):
                pass
        speaker.spoken.clear()

    async def measured() -> int:
        await some(20)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await some(200)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        grown = asyncio.run(measured())
    finally:
        tracemalloc.stop()
    assert grown < 100_000  # half of one job's reference
