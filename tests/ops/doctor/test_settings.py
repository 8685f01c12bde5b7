"""The settings of a store are shown with where each comes from, and without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.ops.doctor.providers import UNKNOWN, provider_of
from tests.ops.doctor.conftest import Examine
from tools.servers.habits import HabitServer

URL = "s3://bucket/cas"


def test_each_setting_of_s3_has_its_source(
    odd: HabitServer, examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_BUCKET", "bucket")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "hidden-token")
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "AES256")
    odd.habits.refusal = "403 InvalidAccessKeyId"
    found = examined()
    assert found["store"].found == f"{URL} (S3_BUCKET)"
    assert found["endpoint"].found == f"{odd.url} (AWS_ENDPOINT_URL)"
    assert found["region"].found == "us-east-1 (AWS_REGION)"
    assert "path style" in found["addressing"].found
    assert found["credentials"].found == "key AKIA… (AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN)"
    assert "AWS_SERVER_SIDE_ENCRYPTION" in found["encryption"].found
    assert "hidden" not in str(found.diagnosis)
    assert "IOSFODNN7" not in str(found.diagnosis)


@pytest.mark.parametrize(
    ("variable", "value", "source"),
    [(None, "", "the call"), ("CAS_STORE", URL, "CAS_STORE"), ("S3_BUCKET", "bucket", "S3_BUCKET")],
)
def test_the_store_has_its_source(
    odd: HabitServer,
    examined: Examine,
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    value: str,
    source: str,
) -> None:
    odd.habits.refusal = "403 InvalidAccessKeyId"
    if variable:
        monkeypatch.setenv(variable, value)
    assert examined(None if variable else URL)["store"].found == f"{URL} ({source})"


def test_requests_without_a_signature_are_told(
    odd: HabitServer, examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd.habits.anonymous = True
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "1")
    found = examined(URL)
    assert "AWS_SKIP_SIGNATURE" in found["credentials"].found
    assert found["read"].status == "ok"


def test_half_a_key_is_a_finding(odd: HabitServer, examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found = examined(URL)
    assert (found["store"].status, found.diagnosis.exit_code) == ("failed", 6)
    assert "AWS_SECRET_ACCESS_KEY" in found["store"].found


def test_plain_http_to_another_machine_is_a_warning(
    odd: HabitServer, examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://no-such-host.invalid")
    assert examined(URL).status("encrypted") == "warning"


def test_a_directory_has_no_settings_of_s3(tmp_path: Path, examined: Examine) -> None:
    found = examined(str(tmp_path))
    assert [one.name for one in found.diagnosis.findings if one.group == "settings"] == ["store"]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("s3.eu-central-003.backblazeb2.com", "Backblaze B2"),
        ("0123.r2.cloudflarestorage.com", "Cloudflare R2"),
        ("0123.eu.r2.cloudflarestorage.com", "Cloudflare R2"),
        ("storage.googleapis.com", "Google Cloud Storage"),
        ("s3.hf.co", "Hugging Face buckets"),
        ("s3api-eu-ro-1.runpod.io", "RunPod network volume"),
        ("s3.eu-west-1.amazonaws.com", "AWS"),
        ("s3.cn-north-1.amazonaws.com.cn", "AWS"),
        ("s3.example.com", UNKNOWN.name),
        ("backblazeb2.com.example", UNKNOWN.name),
    ],
)
def test_hosts_tell_the_provider(host: str, name: str) -> None:
    assert provider_of(host).name == name


def test_what_is_known_of_a_provider_stands_below_its_trouble(
    examined: Examine, monkeypatch: pytest.MonkeyPatch, odd: HabitServer
) -> None:
    monkeypatch.setattr("cas.ops.doctor.store_checks.provider_of", lambda *_: provider_of("x.backblazeb2.com"))
    odd.habits.refusal = "403 InvalidAccessKeyId"
    assert "master key" in examined(URL)["key"].advice
