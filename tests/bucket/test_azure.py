"""Azure Blob Storage: the variables that open a container, what refusals mean, a model that goes there and back."""

from __future__ import annotations

import datetime
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import obstore
import pytest
from obstore.store import AzureStore

import cas
from cas.bucket import Bucket, Kind, open_bucket
from cas.bucket.errors.clouds import cloud_refusal
from cas.bucket.errors.refusals import Answer
from cas.errors import (
    AccessDenied,
    BucketMissing,
    CasError,
    InputError,
    ObjectMissing,
    StoreError,
    Transient,
    Unsupported,
)
from tests.bucket.recording import Environment
from tests.support.buckets import HURRIED
from tests.support.faults import FILES
from tests.support.in_process import call_cas
from tests.support.models import check, publish_tree, write_tree
from tools.servers.azurite import ACCOUNT, KEY, Azurite

_NAMES = ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ENDPOINT")


def _only(monkeypatch: Environment, **variables: str) -> None:
    """Set these of Azure's variables, and no others."""
    for name in _NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def _sas(azurite: Azurite, container: str, key: str) -> str:
    """A shared access signature, which lets its owner read one blob."""
    options = {"account_name": ACCOUNT, "account_key": KEY, "endpoint": azurite.endpoint}
    client = AzureStore(container, client_options={"allow_http": True}, **options)  # type: ignore[arg-type]
    return obstore.sign(client, "GET", key, datetime.timedelta(minutes=1)).partition("?")[2]


def _operations(bucket: Bucket) -> dict[str, Callable[[], object]]:
    return {
        "get": lambda: bucket.get("key", 9),
        "head": lambda: bucket.head("key"),
        "list": lambda: bucket.list("folder"),
        "create": lambda: bucket.put("key", b"", Kind.CHUNK),
        "put": lambda: bucket.put("key", b"", Kind.CHUNK, overwrite=True),
        "delete": lambda: bucket.delete("key"),
    }


def test_a_model_goes_there_and_back(az_url: str, tmp_path: Path) -> None:
    publish_tree(az_url, write_tree(tmp_path / "source", FILES))
    check(cas.restore("m", store=az_url, cache_dir=tmp_path / "hub"), FILES)
    for command in ("fsck", "gc"):
        ran = call_cas("--store", az_url, command)
        assert ran.returncode == 0, ran.stderr


def test_chunks_are_read_by_signed_urls_straight_into_memory(az_url: str) -> None:
    bucket = open_bucket(az_url, HURRIED)
    bucket.put("folder/key", b"data", Kind.CHUNK)
    into = memoryview(bytearray(8))
    assert bucket.get_into("folder/key", into) == 4
    with urllib.request.urlopen(bucket.signed_url("folder/key", 60)) as answer:
        assert answer.read() == bytes(into[:4]) == b"data"
        assert answer.headers["Content-Type"] == "application/zstd"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable, no-transform"


class TestVariables:
    """The variables of Azure's own tools."""

    @pytest.mark.parametrize(
        "variables",
        [
            {
                "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": f" {KEY}\n",
                "AZURE_STORAGE_ENDPOINT": "{}",
            },
            {"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true;BlobEndpoint={}"},
            {"AZURE_STORAGE_CONNECTION_STRING": f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={{}};"},
            # What the client would read itself does not count beside what was chosen.
            {
                "AZURE_STORAGE_CONNECTION_STRING": f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={{}};",
                "AZURE_STORAGE_ACCOUNT": "another",
                "AZURE_STORAGE_KEY": "YW5vdGhlcg==",
                "AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=2",
                "AZURE_STORAGE_TOKEN": "another",
                "AZURE_CONTAINER_NAME": "another",
                "AZURE_STORAGE_USE_EMULATOR": "true",
                "AZURE_SKIP_SIGNATURE": "",
                "AZURE_CREDENTIAL_TYPE": "azure_cli",
                "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:9",
            },
        ],
    )
    def test_an_account_and_its_key(
        self, azurite: Azurite, az_url: str, monkeypatch: Environment, variables: dict[str, str]
    ) -> None:
        _only(monkeypatch, **{name: value.format(azurite.endpoint) for name, value in variables.items()})
        bucket = open_bucket(az_url, HURRIED)
        assert bucket.put("key", b"data", Kind.CHUNK)
        assert bytes(bucket.get("key", 4)) == b"data"

    @pytest.mark.parametrize("how", ["variable", "variable with a question mark", "connection string"])
    def test_a_sas_token_reads_and_signs_nothing(
        self, azurite: Azurite, az_url: str, monkeypatch: Environment, how: str
    ) -> None:
        open_bucket(az_url, HURRIED).put("key", b"data", Kind.CHUNK)
        token = _sas(azurite, az_url.split("/")[2], "cas/key")
        if how == "connection string":
            given = f"BlobEndpoint={azurite.endpoint};AccountName={ACCOUNT};SharedAccessSignature={token}"
            # What the client would read itself does not count.
            _only(monkeypatch, AZURE_STORAGE_CONNECTION_STRING=given, AZURE_STORAGE_TOKEN="x", AZURE_STORAGE_KEY=KEY)
        else:
            mark = "?" if "mark" in how else ""
            monkeypatch.delenv("AZURE_STORAGE_KEY")
            monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", mark + token)
        bucket = open_bucket(az_url, HURRIED)
        into = memoryview(bytearray(8))
        assert bytes(bucket.get("key", 4)) == bytes(into[: bucket.get_into("key", into)]) == b"data"
        with pytest.raises(Unsupported, match=r"sign a URL of key in az://.*AZURE_STORAGE_KEY"):
            bucket.signed_url("key", 60)
        with pytest.raises(AccessDenied, match=r"a SAS token lacks Create \(SAS c") as error:
            bucket.put("other", b"", Kind.CHUNK)
        assert "sig=" not in str(error.value)

    def test_a_public_container_needs_no_key(self, azurite: Azurite, az_url: str, monkeypatch: Environment) -> None:
        container = az_url.split("/")[2] + "-open"
        azurite.create_container(container, public=True)
        url = f"az://{container}/cas"
        open_bucket(url, HURRIED).put("key", b"data", Kind.CHUNK)
        _only(
            monkeypatch,
            AZURE_STORAGE_ACCOUNT=ACCOUNT,
            AZURE_STORAGE_ENDPOINT=azurite.endpoint,
            AZURE_SKIP_SIGNATURE="True",
        )
        bucket = open_bucket(url, HURRIED)
        into = memoryview(bytearray(8))
        assert bytes(bucket.get("key", 4)) == bytes(into[: bucket.get_into("key", into)]) == b"data"
        assert [entry.key for entry in bucket.list("")] == ["key"]
        assert bucket.signed_url("key", 60) == f"{azurite.endpoint}/{container}/cas/key"
        for refused in ("create", "put", "delete"):
            with pytest.raises(AccessDenied, match=f"^{refused} key in"):
                _operations(bucket)[refused]()

    def test_the_endpoint_follows_from_the_account(self, monkeypatch: Environment) -> None:
        for given, endpoint in (
            ({"AZURE_STORAGE_ACCOUNT": "acme1", "AZURE_STORAGE_KEY": KEY}, "https://acme1.blob.core.windows.net"),
            (
                {
                    "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=acme1;"
                    f"AccountKey={KEY};EndpointSuffix=core.chinacloudapi.cn"
                },
                "https://acme1.blob.core.chinacloudapi.cn",
            ),
            (
                {"AZURE_STORAGE_ENDPOINT": "https://acme1.blob.core.windows.net/", "AZURE_STORAGE_KEY": KEY},
                "https://acme1.",
            ),
        ):
            with monkeypatch.context() as patched:
                _only(patched, **given)
                assert open_bucket("az://con/cas").signed_url("key", 60).startswith(f"{endpoint}")

    @pytest.mark.parametrize(
        ("variables", "error", "told"),
        [
            ({}, AccessDenied, "no Azure storage account, as az:// names the container alone: set AZURE_STORAGE_CONN"),
            (
                {"AZURE_STORAGE_ACCOUNT": "acme1"},
                AccessDenied,
                "no credential for the Azure storage account acme1: set AZ",
            ),
            (
                {"AZURE_STORAGE_ACCOUNT": "Acme_1"},
                InputError,
                "AZURE_STORAGE_ACCOUNT: no storage account is called 'Acme",
            ),
            ({"AZURE_STORAGE_CONNECTION_STRING": "secret"}, InputError, "a field has no value"),
            ({"AZURE_STORAGE_ENDPOINT": "acme1.example.com"}, InputError, "AZURE_STORAGE_ENDPOINT: write https://"),
            (
                {"AZURE_STORAGE_ENDPOINT": "https://a.example.com?secret"},
                InputError,
                "write no user, password or query",
            ),
            ({"AZURE_STORAGE_ACCOUNT": "acme1", "AZURE_SKIP_SIGNATURE": "perhaps"}, InputError, "write true or false"),
            ({"AZURE_STORAGE_ACCOUNT": "acme1", "AZURE_STORAGE_KEY": "se cret"}, InputError, "check AZURE_STORAGE_KEY"),
        ],
    )
    def test_what_is_missing_or_wrong_is_named(
        self, monkeypatch: Environment, variables: dict[str, str], error: type[CasError], told: str
    ) -> None:
        monkeypatch.setenv("AWS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
        _only(monkeypatch, **variables)
        with pytest.raises(error, match=re.escape(told)) as raised:
            open_bucket("az://con/cas").get("key", 1)
        assert "secret" not in str(raised.value)

    @pytest.mark.parametrize("name", ["ab", "Con", "a--b", "-ab", "a_b", "a" * 64])
    def test_names_that_no_container_has(self, name: str) -> None:
        with pytest.raises(InputError, match="no container has this name"):
            open_bucket(f"az://{name}/cas")


class TestRefusals:
    """What the server's refusals mean."""

    def test_a_missing_container_is_no_missing_blob(self, az_url: str) -> None:
        for operation in _operations(open_bucket("az://no-such/cas", HURRIED)).values():
            with pytest.raises(BucketMissing, match=r"no-such.*check the name"):
                operation()

    def test_a_wrong_key(self, az_url: str, monkeypatch: Environment) -> None:
        monkeypatch.setenv("AZURE_STORAGE_KEY", "d3Jvbmc=")
        for name, operation in _operations(open_bucket(az_url, HURRIED)).items():
            with pytest.raises(AccessDenied, match=f"^({name}|get) (key|folder) in .*the key is wrong"):
                operation()

    def test_another_account_is_no_missing_blob(self, az_url: str, azurite: Azurite, monkeypatch: Environment) -> None:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "another")
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", azurite.endpoint.replace(ACCOUNT, "another"))
        bucket = open_bucket(az_url, HURRIED)
        for operation in (lambda: bucket.get("key", 1), lambda: bucket.head("key"), lambda: bucket.list("")):
            with pytest.raises(AccessDenied, match="the account is another"):
                operation()

    @pytest.mark.parametrize(
        ("status", "code", "error", "told"),
        [
            (403, "AuthenticationFailed", AccessDenied, "and this machine's clock"),
            (409, "PublicAccessNotPermitted", AccessDenied, "the container is not public"),
            (403, "AuthorizationPermissionMismatch", AccessDenied, "a SAS token lacks Read (SAS r"),
            (409, "BlobArchived", StoreError, "archive tier"),
            (409, "BlobImmutableDueToPolicy", AccessDenied, "immutability policy"),
            (412, "LeaseIdMissing", AccessDenied, "another program's lease"),
            (400, "InvalidResourceName", StoreError, "no container or blob can have this name"),
            (409, "ContainerBeingDeleted", Transient, "ContainerBeingDeleted"),
        ],
    )
    def test_codes_that_the_emulator_does_not_send(
        self, status: int, code: str, error: type[StoreError], told: str
    ) -> None:
        answer = Answer(status, code, "In words.\nRequestId:1")
        found = cloud_refusal("az", answer, "", "get key in az://con", "az://con", "get")
        assert type(found) is error
        assert told in str(found) and f"{status} {code} In words." in str(found) and "RequestId" not in str(found)

    def test_other_answers_mean_what_they_mean_in_s3(self) -> None:
        for status in (404, 416, 429, 503):
            assert cloud_refusal("az", Answer(status, "", ""), "", "get key", "az://con", "get") is None

    def test_an_absent_blob(self, az_url: str) -> None:
        bucket = open_bucket(az_url, HURRIED)
        with pytest.raises(ObjectMissing):
            bucket.head("none")
        bucket.delete("none")
