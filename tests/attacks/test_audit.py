"""`cas audit` tells of each attack, and an intruder cannot make it say less."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from cas.formats.digest import named
from cas.refs.entry import ENTRIES, new_entry
from cas.refs.reference import log_of, parse_reference
from cas.store import layout
from cas.store.store import open_store
from tests.attacks.acts import ACTS
from tests.attacks.shop import GOOD, Shop
from tests.support.in_process import call_cas
from tests.support.models import REPO, put_model, write_tree


def audited(*words: str) -> tuple[int, Any]:
    """Run `cas audit --json`; return its exit code and its document."""
    done = call_cas("--json", "audit", *words)
    return done.returncode, json.loads(done.stdout)


def test_every_attack_on_an_entry_shows_in_the_audit(shop: Shop) -> None:
    assert audited() == (0, audited()[1])
    for act in ACTS:
        if act.name in ("the log is deleted and begun anew", "an entry is appended"):
            act.do(shop.intruder(act.identity))
            code, found = audited()
            assert code == 8, act.name
            (problem,) = found["problems"]
            assert (problem["where"], problem["kind"]) == (act.ref, "unsigned")
            shop.reset()


def test_what_ran_unsigned_is_a_problem_however_many_refs_an_intruder_makes(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAS_STORE", str(tmp_path / "store"))
    put_model(open_store(), {REPO: GOOD})
    assert audited("m:latest")[0] == 0
    evil = "e" * 64
    receipt = tmp_path / "store" / layout.receipt_key("eu-prod", "2026-11-28T10:00:00Z", evil, "0" * 16)
    told = {"manifest": named(evil), "model": "m", "ok": True, "host": {"hostname": "h"}}
    write_tree(receipt.parent, {receipt.name: json.dumps(told).encode()})
    an_hour_ago = time.time() - 3600
    os.utime(receipt, (an_hour_ago, an_hour_ago))
    for entry in (b"", ENTRIES.encode(new_entry(evil, "release", None, None))):
        if entry:  # a log that looks as if its first entries had been trimmed
            write_tree(tmp_path / "store/refs/tags/m/zzz", {f"00000050-{'0' * 16}.json": entry})
        code, found = audited("m:latest")
        assert code == 8
        (problem,) = found["problems"]
        assert (problem["kind"], problem["where"]) == ("ran", "eu-prod")
        assert evil in problem["text"]


def test_a_log_that_is_gone_is_a_problem_where_it_has_a_floor(shop: Shop) -> None:
    log = log_of(open_store(), parse_reference("pin:us-prod/m"))
    for entry in shop.admin.list(log.ref.prefix):
        shop.admin.delete(entry.key)
    done = call_cas("--json", "audit", env={"CAS_FLOOR": "pin:us-prod/m=1"})
    assert done.returncode == 8, done.stderr
    (problem,) = json.loads(done.stdout)["problems"]
    assert (problem["where"], problem["kind"]) == ("pin:us-prod/m", "lost")
