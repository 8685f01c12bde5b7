"""The Python that documents and docstrings show runs as it stands."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import cas
from tests.support.models import write_tree
from tests.support.safetensors import Tensor, safetensors

ROOT = Path(__file__).parent.parent.parent
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with weights, and a store that holds minilm, in which the examples run."""
    files = {"model.safetensors": safetensors({"w": Tensor("F32", (256,), bytes(1024))}), "config.json": b"{}"}
    write_tree(tmp_path / "weights", files)
    cas.publish("minilm", cas.Source.from_folder(tmp_path / "weights", MINILM), str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def blocks_of(page: str) -> list[str]:
    """The blocks of Python of a page that open a store: each is a program."""
    text = (ROOT / page).read_text("utf-8")
    return [block for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S) if "s3://my-models/cas" in block]


def examples_in_docstrings() -> Iterator[tuple[str, str]]:
    named = [("cas", cas), *((name, getattr(cas, name)) for name in cas.__all__ if name != "__version__")]
    for name, found in named:
        text = inspect.getdoc(found) or ""
        before_arguments = re.split(r"^(?:Args|Attributes|Raises|Returns|Yields):$", text, maxsplit=1, flags=re.M)[0]
        for block in re.findall(r"(?:^ {4}.*\n|^\n)+", before_arguments + "\n", re.M):
            if block.strip():
                yield name, textwrap.dedent(block)


def run(code: str, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    scope = {"cas": cas, "store": cas.open_store(store), "os": os, "subprocess": subprocess}
    exec(compile(code.replace("s3://my-models/cas", store), "example", "exec"), scope)


@pytest.mark.parametrize("page", ["README.md", "docs/operations/in-a-program.md"])
def test_the_programs_of_a_page_run(page: str, tmp_path: Path) -> None:
    blocks = blocks_of(page)
    assert blocks
    for block in blocks:
        run(block, tmp_path)


@pytest.mark.parametrize(
    "code", [pytest.param(code, id=f"{name}-{number}") for number, (name, code) in enumerate(examples_in_docstrings())]
)
def test_the_example_of_a_docstring_runs(code: str, tmp_path: Path) -> None:
    run(code, tmp_path)
