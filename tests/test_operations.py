"""What the pages for operators show runs: their commands in order, on a store like the one they speak of; their Python.

A block that no test can run says why, in a comment above it; its `cas` commands are parsed all the same.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cas.bucket import open_bucket
from cas.cli.main import root as command_line
from cas.store.store import Store
from tests.support.guides import Reader
from tests.support.guides_reader import WEIGHTS, reader
from tests.support.in_process import call_cas
from tests.support.marked_blocks import blocks_of
from tests.support.models import noise, put_model, write_tree
from tests.support.safetensors import Tensor, safetensors

__all__ = ["reader"]

ROOT = Path(__file__).parent.parent
OPERATIONS = ROOT / "docs/operations"
PAGES = [path for path in sorted(OPERATIONS.glob("*.md")) if any(b.language == "sh" for b in blocks_of(path))]
DOCUMENTS = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/guides/*.md"), *OPERATIONS.glob("*.md")])
FOLLOWED = {"console"}  # by tests/test_guides.py, tests/test_first_steps.py, tests/worker/test_rollback_drill.py
DATA = {"", "json", "toml", "yaml", "text"}  # nothing to run
SPEECH = {"model.safetensors": safetensors({"w": Tensor("F32", (75_000,), noise(300_000))}), "vocab.txt": b"a b c\n"}


@pytest.fixture
def operator(reader: Reader, tmp_path: Path) -> Reader:
    """A reader whose store has the models, tags and pins of the pages, with two keys that nobody trusts yet."""
    store = Store(open_bucket(str(tmp_path / "store")))
    for tag in ("latest", "prod"):
        put_model(store, {"SWivid/F5-TTS": SPEECH}, model="f5-tts", tag=tag)
    put_model(
        store, {"org/flux": {"split_files/vae/ae.safetensors": WEIGHTS, "unet.safetensors": WEIGHTS}}, model="flux"
    )
    put_model(store, {"org/wan": {"wan.safetensors": WEIGHTS}}, model="wan", tag="v2")
    put_model(store, {"org/llm": {"llm-Q4_K_M.gguf": noise(500)}}, model="llm")
    put_model(store, {"org/own": {"loras/a.safetensors": WEIGHTS}}, model="own-models")
    put_model(store, {"org/tts": {"a.safetensors": WEIGHTS}}, model="tts-small")
    reader.env |= {"CAS_STORE": str(tmp_path / "store"), "XDG_CONFIG_HOME": str(tmp_path / "config"), "NO_COLOR": "1"}
    here = {**reader.env, "CAS_DEPLOYMENT": "eu-prod"}
    assert call_cas("restore", "f5-tts:prod", "--receipt", env=here).returncode == 0
    for words in ("pin eu-prod f5-tts:prod", "keygen release", "keygen new", "--store other init"):
        call = call_cas(*_absolute(words, reader.folder), env=reader.env)
        assert call.returncode == 0, call.stderr
    version = json.loads(call_cas("--json", "show", "f5-tts", env=reader.env).stdout)["digest"].removeprefix("blake3:")
    write_tree(tmp_path / "hub/SWivid/F5-TTS", SPEECH)
    write_tree(tmp_path / "bin", {"ssh": b'#!/bin/sh\nshift\nCAS_STORE=$CAS_STORE.there exec "$@"\n'})
    (tmp_path / "bin/ssh").chmod(0o755)
    write_tree(tmp_path / "volume", {"weights/model.safetensors": SPEECH["model.safetensors"]})
    write_tree(reader.folder, {"build/bench.json": b'{"summary": []}'})
    places = {
        "s3://second@models-eu/cas": "second",
        "/mnt/backup/cas": "backup",
        "s3://other-bucket/cas": "reader/other",
        "/runpod-volume/huggingface-cache/hub": "volume/weights",
        "/srv/models": "models",
    }
    reader.put |= {shown: str(tmp_path / own) for shown, own in places.items()}
    reader.put |= {"1f3a9c04…": f"blake3:{version}", "1f3a9c04": version[:8]}
    return reader


def _absolute(words: str, folder: Path) -> list[str]:
    return [str(folder / word) if word in ("release", "new", "other") else word for word in words.split()]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_commands_of_a_page_run_in_their_order(page: Path, operator: Reader) -> None:
    if page.stem == "signatures":
        signing = ROOT / ".venv/model-signing/bin/model_signing"
        (operator.folder.parent / "bin/model_signing").symlink_to(signing)
        for key in ("release.pub", "new.pub"):
            assert call_cas("trust", "add", str(operator.folder / key), env=operator.env).returncode == 0
    for block in blocks_of(page):
        if block.language == "sh" and not block.why_not:
            for command in block.commands():
                operator.printed(operator.own(command))


@pytest.mark.parametrize("page", ["in-a-program", "into-a-folder"])
def test_the_python_of_a_page_runs(page: str, operator: Reader) -> None:
    blocks = [block for block in blocks_of(OPERATIONS / f"{page}.md") if block.language == "python"]
    (code,) = (block.text for block in blocks if not block.why_not)
    command = [sys.executable, "-c", code]
    ran = subprocess.run(
        command, cwd=operator.folder, env={**os.environ, **operator.env}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_document_shows_is_run_or_says_why_not(document: Path) -> None:
    for block in blocks_of(document):
        assert block.language in FOLLOWED | DATA | {"sh", "python"}, block.text
        if block.language in DATA:
            assert not re.search(r"^(\$ )?cas \w", block.text, re.MULTILINE), block.text
        elif block.language == "sh" and document.parent != OPERATIONS:
            assert block.why_not or block.commands()[0].startswith("export "), block.text
        for command in block.commands() if block.why_not and block.language == "sh" else ():
            if found := re.search(r"(^|\* {2})(cas .*?)( \||$)", command):
                parse(shlex.split(found[2])[1:])


def parse(words: list[str]) -> None:
    """Parse a call of `cas` as far as its command's own options, and run nothing."""
    while words[0].startswith("-"):
        words = words[2:] if words[0] == "--store" else words[1:]
    top = click.Context(command_line, info_name="cas")
    command = command_line.get_command(top, words[0])
    assert command is not None, words
    try:
        command.make_context(words[0], words[1:], parent=top)
    except click.ClickException as error:
        pytest.fail(f"{' '.join(words)}: {error.format_message()}")
