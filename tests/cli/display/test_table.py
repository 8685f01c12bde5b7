"""Tables in terminals of 60, 80 and 200 columns: no line wraps, and what can be typed back is whole."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from cas.cli.display import paint
from cas.cli.display.paint import Style
from cas.refs.reflog import Ref, RefLog
from cas.store.store import open_store
from tests.cli.conftest import Shop
from tests.support.models import publish_tree, write_tree
from tests.support.terminals import Shown, cas_on_terminal

MODEL = "a-model-with-a-long-name"
LISTS = [
    ("ls",),
    ("ls", MODEL),
    ("history", f"{MODEL}:latest"),
    ("tree",),
    ("du",),
    ("pins",),
    ("sources",),
    ("show", MODEL),
    ("info",),
    ("audit", f"{MODEL}:latest"),
    ("diff", f"{MODEL}:first", MODEL),
    ("receipts",),
    ("receipts", "show", "latest"),
]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A store with a long name, many tags, a pin with a long reason, and wide characters."""
    folder = tmp_path_factory.mktemp("wide")
    tree = write_tree(folder / "tree", {f"{'deep/' * 12}weights-of-模型.bin": b"w" * 5000})
    url = str(folder / "store")
    tags = ["first", "latest", "production", "candidate-of-november"]
    v1 = publish_tree(url, tree, MODEL, tags=tags).reference
    write_tree(tree, {"config.json": b"{}"})
    latest = publish_tree(url, tree, MODEL, tags=["latest"]).reference
    pin = Ref("pins", "eu-production-2", MODEL)
    RefLog(open_store(url), pin).append(v1.rpartition(":")[2], "漢字 " * 30, "somebody@a-host-with-a-long-name.example")
    shop = Shop(url, v1, latest, folder / "cache/hub")
    assert shop.cas("restore", MODEL, "--receipt", CAS_DEPLOYMENT="eu-production-2").returncode == 0
    return shop


def on_terminal(shop: Shop, *words: str, columns: int, **env: str) -> Shown:
    done = cas_on_terminal(*words, columns=columns, env={"CAS_STORE": shop.url, **env})
    assert done.code == (8 if words[0] == "audit" else 0), done.raw
    return done


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_line_of_a_list_wraps_and_ids_are_whole(wide: Shop, columns: int) -> None:
    digests = {each.rpartition(":")[2][:12] for each in (wide.v1, wide.latest)}
    for words in LISTS:
        shown = on_terminal(wide, *words, columns=columns)
        # An error is a sentence, which a terminal may wrap.
        text = "\n".join(line for line in shown.lines if not line.startswith("cas: "))
        if words[0] != "audit":
            assert not shown.wrapped, text
        if words[0] in ("ls", "history", "tree", "du"):
            assert MODEL in text or words[0] == "history"
            assert set(re.findall(r"\b[0-9a-f]{12}\b", text)) == digests
        if words[0] == "pins":
            assert f"eu-production-2  {MODEL}" in text
        if words == ("receipts",):
            assert re.search(r"^ID +WHEN +MODEL +[A-Z ]+$", text, re.M), text
        if words[0] == "ls" and len(words) == 1:
            assert re.search(r"first( \+\d+|, production| )", text)


def test_a_terminal_gets_relative_times_and_others_exact_ones(wide: Shop) -> None:
    for words in (("ls",), ("history", MODEL), ("pins",), ("du",), ("tree",)):
        shown = "\n".join(on_terminal(wide, *words, columns=200).lines)
        assert re.search(r"\d+ (second|minute)s? ago|\bnow\b", shown)
        assert not re.search(r"\d\d:\d\d:\d\dZ", shown)
        exact = "\n".join(on_terminal(wide, *words, "--no-trunc", columns=200).lines)
        assert re.search(r"\d\d:\d\d:\d\dZ", exact)
        assert re.search(r"\d\d:\d\d:\d\dZ", wide.cas(*words).stdout)


def test_no_trunc_shows_whole_digests_and_cells(wide: Shop) -> None:
    for words in (("ls",), ("history", f"{MODEL}:latest"), ("tree",), ("du",)):
        assert wide.latest.rpartition(":")[2] in wide.cas(*words, "--no-trunc").stdout
        assert wide.latest.rpartition(":")[2] not in wide.cas(*words).stdout
    shown = "".join(on_terminal(wide, "--no-trunc", "pins", columns=60).raw.splitlines())
    assert "漢字 " * 20 in shown


def test_columns_that_do_not_fit_are_named(wide: Shop) -> None:
    narrow = on_terminal(wide, "ls", columns=60).lines
    assert narrow[0].startswith("left out: ")
    assert all(name in narrow[0] for name in ("FILES", "--no-trunc"))
    assert "left out" not in on_terminal(wide, "ls", columns=200).raw


def test_wide_characters_count_twice(wide: Shop) -> None:
    lines = on_terminal(wide, "pins", columns=200).lines
    assert "…" in lines[-1]
    assert lines[-1].startswith("eu-production-2")


def test_quiet_prints_one_id_a_line_that_can_be_typed_back(wide: Shop) -> None:
    v1, latest = (f"{MODEL}@{each.rpartition(':')[2][:12]}" for each in (wide.v1, wide.latest))
    wanted = {
        ("ls",): {v1, latest},
        ("ls", MODEL): {v1, latest},
        ("history", f"{MODEL}:latest"): {v1, latest},
        ("tree",): {v1, latest},
        ("du",): {v1, latest},
        ("pins",): {f"pin:eu-production-2/{MODEL}"},
        ("show", MODEL): {latest},
    }
    for words, ids in wanted.items():
        done = wide.cas("-q", *words)
        assert done.stderr == ""
        assert set(done.stdout.split("\n")[:-1]) == ids
        for each in ids:
            assert wide.cas("show", each).returncode == 0
    whole = wide.cas("ls", "-q", "--no-trunc").stdout.split()
    assert {each.rpartition("@")[2] for each in whole} == {each.rpartition(":")[2] for each in (wide.v1, wide.latest)}
    for name in wide.cas("sources", "-q").stdout.split():
        assert wide.cas("sources", name).returncode == 0


@pytest.mark.parametrize(
    ("variables", "columns", "painted"),
    [
        ({}, 80, True),
        ({"NO_COLOR": "1"}, 80, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, 80, False),
        ({"TERM": "dumb"}, 80, False),
        ({"TERM": "dumb", "CLICOLOR_FORCE": "1"}, 80, True),
    ],
)
def test_a_terminal_that_wants_colour_gets_it(
    wide: Shop, variables: dict[str, str], columns: int, painted: bool
) -> None:
    assert ("\x1b[" in on_terminal(wide, "ls", columns=columns, **variables).raw) == painted
    assert (
        "\x1b[" in cas_on_terminal("show", "none", columns=columns, env={**variables, "CAS_STORE": wide.url}).raw
    ) == painted


def test_a_pipe_gets_no_colour_unless_it_is_forced(wide: Shop) -> None:
    assert "\x1b" not in wide.cas("ls").stdout
    assert "\x1b[1m" in wide.cas("ls", FORCE_COLOR="1").stdout
    assert "\x1b" not in wide.cas("ls", FORCE_COLOR="0").stdout


def test_a_text_of_the_store_cannot_steer_a_terminal_that_gets_colours(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"manifest": None, "created": "2026-01-01T00:00:00Z", "by": "x", "reason": "\u202e漢字"}
    Path(shop.url, "refs/tags/m/latest/00000009-0000000000000000.json").write_text(json.dumps(entry), "utf-8")
    raw = cas_on_terminal("history", "m:latest", columns=200, env={"CAS_STORE": shop.url}).raw
    assert "\\u202e漢字" in raw
    assert set(re.findall(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", raw)) <= {"\x1b[0m", "\x1b[1m", "\x1b[2m"}
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    paint.line(sys.stdout, ("\x1b[2Ja\nb\x9b", Style.RED), ("\r\x07", Style.PLAIN))
    assert capsys.readouterr().out == "\x1b[31m\\x1b[2Ja\\nb\\x9b\x1b[0m\\r\\x07\n"
