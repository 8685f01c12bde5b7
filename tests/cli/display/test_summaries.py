"""What an operation says when it ends: where bytes came from, how fast; with -v its phases; and progress as JSON."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from cas import events
from cas.cli.display.json_lines import ProgressLine, TextLine
from cas.cli.display.progress import Reporter
from cas.formats.digest import short
from tests.cli.conftest import Shop
from tests.support.terminals import cas_on_terminal

SECONDS = r"\d+\.\d+ s"


def test_restore_says_what_was_downloaded_how_fast_and_how_long(shop: Shop) -> None:
    line = shop.cas("restore", "m").stderr
    assert re.fullmatch(rf"m:latest  5\.0 kB \(\d+ B downloaded, [\d.]+ k?M?B/s\) in {SECONDS}\n", line)
    again = shop.cas("restore", "m").stderr
    assert re.fullmatch(rf"m:latest  5\.0 kB, all of it was here, verified before \({SECONDS}\)\n", again)
    exact = shop.cas("restore", shop.v1).stderr
    assert f"\n{short(shop.v1)}  5.0 kB (" in exact


def test_a_summary_names_a_version_by_12_digits(shop: Shop, tmp_path: Path) -> None:
    shop.cas("restore", "m")
    for words in (("verify", "m"), ("lock", "m", "-o", str(tmp_path / "m.json"))):
        assert not re.search("[0-9a-f]{13}", shop.cas(*words).stderr)
        assert re.search("m@blake3:[0-9a-f]{64}", shop.cas(*words, "--no-trunc").stderr)


def test_the_store_stands_before_the_result_also_on_a_terminal(shop: Shop) -> None:
    calls = (("pin", "eu", "m"), ("tag", "m", "mine"), ("untag", "m:mine"), ("rollback", "m:mine"), ("unpin", "eu"))
    for words in (*calls, ("gc",)):
        lines = cas_on_terminal(*words, columns=200, env={"CAS_STORE": shop.url}).lines
        assert [line.startswith("store: ") for line in lines[:2]] == [True, False], lines


def test_restore_into_a_folder_says_what_was_in_place(shop: Shop, tmp_path: Path) -> None:
    to = ("--to", str(tmp_path / "out"))
    shop.cas("restore", "m")
    first = shop.cas("restore", "m", *to).stderr
    assert re.fullmatch(rf"m:latest  5\.0 kB \(5\.0 kB copied on this machine\) in {SECONDS}\n", first)
    (tmp_path / "out/config.json").write_bytes(b"damaged")
    healed = shop.cas("restore", "m", *to).stderr
    assert re.fullmatch(rf"m:latest  5\.0 kB \(10 B copied on this machine, 5\.0 kB in place\) in {SECONDS}\n", healed)


def test_verbose_lists_phases_with_bytes_rates_and_seconds(shop: Shop) -> None:
    lines = shop.cas("restore", "m", "-v").stderr.splitlines()
    assert any(re.match(rf"reading the manifest +{SECONDS}$", line) for line in lines)
    assert any(re.match(rf"fetching +{SECONDS}  0\.0 MB  [\d.]+ MB/s on the wire$", line) for line in lines)
    assert lines[-1].startswith("m:latest  5.0 kB ("), "the summary comes last"
    shutil.rmtree(shop.cache)
    assert "reading the manifest" not in shop.cas("restore", "m").stderr


def test_progress_as_json_is_an_object_a_line(shop: Shop) -> None:
    done = shop.cas("--progress", "json", "restore", "m")
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert {line["type"] for line in lines} == {"progress"}
    assert all(set(line) == {"type", *ProgressLine.__struct_fields__} for line in lines)
    fetch = [line for line in lines if line["phase"] == "fetch"]
    assert [fetch[0]["done"], fetch[-1]["done"]] == [0, fetch[-1]["total"]] == [0, 5010]
    assert fetch[-1]["wire"] > 0
    shown = cas_on_terminal("--progress", "json", "restore", "m", columns=80, env={"CAS_STORE": shop.url})
    assert "\x1b[2K" not in shown.raw, "no bar on a terminal"


def test_warnings_and_notes_are_objects_too(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(form="json", verbose=True) as reporter:
        reporter.listen(events.Warned("w\x1b"))
        reporter.listen(events.Noted("n"))
    texts = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(each["type"], each["kind"], each["text"]) for each in texts] == [
        ("text", "warning", "w\x1b"),
        ("text", "note", "n"),
    ]
    assert all(set(each) == {"type", *TextLine.__struct_fields__} for each in texts)


@pytest.mark.parametrize(("form", "bar"), [("auto", True), ("plain", False), ("none", False)])
def test_a_bar_is_drawn_only_where_it_is_wanted(shop: Shop, form: str, bar: bool) -> None:
    variables = {"CAS_STORE": shop.url, "HF_HUB_CACHE": str(shop.cache)}
    shown = cas_on_terminal("--progress", form, "restore", "m", columns=60, env=variables)
    assert ("fetching" in shown.raw) == bar
    assert all(len(line) < 60 for line in re.split(r"\r\x1b\[2K|\r\n", shown.raw) if "fetching" in line)
    assert not any("fetching" in line for line in shown.lines), "it is gone at the end"
