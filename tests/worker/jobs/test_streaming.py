"""Streams, progress and cancelled jobs, from the real client through the real SDK to the real F5-TTS and back."""

from __future__ import annotations

import base64
import io
import json
import wave
from typing import Any

import pytest

from cas.store.store import Store
from tests.support.processes import until
from tools.deployment import ENDPOINT, Deployment
from tools.servers.runpod_platform import Status

LONG = "The first sentence is here. And this is the second one, a little longer. " * 2

# One client for all jobs: to import the SDK takes seconds.
STREAM = """
def streamed(**changes):
    job = endpoint.run({"input": {**request["input"], "stream": True, **changes}})
    parts = list(job.stream())
    return {"parts": parts, "status": job.status(), "output": job.output()}

body = {"input": "Well then, here we are. That is all there is to say.", "response_format": "pcm", "nfe_step": 2}
body |= {"stream_format": "sse", **{name: request["input"][name] for name in ("ref_audio", "ref_text")}}
as_openai = {"openai_route": "/v1/audio/speech", "openai_input": body}
answer = [streamed(), streamed(), endpoint.run_sync(request, timeout=120), streamed(**as_openai), streamed(text="")]
"""

CANCEL = """
job = endpoint.run(request)
while job.status() == "IN_QUEUE":
    time.sleep(0.05)
time.sleep(1)
cancelled = job.cancel()
answer = {"cancelled": cancelled["status"], "status": job.status(), "id": job.job_id}
following = {"input": {**request["input"], "text": "Hm.", "nfe_step": 2, "stream": False}}
answer["following"] = endpoint.run_sync(following, timeout=120)
"""


def _samples(part: dict[str, Any]) -> bytes:
    with wave.open(io.BytesIO(base64.b64decode(part["audio"]))) as sound:
        return sound.readframes(sound.getnframes())


@pytest.mark.timeout(300)
def test_a_streaming_endpoint_sends_sentence_by_sentence(deployment: Deployment, shop: Store) -> None:
    worker = deployment.start(CAS_STREAM="1")
    found, again, whole, events, bad = deployment.run_client(STREAM, text=LONG, seed=5)
    assert found["status"] == Status.COMPLETED, deployment.platform.jobs.all(ENDPOINT)[0].error
    assert found["parts"] == found["output"], "who asks for the status has it too"
    *parts, totals = found["parts"]
    assert totals["parts"] == len(parts) == LONG.count(".")
    assert [part["part"] for part in parts] == list(range(len(parts)))
    assert sum(map(len, map(_samples, parts))) == pytest.approx(2 * 24_000 * totals["seconds"], rel=0.01)
    assert [part["audio"] for part in again["parts"][:-1]] == [part["audio"] for part in parts]
    assert [output["seconds"] > 0.5 * totals["seconds"] for output in whole] == [True], "one answer to a plain job"
    assert events["parts"] == events["output"] and all(event.startswith("data: {") for event in events["parts"])
    kinds = [json.loads(event.removeprefix("data: "))["type"] for event in events["parts"]]
    assert kinds == ["speech.audio.delta"] * (len(kinds) - 1) + ["speech.audio.done"] and len(kinds) == 3
    assert bad == {"parts": [], "status": Status.FAILED, "output": None}
    assert "text has nothing to speak" in deployment.platform.jobs.all(ENDPOINT)[-1].error
    until(lambda: shop.bucket.list("leases"), 120)  # of the background publish, which may be at work or done
    worker.terminate()
    assert worker.wait(timeout=60) == 0, deployment.log()
    last = {entry.key.rpartition("-")[0]: entry.key for entry in shop.bucket.list("leases")}
    assert {json.loads(bytes(shop.bucket.get(key, 1 << 16)))["seconds"] for key in last.values()} == {0}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_job_ends_and_the_next_one_is_answered(deployment: Deployment, stream: bool) -> None:
    deployment.start(CAS_STREAM="1" if stream else "")
    found = deployment.run_client(CANCEL, text=LONG * 16, nfe_step=64, stream=stream)
    assert (found["cancelled"], found["status"]) == (Status.CANCELLED, Status.CANCELLED)
    following = found["following"][0] if stream else found["following"]
    assert following["sample_rate"] == 24_000, "the next job is answered"
    job = deployment.platform.jobs.get(found["id"])
    assert job is not None and job.status is Status.CANCELLED and job.takes == 1
    assert job.result is None
    assert "Stopping job." in deployment.log()
    if stream:
        assert not any("parts" in chunk["output"] for chunk in job.chunks), "it was not spoken to its end"
    else:
        assert job.progress, "it was being spoken"
