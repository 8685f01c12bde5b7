"""`cas doctor` says whose signatures count, what signs and under which name, and whether that works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.signed_stores import KEY, OTHER, key_files, move, trusting
from tests.support.transfer import filled

OFFLINE = {"HF_HUB_OFFLINE": "1"}


def examined(store: Store, **variables: str) -> tuple[dict[str, Any], int]:
    """The findings by name, and the exit code."""
    done = call_cas("doctor", "--json", "--store", store.url, env={**OFFLINE, **variables})
    document = json.loads(done.stdout)
    assert KEY.text().splitlines()[1] not in done.stdout + done.stderr, "no secret is shown"
    return {one["name"]: one for one in document["findings"]}, done.returncode


def test_nothing_is_configured(directory_store: Store) -> None:
    filled(directory_store)
    found, code = examined(directory_store)
    assert (found["trusted"]["status"], found["signer"]["status"], code) == ("skipped", "skipped", 0)
    assert not {"signed as", "signatures"} & found.keys()


def test_keys_and_a_signer_that_work(directory_store: Store, tmp_path: Path) -> None:
    move(trusting(directory_store), filled(directory_store))
    variables = {**key_files(tmp_path), "CAS_FLOOR": "m:latest=2"}
    found, code = examined(directory_store, **variables)
    assert code == 0
    assert found["trusted"]["found"] == (f"{KEY.public.id} (ann) of {tmp_path}/ann.pub, floor m:latest 2 of CAS_FLOOR")
    assert found["signer"]["found"] == f"key {KEY.public.id} (CAS_SIGNING_KEY), whose signatures verify"
    assert found["signed as"]["found"] == Path(directory_store.url).resolve().as_uri()
    assert found["signatures"]["found"] == "1 tags and pins, each signed by a trusted key"
    found, code = examined(directory_store, **variables, CAS_STORE_NAME="s3://bucket/prod")
    assert found["signed as"]["found"] == "s3://bucket/prod (CAS_STORE_NAME)"
    assert found["signatures"]["found"].endswith("do not count here: m:latest (misplaced)")
    assert (found["signatures"]["status"], code) == ("warning", 0)


def test_a_signer_that_is_not_trusted(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    trusted = key_files(tmp_path, OTHER, "bob")["CAS_TRUSTED_KEYS"]
    found, code = examined(directory_store, **{**key_files(tmp_path), "CAS_TRUSTED_KEYS": trusted})
    assert (found["signer"]["status"], found["signer"]["code"], code) == ("failed", 8, 8)
    assert KEY.public.id in found["signer"]["found"]


def test_a_key_that_cannot_be_read(directory_store: Store, tmp_path: Path) -> None:
    filled(directory_store)
    found, code = examined(directory_store, CAS_SIGNING_KEY=str(tmp_path / "none.key"))
    assert (found["signer"]["status"], code) == ("failed", 2)
    found, code = examined(directory_store, CAS_TRUSTED_KEYS=str(tmp_path / "none.pub"))
    assert (found["trusted"]["status"], "store" in found, code) == ("failed", False, 2)
