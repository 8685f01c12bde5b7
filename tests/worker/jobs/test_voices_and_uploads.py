"""What a job reads from the bucket and writes to it, in every shape: the real worker on a real S3 server."""

from __future__ import annotations

import base64
import urllib.request
from urllib.parse import urlsplit

import pytest

from cas.bucket import Kind, open_bucket
from cas.store.store import Store
from tools.deployment import JOB, Deployment


@pytest.mark.timeout(300)
def test_a_voice_of_the_bucket_speaks_and_its_audio_is_left_there(deployment: Deployment, shop: Store) -> None:
    bucket = open_bucket(f"s3://{urlsplit(shop.url).netloc}")
    bucket.put("voices/anna/anna.wav", base64.b64decode(JOB["ref_audio"]), Kind.DOCUMENT)
    bucket.put("voices/anna/anna.txt", JOB["ref_text"].encode(), Kind.DOCUMENT)
    deployment.start()
    named = {"voice": "anna", "ref_audio": None, "ref_text": None, "seed": 1, "return": "upload"}
    unknown = {"voice": "ana", "ref_audio": None, "ref_text": None}
    body = {"model": "tts-1", "input": JOB["text"], "voice": "anna", "seed": 1, "nfe_step": 2}
    sent, left, none, prompted, spoken, several = deployment.run_jobs(
        {"seed": 1},
        named,
        unknown,
        {**named, "return": None, "text": None, "prompt": JOB["text"]},
        {**dict.fromkeys(JOB), "openai_route": "/v1/audio/speech", "openai_input": {**body, "response_format": "opus"}},
        {"text": "Hm. [anna] Hm. [main] Hm.", "voices": ["anna"], "format": "pcm"},
    )
    assert sent and left and "error" not in left, left
    assert "audio" not in left
    with urllib.request.urlopen(left["url"], timeout=10) as answer:
        assert answer.headers["Content-Type"] == "audio/wav"
        assert answer.read() == base64.b64decode(sent["audio"])
    assert prompted and "error" not in prompted, prompted
    with urllib.request.urlopen(prompted["audio_url"], timeout=10) as answer:
        assert answer.read() == base64.b64decode(sent["audio"])
    keys = {f"/{entry.key}" for entry in bucket.list("output")}
    assert keys == {f"/output/{urlsplit(url).path.rpartition('/')[2]}" for url in (left["url"], prompted["audio_url"])}
    assert spoken and base64.b64decode(spoken["audio"]).startswith(b"OggS"), spoken
    assert (spoken["seconds"], spoken["ignored"]) == (sent["seconds"], ["model"])
    assert several and len(base64.b64decode(several["audio"])) == pytest.approx(48_000 * several["seconds"], abs=48)
    assert none is None, "a job that fails has no output"
    assert "voice ana is unknown: there are 1, such as anna" in deployment.platform.jobs.all()[2].error
