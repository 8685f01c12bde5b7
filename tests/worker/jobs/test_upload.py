"""Finished audio in the bucket of a real S3 server."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest

from cas.errors import AccessDenied, CasError, StoreError, Unreachable
from tools.servers.seaweed import SeaweedFS
from worker.jobs.upload import Uploader


@pytest.fixture
def bucket(s3_url: str) -> str:
    return urlsplit(s3_url).netloc


def test_whoever_has_the_url_hears_the_audio(bucket: str, seaweed: SeaweedFS) -> None:
    url = Uploader(bucket)("job-1", b"ID3 audio", "mp3")
    assert url.startswith(f"{seaweed.endpoint}/{bucket}/output/job-1.mp3?")
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"ID3 audio"
        assert answer.headers["Content-Type"] == "audio/mpeg"


def test_the_url_alone_opens_it_and_nothing_else(bucket: str) -> None:
    url = Uploader(bucket)("job-1", b"audio", "wav")
    for other in (url.partition("?")[0], url.replace("job-1", "job-2")):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(other, timeout=10)
        assert error.value.code == 403
        error.value.close()


def test_the_region_is_that_of_the_endpoint(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.us-west-004.backblazeb2.com")
    url = Uploader(bucket)._bucket.signed_url("output/job-1.wav", 60)
    assert parse_qs(urlsplit(url).query)["X-Amz-Credential"][0].split("/")[2] == "us-west-004"


def test_a_key_that_may_not_write_is_named(bucket: str, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    access, secret = seaweed.credentials("reader")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    with pytest.raises(AccessDenied, match="s3:PutObject") as error:
        Uploader(bucket)("job-1", b"audio", "wav")
    assert secret not in str(error.value)


def test_a_bucket_that_does_not_exist_is_an_error(
    bucket: str, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    access, secret = seaweed.credentials("publisher")  # with the administrator's key, the server would make the bucket
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    with pytest.raises(StoreError, match=r"upload output/job-1\.wav to s3://absent"):
        Uploader("absent")("job-1", b"audio", "wav")


def test_a_server_that_is_gone_is_an_error(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Unreachable, match="check AWS_ENDPOINT_URL"):
        Uploader(bucket)("job-1", b"audio", "wav")


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_missing_keys_are_an_error(bucket: str, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delenv(missing)
    with pytest.raises(CasError, match="check the AWS_ variables"):
        Uploader(bucket)("job-1", b"audio", "wav")


def test_an_upload_needs_no_second_s3_client(bucket: str) -> None:
    script = f"""
import sys
from worker.jobs.upload import Uploader
print(Uploader({bucket!r})("job-1", b"audio", "flac"), "boto3" in sys.modules, "botocore" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    url, *imported = done.stdout.split()
    assert imported == ["False", "False"]
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert (answer.read(), answer.headers["Content-Type"]) == (b"audio", "audio/flac")
        assert answer.headers["Cache-Control"] is None
