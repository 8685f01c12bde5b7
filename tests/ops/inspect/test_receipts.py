"""`cas receipts`: which starts are listed, whose ids can be typed back, and what one looks like in a terminal."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

import cas
from cas.bucket import Kind
from cas.store import layout
from cas.store.receipt import RECEIPTS, Bytes, Failure, PhaseTime, Receipt
from cas.store.store import Store, open_store
from tests.store.test_receipts import A, put, put_later
from tests.store.test_receipts import receipt as small
from tests.support.in_process import call_cas, cas_json
from tests.support.terminals import cas_on_terminal

B = "cd" * 32
PHASES = (
    PhaseTime("python", 0.5, -2.0),
    PhaseTime("imports", 1.5, -1.5),
    PhaseTime("fetch", 2.0, 0.0),
    PhaseTime("early.weights", 1.0, 0.5),
    PhaseTime("load", 1.0, 2.5),
)


class Filled:
    """A store with receipts of two models in two deployments; the newest is the last."""

    def __init__(self, folder: Path) -> None:
        self.store: Store = open_store(str(folder))
        self.store.create()
        self.keys: list[str] = []
        moved = Bytes(total=9000000, present=0, fetched=8000000, wire=6000000, reused=1000000)
        boot = msgspec.structs.replace(small(phases=PHASES, seconds=3.5), bytes=moved)
        self.add(boot)
        self.add(msgspec.structs.replace(boot, model="other", manifest=f"blake3:{B}", deployment="us-lab"))
        lost = Failure("ChunkMissing", "chunk \x1b[31m is lost")
        self.add(msgspec.structs.replace(boot, ok=False, error=lost))

    def add(self, one: Receipt) -> None:
        """Write a receipt as of so many hours ago that those before it are older."""
        self.keys.append(put(self.store, one))
        for at, key in enumerate(reversed(self.keys)):
            then = datetime.datetime.now(datetime.UTC).timestamp() - 3600 * at
            os.utime(Path(self.store.url, key), (then, then))

    def ids(self) -> list[str]:
        return [layout.receipt_identity(key) for key in self.keys]

    def call(self, *words: str) -> Any:
        return cas_json(self.store, "receipts", *words)

    def found(self, *words: str) -> list[int]:
        """The numbers of the receipts that a call lists."""
        return [self.ids().index(one["id"]) for one in self.call(*words)]


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Filled:
    monkeypatch.setenv("CAS_STORE", str(tmp_path / "store"))
    return Filled(tmp_path / "store")


def test_they_are_listed_newest_first_by_model_version_deployment_time_and_result(filled: Filled) -> None:
    assert filled.found() == [2, 1, 0]
    assert filled.found("m") == filled.found("eu") == filled.found("pin:eu") == filled.found("pin:eu/m") == [2, 0]
    assert filled.found("other") == filled.found(f"other@{B[:8]}") == filled.found(f"other@blake3:{B}") == [1]
    assert filled.found(B[:8]) == filled.found(B[:12].upper()) == filled.found(f"blake3:{B}") == [1]
    assert filled.found("--failed") == [2]
    assert filled.found("-n", "2") == [2, 1]
    assert filled.found("--since", "90m") == [2, 1]
    assert filled.found("--until", "30m") == [1, 0]
    assert filled.found("us-lab", "--failed") == []


def test_a_tag_means_the_version_that_it_names(filled: Filled, tmp_path: Path) -> None:
    published = tmp_path / "weights"
    published.mkdir()
    (published / "a.bin").write_bytes(b"x" * 100)
    exact = cas.publish("m", cas.Source.from_folder(published, "acme/m"), filled.store).reference
    assert call_cas("receipts", "m:latest").returncode == 3  # none of that version
    key = put(filled.store, msgspec.structs.replace(small(), manifest=exact.partition("@")[2]))
    assert [one["key"] for one in filled.call("m:latest")] == [key]


def test_what_no_receipt_is_of_gets_the_closest_names(filled: Filled) -> None:
    for words, told in ((("us-lap",), "us-lab"), (("othr",), "other"), (("pin:us-lba",), "us-lab")):
        done = call_cas("receipts", *words)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"no receipt is of {words[0]}" in done.stderr and told in done.stderr


def test_one_that_cannot_be_read_is_a_warning(filled: Filled) -> None:
    key = layout.receipt_key("eu", "2026-11-23T11:26:59Z", A, "0" * 16)
    filled.store.bucket.put(key, b"{", Kind.DOCUMENT)
    done = call_cas("receipts", "--json")
    assert f"warning: the receipt {key} cannot be read, and is left out" in done.stderr
    assert len(json.loads(done.stdout)) == 3
    done = call_cas("receipts", "show", "0" * 16)
    assert done.returncode == 3 and "cannot be read" in done.stderr


def test_a_store_without_receipts_says_how_to_get_some(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "empty"))
    store.create()
    done = call_cas("--store", store.url, "receipts", "show", "latest")
    assert done.returncode == 3 and "restore --receipt`" in done.stderr
    done = call_cas("--store", store.url, "receipts")
    assert (done.returncode, done.stdout) == (0, "")
    assert "--since 90d" in done.stderr


def test_ids_that_are_printed_can_be_typed_back(filled: Filled) -> None:
    quiet = call_cas("receipts", "-q").stdout.split()
    assert [len(one) for one in quiet] == [8, 8, 8]
    whole = call_cas("receipts", "-q", "--no-trunc").stdout.split()
    assert whole == filled.ids()[::-1]
    for typed in (*quiet, *whole, filled.keys[0], "latest", quiet[0].upper()):
        assert filled.call("show", typed)["id"] in whole
    assert filled.call("show", "latest")["id"] == whole[0]
    for typed, code in (("ffff", 3), ("x" * 8, 2), ("abc", 2), ("", 2)):
        assert call_cas("receipts", "show", typed).returncode == code, typed
    assert call_cas("receipts", "show").returncode == call_cas("receipts", "a", "b").returncode == 2


def test_several_of_the_same_beginning_are_named(filled: Filled) -> None:
    for end in "01":
        key = layout.receipt_key("eu", "2026-11-23T11:26:59Z", A, f"aaaa5555aaaa555{end}")
        filled.store.bucket.put(key, RECEIPTS.encode(small()), Kind.DOCUMENT)
    done = call_cas("receipts", "show", "aaaa5555")
    assert done.returncode == 2 and "aaaa5555aaaa5550, aaaa5555aaaa5551" in done.stderr


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_list_and_the_waterfall_fit_the_terminal(filled: Filled, columns: int) -> None:
    listed = cas_on_terminal("receipts", columns=columns)
    assert listed.code == 0 and not listed.wrapped
    for identity in filled.ids():
        assert any(line.startswith(identity[:8]) for line in listed.lines)
    put_later(filled.store, filled.keys[0], 0, PhaseTime("compile", 1.0, 4.0))
    shown = cas_on_terminal("receipts", "show", filled.ids()[0], columns=columns)
    assert shown.code == 0 and not shown.wrapped
    text = "\n".join(shown.lines)
    lines = {line.split()[0]: line for line in shown.lines if line}
    # One that lies within another is indented below it, with another bar; the gap before it has a line of its own.
    assert "█" in lines["fetch"] and "  early.weights" in text and "▒" in lines["early.weights"]
    assert "2.00 s" in lines["fetch"] and "compile" in lines
    assert "no phase" in text and "1.00 s" in next(line for line in shown.lines if line.startswith("no phase"))
    starts = [lines[name].index("█") for name in ("python", "imports", "fetch", "load", "compile")]
    assert starts == sorted(starts)
    if columns >= 80:
        assert "6.0 MB, 3.0 MB/s" in lines["fetch"]
    failed = cas_on_terminal("receipts", "show", filled.ids()[2], columns=columns)
    assert "\x1b[31m" not in failed.raw and "ChunkMissing" in failed.raw


def test_a_waterfall_in_ascii_and_one_of_a_hostile_receipt(filled: Filled) -> None:
    hostile = [PhaseTime(f"\x1b[2J{'é' * 200}", 4e9, -4e9), *(PhaseTime("x", 0.0, 0.0) for _ in range(1500))]
    filled.add(small(phases=tuple(hostile), seconds=0.0))
    filled.add(small(phases=(), seconds=0.0))
    assert call_cas("receipts", "show", "latest").returncode == 0
    done = call_cas("receipts", "show", filled.ids()[3])
    assert done.returncode == 0 and "\x1b" not in done.stdout
    assert "and 1,301 more phases" in done.stdout
    plain = call_cas("receipts", "show", filled.ids()[0], env={"PYTHONIOENCODING": "ascii"})
    assert plain.returncode == 0


def test_python_lists_and_shows_them_too(filled: Filled) -> None:
    found = cas.receipts("m", filled.store, last=1)
    assert [one.id for one in found.receipts] == filled.ids()[2:]
    assert cas.receipt("latest", filled.store).receipt.error is not None


def test_a_store_without_receipts_says_how_they_are_kept(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.create()
    done = call_cas("--store", store.url, "receipts")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no receipt in this time" in done.stderr
    assert "--receipt, or where CAS_RECEIPT=1 is set" in done.stderr
