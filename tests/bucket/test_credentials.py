"""Keys come from plain variables, else from where boto3 finds them."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from cas.bucket import Kind, open_bucket
from cas.errors import AccessDenied
from tests.bucket.recording import Environment, Recorder, asked
from tests.support.buckets import HURRIED
from tools.servers.seaweed import SeaweedFS


class TestCredentials:
    """Credentials from the variables, else from where boto3 finds them."""

    @pytest.mark.parametrize(
        ("only", "missing"),
        [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")],
    )
    def test_one_of_two(self, monkeypatch: Environment, only: str, missing: str) -> None:
        monkeypatch.setenv(only, "half-a-secret")
        with pytest.raises(AccessDenied, match=f"{missing} is not set") as error:
            open_bucket("s3://bucket")
        assert "half-a-secret" not in str(error.value)

    def test_none(self) -> None:
        with pytest.raises(AccessDenied, match="no S3 credentials: set AWS_ACCESS_KEY_ID"):
            open_bucket("s3://bucket")

    def test_a_profile(self, seaweed: SeaweedFS, s3_url: str, tmp_path: Path, monkeypatch: Environment) -> None:
        access, secret = seaweed.credentials()
        (tmp_path / "credentials").write_text(
            f"[default]\naws_access_key_id = x\naws_secret_access_key = x\n"
            f"[work]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
        )
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        monkeypatch.setenv("AWS_PROFILE", "work")
        bucket = open_bucket(s3_url, HURRIED)
        bucket.put("key", b"data", Kind.DOCUMENT)
        assert bytes(bucket.get("key", 4)) == b"data"
        monkeypatch.setenv("AWS_PROFILE", "default")
        with pytest.raises(AccessDenied, match="InvalidAccessKeyId"):
            open_bucket(s3_url, HURRIED).get("key", 4)
        monkeypatch.setenv("AWS_PROFILE", "none")
        with pytest.raises(AccessDenied, match=r"profile .none. could not be found"):
            open_bucket(s3_url)

    def test_a_profile_s_endpoint(
        self, seaweed: SeaweedFS, s3_url: str, tmp_path: Path, monkeypatch: Environment
    ) -> None:
        access, secret = seaweed.credentials()
        (tmp_path / "config").write_text(
            f"[profile work]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
            f"endpoint_url = {seaweed.endpoint}\n"
        )
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "work")
        open_bucket(s3_url, HURRIED).put("key", b"data", Kind.DOCUMENT)
        assert bytes(open_bucket(s3_url, HURRIED).get("key", 4)) == b"data"

    def test_a_profile_s_token_and_region(self, recorder: Recorder, tmp_path: Path, monkeypatch: Environment) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        _process(tmp_path, "", monkeypatch)
        request = asked(recorder)
        assert request.headers["x-amz-security-token"] == "process-token"
        assert request.region == "eu-west-7"

    def test_credentials_that_cannot_be_renewed(
        self, recorder: Recorder, tmp_path: Path, monkeypatch: Environment
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        _process(tmp_path, f"[ -e {tmp_path}/used ] && echo 'please log in' >&2 && exit 1; touch {tmp_path}/used",
                 monkeypatch)  # fmt: skip
        bucket = open_bucket("s3://bucket", HURRIED)
        with pytest.raises(AccessDenied, match=r"please log in.*: log in again, or check AWS_PROFILE"):
            bucket.get("key", limit=1)
        assert recorder.requests == []


def _process(folder: Path, first: str, monkeypatch: Environment) -> None:
    """Set a profile whose credentials a program prints, after the shell commands `first`; they expire soon."""
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)
    document = {"Version": 1, "AccessKeyId": "k", "SecretAccessKey": "s", "SessionToken": "process-token",
                "Expiration": expires.isoformat()}  # fmt: skip
    program = folder / "credentials.sh"
    program.write_text(f"#!/bin/sh\n{first}\necho '{json.dumps(document)}'\n")
    program.chmod(0o700)
    (folder / "config").write_text(f"[profile work]\ncredential_process = {program}\nregion = eu-west-7\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_PROFILE", "work")
