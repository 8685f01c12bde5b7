"""The commands that messages propose can be pasted: they mean the same store, cache and form as the call itself."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.cli import hints
from cas.cli.display.streams import PrintableStream
from cas.cli.options import Settings
from tests.cli.conftest import Shop
from tests.support.in_process import call_cas
from tests.support.models import publish_tree, write_tree
from tests.support.terminals import cas_on_terminal


@pytest.fixture
def call() -> Iterator[Settings]:
    """The options of a call, which the test may change."""
    settings = Settings()
    hints.remember(settings)
    yield settings
    hints.remember(Settings())


def proposed(text: str) -> list[str]:
    """The words of the first command that a message proposes."""
    found = re.search("`cas ([^`]+)`", text)
    assert found, text
    return shlex.split(found[1])


def test_a_proposed_command_works_when_it_is_pasted(shop: Shop, tmp_path: Path) -> None:
    store = Path(shop.url).rename(tmp_path / "my store")
    for words in (["--store", str(store), "show", "m@00000000"], ["show", "m@00000000", "--store", str(store)]):
        failed = call_cas(*words)
        assert failed.returncode == 3
        assert proposed(failed.stderr) == ["--store", str(store), "ls", "m"]
        pasted = call_cas(*proposed(failed.stderr))
        assert (pasted.returncode, pasted.stderr) == (0, "")


def test_what_the_environment_names_is_not_repeated(shop: Shop) -> None:
    assert proposed(shop.cas("show", "m@00000000").stderr) == ["ls", "m"]


@pytest.mark.parametrize(
    ("text", "carried"),
    [
        ("see `cas ls m`, or `cas gc`", "see `cas --store S --json ls m`, or `cas --store S --json gc`"),
        ("`cas restore m`", "`cas --store S --json restore --cache-dir 'a b' m`"),
        ("`cas --store X fsck --shard 1/2`", "`cas --json --store X fsck --shard 1/2`"),
        ("`cas ls --json m`", "`cas --store S ls --json m`"),
        ("`cas trust add` or `cas keygen`", "`cas --json trust add` or `cas --json keygen`"),
        ("made by `cas 0.1.0`, see `cas ls --help`", "made by `cas 0.1.0`, see `cas ls --help`"),
        ("`ls m` is no command of ours", "`ls m` is no command of ours"),
    ],
)
def test_each_command_gets_the_options_that_it_takes_and_lacks(call: Settings, text: str, carried: str) -> None:
    call.store, call.json, call.cache_dir = "S", True, "a b"
    assert hints.carry(text) == carried
    assert hints.carry(carried) == carried


@pytest.mark.parametrize(
    "url",
    [
        "https://me:geheim@host/x",
        "HTTPS://me:geheim@host/x",
        "s3://me:geheim@bucket/x",
        "https://host/x?sig=geheim",
        "s3://bucket/x#geheim",
    ],
)
def test_a_store_that_may_hold_a_secret_is_not_repeated(call: Settings, url: str) -> None:
    call.store = url
    assert hints.carry("`cas ls`") == "`cas ls`"


def test_a_message_about_the_destination_means_the_destination(call: Settings) -> None:
    call.store, call.destination = "s3://a/x", "s3://b/y"
    assert hints.carry("m is not in s3://b/y: see `cas ls`") == "m is not in s3://b/y: see `cas --store s3://b/y ls`"
    assert hints.carry("m is not in s3://a/x: see `cas ls`") == "m is not in s3://a/x: see `cas --store s3://a/x ls`"


def test_what_is_in_an_archive_is_imported_into_another_store(call: Settings, tmp_path: Path) -> None:
    call.store = str(write_tree(tmp_path, {"m.cas": b""}) / "m.cas")
    assert hints.carry("`cas import` or `cas ls`") == f"`cas import` or `cas --store {call.store} ls`"


def test_warnings_and_summaries_carry_them_too(shop: Shop, tmp_path: Path) -> None:
    empty = write_tree(tmp_path / "empty", {"format.json": b'{"format": "cas", "version": 1}'})
    assert proposed(call_cas("ls", "--store", str(empty)).stderr) == ["--store", str(empty), "publish"]
    store = str(tmp_path / "garbage")
    tree = write_tree(tmp_path / "tree-1", {"w.bin": b"1" * 100})
    publish_tree(store, tree, tags=["one"])
    call_cas("--store", store, "untag", "m:one")
    done = call_cas("--store", store, "gc", "--grace", "0s", "--force", "--keep", "1")
    assert proposed(done.stdout) == ["--store", store, "gc"]


@pytest.mark.parametrize(
    ("words", "kind", "code", "hint"),
    [
        (["show", "m@00000000"], "NotFoundError", 3, "cas --json ls m"),
        (["show", "m:none"], "RefUnset", 3, None),
        (["ls", "--bogus"], "InputError", 2, "cas ls --help"),
        (["lss"], "InputError", 2, "cas --help"),
        ([], "InputError", 2, "cas --help"),
        (["-q", "ls", "-v"], "InputError", 2, "cas ls --help"),
        (["run", "m", "no-such-command"], "CommandNotFound", 127, None),
        (["restore", "m", "--cache-dir", "/dev/null/hub"], "CacheError", 7, None),
    ],
)
def test_an_error_is_a_document_too(shop: Shop, words: list[str], kind: str, code: int, hint: str | None) -> None:
    done = shop.cas("--json", *words)
    (name, error), *others = json.loads(done.stdout).items()
    assert (name, others) == ("error", [])
    assert (done.returncode, error["class"], error["exit_code"], error["hint"]) == (code, kind, code, hint)
    if words:
        assert done.stderr == f"cas: {error['message']}\n"
        at = 1 if words[0] == "run" else len(words)
        assert json.loads(shop.cas(*words[:at], "--json", *words[at:]).stdout) == {"error": error}


def test_a_word_of_the_command_of_run_is_none_of_the_call(shop: Shop) -> None:
    for words in (
        ["run", "m:none", "true", "--json"],
        ["exec", "m:none", "true", "--json"],
        ["run", "m:none", "--", "true", "--json"],
    ):
        done = shop.cas(*words)
        assert (done.returncode, done.stdout) == (3, ""), done.stdout


def test_no_document_follows_the_bytes_of_an_archive(capsys: pytest.CaptureFixture[str]) -> None:
    stream = PrintableStream(sys.stdout)
    assert not stream.is_written
    stream.buffer.write(b"part of an archive\n")
    assert stream.is_written


def test_an_error_after_the_document_adds_no_second_one(shop: Shop) -> None:
    shop.json("restore", "m")
    next(shop.cache.glob("models--*/blobs/*")).unlink()
    assert json.loads(shop.cas("verify", "m", "--json").stdout)["sound"] is False
    broken = shop.cas("info", "--json", S3_BUCKET="a b", CAS_LEASE_SECONDS="x")
    assert broken.returncode == 2
    assert set(json.loads(broken.stdout)) == {"version", "settings", "variables"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("odd"), OSError(5, "Input/output error", "f")])
def test_interrupts_and_unexpected_errors_are_documents(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("cas.store.store.open_store", fail)
    done = shop.cas("--json", "ls")
    found = json.loads(done.stdout)["error"]
    wanted = {KeyboardInterrupt: ("Interrupted", 130), RuntimeError: ("RuntimeError", 1), OSError: ("OSError", 7)}
    assert (found["class"], found["exit_code"]) == wanted[type(error)]
    assert done.returncode == found["exit_code"]


def test_on_a_terminal_the_line_has_the_command_to_paste(shop: Shop) -> None:
    shown = cas_on_terminal("--store", shop.url, "show", "m@00000000", columns=200)
    assert shown.code == 3
    assert f"`cas --store {shop.url} ls m`" in "".join(shown.lines)
