"""docs/schemas: a schema for every command that prints a document, strict, with a word for every key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from cas.cli.main import root
from tests.support.in_process import call_cas
from tests.support.models import write_tree
from tests.support.output_schemas import FOLDER, faults
from tools.output_schemas.generator import schema
from tools.output_schemas.table import OUTPUTS

OTHERS = {"error", "progress", "receipt"}
"""What is described, too: what a failed call prints, a line of --progress json, and a receipt in the store."""

WITHOUT = {"run"}
"""Commands that take --json as all do, and print no document of their own."""


def commands() -> Iterator[str]:
    ctx = click.Context(root)
    for name in root.list_commands(ctx):
        command = root.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from (f"{name}-{below}" for below in command.commands)
        else:
            yield name


def objects(part: Any) -> Iterator[dict[str, Any]]:
    """All objects with keys that a schema describes."""
    if isinstance(part, dict):
        if part.get("type") == "object" and "properties" in part:
            yield part
        for each in part.values():
            yield from objects(each)
    elif isinstance(part, list):
        for each in part:
            yield from objects(each)


def test_every_command_has_one_and_no_other_is_there() -> None:
    wanted = {*commands(), *OTHERS} - WITHOUT
    assert set(OUTPUTS) == wanted
    assert {path.stem for path in FOLDER.glob("*.json")} == wanted


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_it_is_strict_and_says_what_every_key_is(name: str) -> None:
    schema = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for each in objects(schema):
        assert each["additionalProperties"] is False
        assert [key for key, value in each["properties"].items() if not value.get("description")] == [], each["title"]


def test_lines_of_progress_and_errors_are_as_described(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"config.json": b"{}", "weights.bin": b"w" * 100_000})
    words = ("--store", str(tmp_path / "store"), "--progress", "json", "--json")
    done = call_cas(*words, "publish", "minilm", "--dir", str(tree), "--as", "org/minilm")
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert lines and [fault for line in lines for fault in faults("progress", line)] == []
    failed = json.loads(call_cas(*words, "show", "none").stdout)
    assert failed["error"]["exit_code"] == 3  # `call_cas` has checked it


def test_what_is_generated_allows_no_other_keys() -> None:
    made = [each for output in OUTPUTS.values() for each in objects(schema(output))]
    assert made and all(each["additionalProperties"] is False and each["required"] for each in made)


def test_a_wrong_document_is_noticed() -> None:
    right = {"store": "/store", "made": True}
    assert faults("init", right) == []
    for wrong in ({**right, "more": 1}, {"store": "/store"}, {**right, "made": "yes"}, [right]):
        assert faults("init", wrong)
    assert faults("unknown", right) == [
        "docs/schemas/unknown.json is missing: add the command to tools/output_schemas/table.py"
    ]
