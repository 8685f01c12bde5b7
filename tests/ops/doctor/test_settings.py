"""The settings of a store are shown with where each comes from, and without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.ops.doctor.providers import UNKNOWN, provider_of
from cas.store.store import Store, open_store
from tests.ops.doctor.conftest import Examination, Examine
from tests.support.buckets import slow_store
from tools.servers.azurite import ACCOUNT, KEY, Azurite
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


class TestAzure:
    """On the real server."""

    def shown(self, found: Examination) -> dict[str, str]:
        return {one.name: one.found for one in found.diagnosis.findings if one.group == "settings"}

    def test_the_account_and_its_key(self, azurite: Azurite, az_url: str, examined: Examine) -> None:
        open_store(az_url).create()
        found = examined(az_url)
        assert self.shown(found) == {
            "store": f"{az_url} (the call)",
            "endpoint": f"{azurite.endpoint} (AZURE_STORAGE_ENDPOINT)",
            "account": f"{ACCOUNT} (AZURE_STORAGE_ACCOUNT)",
            "credentials": "the account's key (AZURE_STORAGE_KEY)",
            "trusted": "no key: whoever may write tags and pins chooses what runs here (`cas trust add`)",
            "signer": "none: CAS_SIGNING_KEY or --sign-with names the key that signs moves of tags and pins",
        }
        assert found.diagnosis.exit_code == 0
        assert found.diagnosis.roles == ["reader", "publisher", "collector"]
        assert KEY[:8] not in str(found.diagnosis)

    def test_a_connection_string(
        self, azurite: Azurite, az_url: str, examined: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={azurite.endpoint};"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", given)
        shown = self.shown(examined(az_url))
        assert shown["credentials"] == "the account's key (AccountKey in AZURE_STORAGE_CONNECTION_STRING)"
        assert shown["account"] == f"{ACCOUNT} (AccountName in AZURE_STORAGE_CONNECTION_STRING)"
        assert shown["endpoint"] == f"{azurite.endpoint} (BlobEndpoint in AZURE_STORAGE_CONNECTION_STRING)"

    def test_a_sas_token_and_a_refusal(self, az_url: str, examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AZURE_STORAGE_KEY")
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2023-11-03&sp=r&sig=c2VjcmV0")
        found = examined(az_url)
        assert self.shown(found)["credentials"] == "a SAS token (AZURE_STORAGE_SAS_TOKEN)"
        assert found.diagnosis.exit_code == 6
        assert "c2VjcmV0" not in str(found.diagnosis)

    def test_no_key(self, az_url: str, examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_SKIP_SIGNATURE", "true")
        assert self.shown(examined(az_url))["credentials"].startswith("none, as AZURE_SKIP_SIGNATURE says")


@pytest.mark.parametrize(
    ("variable", "value", "credentials"),
    [
        ("GOOGLE_BEARER_TOKEN", "hidden-token", "a token (GOOGLE_BEARER_TOKEN)"),
        ("GOOGLE_SKIP_SIGNATURE", "1", "none, as GOOGLE_SKIP_SIGNATURE says: only what everybody may read can be read"),
    ],
)
def test_a_bucket_of_google_s_has_its_sources(
    odd: HabitServer,
    examined: Examine,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    credentials: str,
) -> None:
    monkeypatch.setenv("GOOGLE_BASE_URL", odd.url)
    monkeypatch.setenv(variable, value)
    found = examined("gs://bucket/cas", "reader")
    assert found["endpoint"].found == f"{odd.url} (GOOGLE_BASE_URL)"
    assert found["credentials"].found == credentials
    assert "hidden" not in str(found.diagnosis)


def test_a_login_of_a_web_server_has_its_source(
    directory_store: Store, examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow_store(directory_store, 0) as server:
        assert examined(server.url)["credentials"].found.startswith("none")
        monkeypatch.setenv("CAS_HTTP_HEADER", "Authorization: hidden")
        found = examined(server.url)
    assert found["credentials"].found == "a login (CAS_HTTP_HEADER)"
    assert "hidden" not in str(found.diagnosis)


def test_a_directory_has_no_settings_of_s3(tmp_path: Path, examined: Examine) -> None:
    found = examined(str(tmp_path))
    assert [one.name for one in found.diagnosis.findings if one.group == "settings"] == ["store", "trusted", "signer"]


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
