"""Receipts of restores where keys are trusted: which entry named the version, and whose signature it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cas.refs.reference import log_of, parse_reference
from cas.store.signing import canonical_name
from cas.store.store import Store, open_store
from tests.support.in_process import call_cas
from tests.support.keys import key, write_keys
from tests.support.models import REPO, put_model


def receipt(store: Store, cache: Path, *words: str, **env: str) -> dict[str, Any]:
    """Restore with a receipt, and return the receipt, which is removed."""
    variables = {"CAS_STORE": store.url, "HF_HUB_CACHE": str(cache), **env}
    done = call_cas("restore", *words, "--receipt", env=variables)
    assert done.returncode == 0, done.stderr
    (path,) = Path(store.url).glob("receipts/*/*/*.json")
    found: dict[str, Any] = json.loads(path.read_bytes())
    path.unlink()
    return found


def test_a_receipt_says_which_signed_entry_named_the_version(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.signer = key()
    put_model(store, {REPO: {"a.bin": b"one"}})
    put_model(store, {REPO: {"a.bin": b"two"}})
    digest = log_of(store, parse_reference("m")).current_digest()
    log_of(store, parse_reference("pin:eu/m")).append(digest, "test")
    trusts = {"CAS_TRUSTED_KEYS": write_keys(tmp_path, "release", key())[1]}
    entry = {"ref": "m:latest", "number": 2, "key": key().public.id, "store": canonical_name(store.url)}
    assert receipt(store, tmp_path / "hub", "m", **trusts)["signed"] == entry
    pinned = receipt(store, tmp_path / "hub", CAS_DEPLOYMENT="eu", **trusts)
    assert pinned["signed"] == {**entry, "ref": "pin:eu/m", "number": 1}
    assert pinned["reason"] == "pin of deployment eu"
    assert "signed" not in receipt(store, tmp_path / "hub", f"m@blake3:{digest}", **trusts), "no ref was read"
    assert "signed" not in receipt(store, tmp_path / "hub", "m"), "nothing was verified"
