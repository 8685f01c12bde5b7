"""Google Cloud Storage: what the client is given and sends, against a look-alike; Google itself was never asked."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import cas
from cas.bucket import Kind, open_bucket
from cas.bucket.errors.clouds import cloud_refusal
from cas.bucket.errors.refusals import Answer
from cas.errors import AccessDenied, CasError, InputError, ObjectMissing, Unsupported
from tests.bucket.recording import Environment
from tests.support.buckets import HURRIED
from tests.support.faults import FILES
from tests.support.models import check, publish_tree, write_tree
from tools.servers.habits import Habits, HabitServer


@pytest.fixture(scope="module")
def private_key(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A private key (PEM) as a service account has one."""
    command = ["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def account(private_key: str, tmp_path: Path) -> Path:
    """The file of a service account's key. It signs its own tokens, so no request for one is made."""
    path = tmp_path / "account.json"
    fields = {"type": "service_account", "client_email": "cas@example.com", "private_key_id": "1"}
    path.write_text(json.dumps(fields | {"private_key": private_key}))
    return path


@pytest.fixture
def server(monkeypatch: Environment) -> Iterator[HabitServer]:
    """A look-alike, to which the client is pointed."""
    with HabitServer(Habits()) as server:
        monkeypatch.setenv("GOOGLE_BASE_URL", server.url)
        yield server


@pytest.fixture
def gs_url(server: HabitServer, account: Path, monkeypatch: Environment) -> str:
    """URL of a store in the look-alike, with a key."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", f" {account}\n")
    return "gs://bucket/cas"


def test_a_model_goes_there_and_back(gs_url: str, tmp_path: Path) -> None:
    publish_tree(gs_url, write_tree(tmp_path / "source", FILES))
    check(cas.restore("m", store=gs_url, cache_dir=tmp_path / "hub"), FILES)


def test_writes_are_conditional_and_carry_headers(server: HabitServer, gs_url: str) -> None:
    bucket = open_bucket(gs_url, HURRIED)
    assert bucket.put("key", b"data", Kind.CHUNK) is True
    sent = server.requests[-1]
    assert (sent.method, sent.key, sent.headers["x-goog-if-generation-match"]) == ("PUT", "cas/key", "0")
    assert sent.headers["content-type"] == "application/zstd"
    assert sent.headers["cache-control"] == "public, max-age=31536000, immutable, no-transform"
    assert sent.headers["authorization"].startswith("Bearer ")
    assert bucket.put("key", b"other", Kind.CHUNK) is False
    assert bucket.put("key", b"other", Kind.CHUNK, overwrite=True) is True
    assert bytes(bucket.get("key", 5)) == b"other"
    bucket.delete("key")
    bucket.delete("key")
    with pytest.raises(ObjectMissing):
        bucket.head("key")
    assert bucket.list("") == []


class TestCredentials:
    """The variables of Google's own tools."""

    @pytest.mark.parametrize(
        "name", ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY"]
    )
    def test_a_service_account_signs_urls(
        self, server: HabitServer, account: Path, monkeypatch: Environment, name: str
    ) -> None:
        monkeypatch.setenv(name, account.read_text() if name.endswith("KEY") else str(account))
        url = open_bucket("gs://bucket/cas", HURRIED).signed_url("a/key", 60)
        assert url.startswith(f"{server.url}/bucket/cas/a/key?X-Goog-Algorithm=GOOG4-RSA-SHA256&")
        assert server.requests == []

    def test_a_token(self, server: HabitServer, monkeypatch: Environment) -> None:
        monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "the-token\n")
        for name in ("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS"):
            monkeypatch.setenv(name, " ")  # as good as not set
        bucket = open_bucket("gs://bucket/cas", HURRIED)
        bucket.put("key", b"data", Kind.CHUNK)
        into = memoryview(bytearray(8))
        assert bytes(into[: bucket.get_into("key", into)]) == b"data"
        assert {seen.headers["authorization"] for seen in server.requests} == {"Bearer the-token"}
        with pytest.raises(Unsupported, match="only the key of a service account can"):
            bucket.signed_url("key", 60)

    def test_a_public_bucket(self, server: HabitServer, gs_url: str, monkeypatch: Environment) -> None:
        open_bucket(gs_url, HURRIED).put("key", b"data", Kind.CHUNK)
        server.requests.clear()
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
        monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "1")
        bucket = open_bucket(gs_url, HURRIED)
        into = memoryview(bytearray(8))
        assert bytes(bucket.get("key", 4)) == bytes(into[: bucket.get_into("key", into)]) == b"data"
        assert bucket.signed_url("key", 60) == f"{server.url}/bucket/cas/key"
        for change in (lambda: bucket.put("key", b"", Kind.CHUNK), lambda: bucket.delete("key")):
            with pytest.raises(AccessDenied, match="requests without a key change nothing"):
                change()
        assert not any("authorization" in seen.headers for seen in server.requests)

    @pytest.mark.parametrize(
        ("variables", "error", "told"),
        [
            ({}, AccessDenied, "no credential for Google Cloud Storage: set GOOGLE_SERVICE_ACCOUNT"),
            (
                {"GOOGLE_SERVICE_ACCOUNT": "/none.json"},
                InputError,
                "GOOGLE_SERVICE_ACCOUNT /none.json cannot be read: No",
            ),
            ({"GOOGLE_APPLICATION_CREDENTIALS": __file__}, InputError, "is no credential file of Google's"),
            (
                {"GOOGLE_BEARER_TOKEN": "secret", "GOOGLE_SERVICE_ACCOUNT": "x"},
                InputError,
                "SERVICE_ACCOUNT is set beside",
            ),
            (
                {"GOOGLE_SKIP_SIGNATURE": "1", "GOOGLE_APPLICATION_CREDENTIALS": "x"},
                InputError,
                "CREDENTIALS is set beside",
            ),
            ({"GOOGLE_SERVICE_ACCOUNT_KEY": "secret"}, InputError, "check GOOGLE_SERVICE_ACCOUNT_KEY"),
            ({"GOOGLE_SKIP_SIGNATURE": "perhaps"}, InputError, "write true or false"),
            ({"GOOGLE_SKIP_SIGNATURE": "true", "GOOGLE_BASE_URL": "host"}, InputError, "GOOGLE_BASE_URL: write https"),
        ],
    )
    def test_what_is_missing_or_wrong_is_named(
        self, monkeypatch: Environment, variables: dict[str, str], error: type[CasError], told: str
    ) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(error, match=re.escape(told)) as raised:
            open_bucket("gs://bucket/cas").get("key", 1)
        assert "secret" not in str(raised.value)

    @pytest.mark.parametrize("name", ["ab", "Bucket", "-ab", "a b"])
    def test_names_that_no_bucket_has(self, name: str) -> None:
        with pytest.raises(InputError, match=r"no bucket( has this|'s) name"):
            open_bucket(f"gs://{name}/cas")


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "AccessDenied", "the credential needs the permission storage.objects.get"),
        (401, "AuthenticationRequired", "check the credential file that GOOGLE_SERVICE_ACCOUNT"),
        (400, "UserProjectMissing", "the requester pay"),
        (403, "RetentionPolicyNotMet", "a retention policy or hold"),
    ],
)
def test_refusals_name_google_s_settings(status: int, code: str, told: str) -> None:
    found = cloud_refusal("gs", Answer(status, code, ""), "", "get key in gs://b", "gs://b", "get")
    assert isinstance(found, AccessDenied) and told in str(found)


def test_no_token(tmp_path: Path) -> None:
    text = "Error performing token request: … status code: 400 Bad Request"
    found = cloud_refusal("gs", Answer(400, "", ""), text, "get key in gs://b", "gs://b", "get")
    assert isinstance(found, AccessDenied) and "Google gave no token (400)" in str(found)
