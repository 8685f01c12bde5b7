"""`cas info`: each setting with its source, and no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import run_cas

SECRETS = {
    "AWS_ACCESS_KEY_ID": "geheim1",
    "AWS_SECRET_ACCESS_KEY": "geheim2",
    "AWS_SESSION_TOKEN": "geheim3",
    "HF_TOKEN": "geheim4",
    "HTTPS_PROXY": "http://user:geheim5@proxy:1",
    "HF_ENDPOINT": "https://user:geheim6@hub.example",
    "CAS_READ_URL": "https://user:geheim7@cdn.example/?token=geheim8",
}


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, Any]:
    """The settings of an S3 store that a variable names, beside a profile; by name."""
    (tmp_path / "config").write_text("[default]\nregion = fr-par\nendpoint_url = https://s3.fr-par.example\n")
    environ = {**SECRETS, "S3_BUCKET": " b\n", "AWS_CONFIG_FILE": str(tmp_path / "config")}
    done = run_cas("info", "--json", env=environ)
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
    assert found["lease"] == ("600 s", "default")
    assert all(row["decides"] for row in rows.values())


def test_a_table_for_people(tmp_path: Path) -> None:
    done = run_cas("info", "--store", str(tmp_path), env=SECRETS)
    assert done.returncode == 0, done.stderr
    assert "geheim" not in done.stdout
    assert f"store       {tmp_path}" in done.stdout
    assert "HF_TOKEN" in done.stdout


def test_a_bad_setting_hides_no_other() -> None:
    done = run_cas("info", env={"CAS_STORE": "s3://b/x", "CAS_LEASE_SECONDS": "soon", "AWS_REQUEST_PAYER": "maybe"})
    assert done.returncode == 2
    assert "AWS_REQUEST_PAYER is 'maybe'" in done.stderr
    assert "CAS_LEASE_SECONDS is 'soon'" in done.stdout
    assert "hub cache" in done.stdout
