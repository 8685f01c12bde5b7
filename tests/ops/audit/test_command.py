"""`cas audit` as a user calls it: its table, its lines, its document and its exit codes."""

from __future__ import annotations

import json
import subprocess

import pytest

from cas.store.store import Store
from tests.ops.audit.signed_store import PROD, SignedStore, signed_store
from tests.support.in_process import call_cas


@pytest.fixture
def signed(directory_store: Store) -> SignedStore:
    return signed_store(directory_store)


def cas_audit(signed: SignedStore, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    trusted = {"CAS_TRUSTED_KEYS": signed.key.public.line(), **env}
    return call_cas(
        "--store", signed.store.url, "audit", *words, env={name: key for name, key in trusted.items() if key}
    )


def test_all_is_well(signed: SignedStore) -> None:
    signed.receipt(signed.one)
    done = cas_audit(signed)
    assert done.returncode == 0, done.stderr
    header, pin, tag, _, _, run = done.stdout.splitlines()
    assert header.split() == ["REF", "ENTRY", "VERSION", "WHEN", "BY", "SIGNED", "BY", "REASON"]
    when = pin.split()[3]
    assert pin.split() == ["pin:eu-prod/m", "1", signed.one[:12], when, "ann", signed.key.public.id, "release"]
    assert tag.split()[:3] == ["m:latest", "2", signed.two[:12]]
    assert run.split()[:3] == ["eu-prod", f"m@{signed.one[:12]}", "1"]
    assert run.endswith(f"pin:eu-prod/m entry 1 of {when} by ann, {signed.key.public.id}")
    assert done.stderr == f"{signed.store.url}: 2 refs and 1 receipt, nothing is wrong\n"
    quiet = cas_audit(signed, "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    document = json.loads(cas_audit(signed, "--json").stdout)
    assert (document["ok"], document["problems"], document["receipts"]) == (True, [], 1)
    assert [ref["deployment"] for ref in document["refs"]] == ["eu-prod", None]
    assert document["refs"][0]["moves"][0]["key_id"] == signed.key.public.id


def test_something_is_wrong(signed: SignedStore) -> None:
    signed.intrude(PROD, signed.bad)
    signed.receipt(signed.bad)
    done = cas_audit(signed, CAS_FLOOR="pin:eu-prod/m=2")
    assert done.returncode == 8
    assert done.stderr == f"cas: 2 problems in {signed.store.url}: see above\n"
    lines = done.stdout.splitlines()
    assert lines[1].split()[5:] == ["unsigned", "mine", "now"]
    assert lines[4] == "floor    pin:eu-prod/m: 2, which forbids 1 move of its log"
    assert lines[5].startswith("problem  pin:eu-prod/m in ")
    assert lines[6].startswith(f"problem  receipts of eu-prod tell of m@{signed.bad[:12]} (because), at ")
    assert cas_audit(signed, "-q").stdout.splitlines() == lines[5:]
    failed = cas_audit(signed, "--json")
    assert failed.returncode == 8
    assert [problem["kind"] for problem in json.loads(failed.stdout)["problems"]] == ["unsigned", "ran"]
    assert failed.stderr == f"cas: 2 problems in {signed.store.url}: see `problems`\n"
    assert cas_audit(signed, "m").returncode == 8  # the receipt is of a version of m, too
    assert cas_audit(signed, "m", "--since", "0s").returncode == 0


def test_every_move_of_one_ref(signed: SignedStore) -> None:
    signed.intrude(PROD, signed.bad)
    signed.move(PROD, signed.one)
    done = cas_audit(signed, "pin:eu-prod/m", "--since", "0s")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[1:3] for row in rows[1:4]] == [["*", "3"], ["2", signed.bad[:12]], ["1", signed.one[:12]]]
    assert rows[5][:2] == ["note", "pin:eu-prod/m"]


def test_without_trusted_keys(signed: SignedStore) -> None:
    done = cas_audit(signed, CAS_TRUSTED_KEYS="")
    assert done.returncode == 8
    assert f"{signed.key.public.id} (not checked)" in done.stdout
    assert (
        "problem  no keys are trusted here, so that nothing was checked: name them with CAS_TRUSTED_KEYS" in done.stdout
    )


def test_calls_that_are_wrong(signed: SignedStore) -> None:
    assert cas_audit(signed, f"m@blake3:{signed.one}").returncode == 2
    assert cas_audit(signed, "m:none").returncode == 3
    assert cas_audit(signed, "--since", "soon").returncode == 2
