"""`cas info`: each setting with its source, and no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_process import call_cas
from tests.support.keys import key
from tests.support.terminals import cas_on_terminal

SECRETS = {
    "AWS_ACCESS_KEY_ID": "geheim1",
    "AWS_SECRET_ACCESS_KEY": "geheim2",
    "AWS_SESSION_TOKEN": "geheim3",
    "HF_TOKEN": "geheim4",
    "HTTPS_PROXY": "http://user:geheim5@proxy:1",
    "HF_ENDPOINT": "https://user:geheim6@hub.example",
    "CAS_HTTP_HEADER": "Authorization: geheim7",
    "CAS_SIGNING_KEY": "geheim8",
    "CAS_SIGNING_PASSPHRASE": "geheim9",
    "CAS_TRUSTED_KEYS": key(1).public.line(),
    "CAS_STORE_NAME": "s3://b/prod",
}


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, Any]:
    """The settings of an S3 store that a variable names, beside a profile; by name."""
    (tmp_path / "config").write_text("[default]\nregion = fr-par\nendpoint_url = https://s3.fr-par.example\n")
    environ = {**SECRETS, "S3_BUCKET": " b\n", "AWS_CONFIG_FILE": str(tmp_path / "config")}
    done = call_cas("info", "--json", env=environ)
    assert done.returncode == 0, done.stderr
    assert "geheim" not in done.stdout + done.stderr
    document = json.loads(done.stdout)
    listed = {row["name"]: row["value"] for row in document["variables"]}
    assert listed["S3_BUCKET"] == "b"
    assert listed["AWS_SECRET_ACCESS_KEY"] == "(hidden)"
    return {row["name"]: row for row in document["settings"]}


def test_each_setting_has_its_source(rows: dict[str, Any], tmp_path: Path) -> None:
    found = {name: (row["value"], row["source"]) for name, row in rows.items()}
    of_profile = f"of profile default in {tmp_path}/config"
    assert found["store"] == ("s3://b/cas", "S3_BUCKET")
    assert found["endpoint"] == ("https://s3.fr-par.example", f"endpoint_url {of_profile}")
    assert found["region"] == ("fr-par", f"region {of_profile}")
    assert found["addressing"] == ("path", "default for an endpoint")
    assert found["key"] == ("(hidden)", "AWS_ACCESS_KEY_ID")
    assert found["hub"] == ("https://hub.example", "HF_ENDPOINT")
    assert found["trusted"] == (key(1).public.id, "CAS_TRUSTED_KEYS")
    assert found["signer"] == ("(hidden)", "CAS_SIGNING_KEY")
    assert found["store name"] == ("s3://b/prod", "CAS_STORE_NAME")
    assert found["lease"] == ("600 s", "default")
    assert all(row["decides"] for row in rows.values())


def test_values_are_whole_on_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, home = "/data/a-store-with-a-name-that-is-long", "/data/what-the-hub-client-keeps"
    for name in ("HF_HUB_CACHE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    shown = cas_on_terminal("info", columns=80, env={"CAS_STORE": store, "HF_HOME": home})
    assert not shown.wrapped and {store, home} <= set(shown.raw.split()), shown.raw
    assert "left out: DECIDES (see --no-trunc)" in shown.raw


def test_a_table_for_people(tmp_path: Path) -> None:
    done = call_cas("info", "--store", str(tmp_path), env=SECRETS)
    assert done.returncode == 0, done.stderr
    assert "geheim" not in done.stdout
    assert f"store        {tmp_path}" in done.stdout
    assert "HF_TOKEN" in done.stdout


def test_a_bad_setting_hides_no_other() -> None:
    done = call_cas("info", env={"CAS_STORE": "s3://b/x", "CAS_LEASE_SECONDS": "soon", "AWS_REQUEST_PAYER": "maybe"})
    assert done.returncode == 2
    assert "AWS_REQUEST_PAYER is 'maybe'" in done.stderr
    assert "CAS_LEASE_SECONDS is 'soon'" in done.stdout
    assert "hub cache" in done.stdout


def _rows(*arguments: str, **environ: str) -> dict[str, tuple[str, str]]:
    """Value and source of each setting, by name."""
    done = call_cas("info", "--json", *arguments, env=environ)
    assert done.returncode == 0, done.stderr
    assert "geheim" not in done.stdout + done.stderr
    return {row["name"]: (row["value"], row["source"]) for row in json.loads(done.stdout)["settings"]}


def test_a_container_of_azure_s() -> None:
    found = _rows(
        "--store",
        "az://models/cas",
        AZURE_STORAGE_ACCOUNT="acme1",
        AZURE_STORAGE_SAS_TOKEN="geheim",
        CAS_READ_URL=" https://cdn.example.com/cas/ ",
    )
    assert found["account"] == ("acme1", "AZURE_STORAGE_ACCOUNT")
    assert found["endpoint"] == ("https://acme1.blob.core.windows.net", "the account")
    assert found["key"] == ("", "")
    assert found["token"] == ("(hidden)", "AZURE_STORAGE_SAS_TOKEN")
    assert found["cdn"] == ("https://cdn.example.com/cas", "CAS_READ_URL")


def test_a_bucket_of_google_s(tmp_path: Path) -> None:
    account = tmp_path / "account.json"
    account.write_text('{"type": "service_account", "private_key": "geheim"}')
    found = _rows("--store", "gs://models/cas", GOOGLE_APPLICATION_CREDENTIALS=str(account))
    assert found["endpoint"] == ("https://storage.googleapis.com", "default")
    assert found["key"] == (f"the key of a service account in {account}", "GOOGLE_APPLICATION_CREDENTIALS")
    assert found["cdn"] == ("", "")


def test_a_web_server(tmp_path: Path) -> None:
    given = {"CAS_HTTP_HEADER": "Authorization: geheim", "CAS_READ_URL": "nothing that counts here"}
    found = _rows("--store", "https://models.example.com/cas", **given)
    assert found["login"] == ("(hidden)", "CAS_HTTP_HEADER")
    assert found["cdn"] == ("", "CAS_READ_URL")


@pytest.mark.parametrize("url", ["https://user:geheim@cdn.example/?token=geheim", "cdn.example/cas"])
def test_a_cache_that_cannot_be_read_through(url: str) -> None:
    done = call_cas("info", env={"S3_BUCKET": "b", "AWS_REGION": "eu-west-1", "CAS_READ_URL": url})
    assert done.returncode == 2
    assert done.stderr.strip().startswith("cas: CAS_READ_URL")
    assert "geheim" not in done.stdout + done.stderr
    assert "hub cache" in done.stdout
