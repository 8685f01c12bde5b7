"""`cas derive` and `cas show` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cas.formats.digest import short
from tests.support.in_process import call_cas
from tests.support.models import publish_tree, write_tree
from tests.support.safetensors import Tensor, normal, safetensors


@pytest.fixture
def shop(tmp_path: Path) -> str:
    """URL of a store with m: weights, a pickle and a text."""
    file = safetensors({"w": Tensor("F32", (500_000,), normal(500_000)), "step": Tensor("I64", (), b"8" * 8)})
    tree = {"model.safetensors": file, "pytorch_model.bin": b"p" * 900, "config.json": b"{}"}
    url = str(tmp_path / "store")
    publish_tree(url, write_tree(tmp_path / "tree", tree))
    return url


def test_a_variant_from_the_command_line(shop: str) -> None:
    words = ("--store", shop, "derive", "m", "--cast", "float16", "--tag", "fp16")
    dry = call_cas(*words, "-n")
    assert (dry.returncode, dry.stdout) == (0, "")
    assert "1 of 3 files to be cast, 1 tensors: 2.0 MB -> 1.0 MB" in dry.stderr
    assert "nothing was written to the store" in dry.stderr
    done = call_cas(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("m@blake3:")
    for told in ("1 of 3 files cast", "each proven", "pytorch_model.bin is a pickle and stays as it is", "moved fp16"):
        assert told in done.stderr
    again = call_cas(*words)
    assert again.stdout == done.stdout
    assert "the store had the variant" in again.stderr
    quiet = call_cas(*words, "-q")
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")
    document = json.loads(call_cas(*words, "--json").stdout)
    assert document["reference"] == done.stdout.strip()
    assert (document["cast"], document["pickles"]) == (["org/model/model.safetensors"], ["pytorch_model.bin"])
    fresh = json.loads(
        call_cas("--store", shop, "--json", "derive", "m", "--cast", "bfloat16", "--tag", "x", "-n").stdout
    )
    assert (fresh["reference"], fresh["proof"], fresh["created"]) == (None, None, True)


def test_show_says_what_a_variant_is(shop: str) -> None:
    def show(*words: str) -> Any:
        return call_cas("--store", shop, "show", *words).stdout

    done = json.loads(call_cas("--store", shop, "--json", "derive", "m", "--cast", "float16", "--tag", "fp16").stdout)
    lines = dict(line.split(maxsplit=1) for line in show("m:fp16").splitlines() if " " in line)
    assert lines["variant"] == f"cast:float16 of {short(done['original'])}"
    assert lines["proof"].startswith(f"1 tensors, each element the nearest to its original; {short(done['proof'])} ")
    assert "`cas derive m:fp16 --check`" in lines["proof"]
    assert lines["equivalent"] == done["equivalent"]
    document = json.loads(show("m:fp16", "--json"))
    assert document["variant"] == {
        name: done[name] for name in ("original", "transform", "equivalent", "tensors", "overflowed", "proof")
    }
    assert document["manifest"]["derived"]["from"] == done["original"].split("@")[1]
    assert "variant " not in show("m")
    assert json.loads(show("m", "--json"))["variant"] is None


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["m"], 2, "--cast float16"),
        (["m", "--cast", "float16"], 2, "at least one tag"),
        (["m", "--cast", "float8", "--tag", "x"], 2, "'float8' is not one of 'float16', 'bfloat16'"),
        (["m", "--cast", "float16", "--tag", "a/b"], 2, "tag 'a/b' is not a name"),
        (["m", "--check", "--tag", "x"], 2, "--check goes alone"),
        (["m", "--check"], 2, "m is not a cast variant"),
        (["none", "--cast", "float16", "--tag", "x"], 3, "none:latest is not in"),
        (["m:none", "--cast", "float16", "--tag", "x"], 3, "its tags are latest"),
        (["m@12345678", "--cast", "float16", "--tag", "x"], 3, "no version 12345678"),
    ],
)
def test_wrong_calls_are_answered_in_one_line(shop: str, words: list[str], code: int, told: str) -> None:
    done = call_cas("--store", shop, "derive", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
