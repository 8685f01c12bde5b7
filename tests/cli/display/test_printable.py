"""Whatever a store says, the terminal shows it and obeys nothing of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Shop

MARKS = "\u202egnp \u2066\u2028\u061c"
ENTRY = "refs/tags/m/latest/00000009-0000000000000000.json"


def harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.fixture
def marked(shop: Shop) -> Shop:
    """The shop, whose last move of m:latest has bidi marks and a line separator in its texts."""
    entry = {
        "manifest": shop.v1.partition("@")[2],
        "created": "2026-01-01T00:00:00Z",
        "by": f"Jürgen{MARKS}",
        "reason": f"漢字{MARKS}",
    }
    (Path(shop.url) / ENTRY).write_text(json.dumps(entry), "utf-8")
    return shop


@pytest.mark.parametrize(
    "words", [("history", "m:latest"), ("rollback", "m:latest", "--dry-run"), ("ls",), ("show", "m")]
)
def test_texts_of_a_ref(marked: Shop, words: tuple[str, ...]) -> None:
    done = marked.cas(*words)
    assert harmless(done.stdout)
    assert harmless(done.stderr)
    if words[0] == "history":
        assert "Jürgen\\u202egnp" in done.stdout
        assert "漢字" in done.stdout


def test_json_means_what_is_stored_and_is_harmless(marked: Shop) -> None:
    done = marked.cas("--json", "history", "m:latest")
    assert harmless(done.stdout)
    assert MARKS in done.stdout.encode().decode("unicode_escape", "ignore")
    assert f"漢字{MARKS}" in json.dumps(json.loads(done.stdout), ensure_ascii=False)


@pytest.mark.parametrize(
    "value",
    [b'{"format":"\\u001b[2Jcas\\r\\ncas: fine","version":1}', '{"format":"\u202ecas\u2028","version":1}'.encode()],
)
@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_errors_and_tracebacks(shop: Shop, value: bytes, verbose: tuple[str, ...]) -> None:
    (Path(shop.url) / "format.json").write_bytes(value)
    done = shop.cas("ls", *verbose)
    assert done.returncode == 5
    assert harmless(done.stderr)
    assert sum(line.startswith("cas: ") for line in done.stderr.splitlines()) == 1


def test_foreign_objects_are_named_with_v_and_hide_nothing(shop: Shop) -> None:
    root = Path(shop.url)
    os.mkfifo(root / "manifests/m/pipe")
    (root / "manifests/\x1b[2Jevil").mkdir()
    (root / "manifests/\x1b[2Jevil" / f"{'a' * 64}.json").write_bytes(b"{}")
    (root / "manifests/-rf").mkdir()
    (root / "manifests/-rf" / f"{'a' * 64}.json").write_bytes(b"{}")
    quiet, verbose = shop.cas("tree"), shop.cas("tree", "-v")
    assert quiet.returncode == verbose.returncode == 0
    assert quiet.stdout == verbose.stdout
    assert "v1" in quiet.stdout
    assert "evil" not in quiet.stdout
    assert "-rf" not in quiet.stdout
    assert quiet.stderr == ""
    assert verbose.stderr.count("skipped manifests/m/pipe") == 1
    assert "skipped manifests/\\x1b[2Jevil" in verbose.stderr
