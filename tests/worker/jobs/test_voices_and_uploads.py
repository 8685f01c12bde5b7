"""What a job reads from the bucket and writes to it: the real worker on a real S3 server."""

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
    sent, left, none = deployment.run_jobs({"seed": 1}, named, {"voice": "ana", "ref_audio": None, "ref_text": None})
    assert sent and left and "error" not in left, left
    assert "audio" not in left
    with urllib.request.urlopen(left["url"], timeout=10) as answer:
        assert answer.headers["Content-Type"] == "audio/wav"
        assert answer.read() == base64.b64decode(sent["audio"])
    (entry,) = bucket.list("output")
    assert urlsplit(left["url"]).path.endswith(f"/{entry.key}")
    assert none is None, "a job that fails has no output"
    assert "voice ana is unknown: there are 1, such as anna" in deployment.platform.jobs.all()[-1].error
