"""`cas doctor` as a user calls it: a line for each check, one document, the exit code of the worst finding."""

from __future__ import annotations

import json
import re
from pathlib import Path

from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.terminals import cas_on_terminal

OFFLINE = {"HF_HUB_OFFLINE": "1"}


def test_a_line_for_each_check_and_a_summary(directory_store: Store) -> None:
    directory_store.create()
    done = call_cas("doctor", "--store", directory_store.url, env=OFFLINE)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")][:-1] == ["settings", "store", "machine"]
    assert "  ok       format       a store, version 1" in lines
    assert " ok" in lines[-1]
    assert len(lines) < 40


def test_a_narrow_terminal_breaks_lines_between_words_and_never_within_a_command(directory_store: Store) -> None:
    directory_store.create()
    shown = cas_on_terminal("doctor", "--store", directory_store.url, columns=60, env=OFFLINE)
    beside = "\n" + " " * 24
    text = "\n".join(shown.lines)
    assert f"no key: whoever may write tags and{beside}pins chooses what runs here{beside}(`cas trust add`)\n" in text
    assert re.search(r"this\skey\shas\swhat\sthese\sroles\sneed:\s[a-z,\s]+$", text), text


def test_advice_stands_below_and_quiet_shows_troubles_only(tmp_path: Path) -> None:
    done = call_cas("doctor", "--store", str(tmp_path), "--role", "reader", "-q", env=OFFLINE)
    assert done.returncode == 3
    shown = done.stdout.splitlines()
    assert shown[0] == "store"
    assert all(line.startswith(("  warning", "  failed", "   ")) for line in shown[1:])
    (below,) = [
        shown[at + 1] for at, line in enumerate(shown) if "more than a reader needs" in line and " write " in line
    ]
    assert below.strip().startswith("-> ")


def test_json_is_one_document_with_every_finding(tmp_path: Path) -> None:
    done = call_cas("doctor", "--store", str(tmp_path / "none"), "--role", "reader", "--json", env=OFFLINE)
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (3, "")
    assert document["exit_code"] == 3
    assert (document["role"], document["provider"]) == ("reader", "directory")
    by_name = {finding["name"]: finding for finding in document["findings"]}
    assert set(by_name["format"]) == {"group", "name", "status", "found", "advice", "code"}
    assert (by_name["format"]["status"], by_name["format"]["code"]) == ("failed", 3)


def test_a_store_that_cannot_be_meant_is_a_finding(tmp_path: Path) -> None:
    done = call_cas("doctor", "--store", "ftp://host/path", env=OFFLINE)
    assert (done.returncode, done.stderr) == (2, "")
    assert "  failed   store" in done.stdout
    assert "  ok       cache" in done.stdout
