"""The JSON Schema of manifests: its file is current, and it refuses what the reader refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cas.formats import manifest
from tests.formats.manifests import ENCODED, WRONG
from tests.support.documents import document
from tools import schema


def test_the_schema_files_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.main(["--check"]) == 0, capsys.readouterr().out


def test_a_drifted_schema_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "schema.json"
    texts = {file: next(iter(schema.files().values()))}
    assert schema.main(["--check"], texts) == 1
    assert schema.main([], texts) == 0
    assert schema.main(["--check"], texts) == 0
    file.write_text(file.read_text().replace("200", "201").replace("64", "65"))
    assert schema.main(["--check"], texts) == 1
    assert "python -m tools.schema" in capsys.readouterr().err


def test_the_schema_describes_manifests() -> None:
    assert schema_errors(json.loads(ENCODED)) == []
    assert schema_errors(document(repo=["a"], plain_files=["torch/b"])) == []


# What a JSON Schema cannot say: sums, clashes between values, and what is safe as a path.
BEYOND_SCHEMA = ("add up", "two sizes", "two contents", "too many", "twice", "two commits", "a ref", "dashes", "dots")
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None)}


@pytest.mark.parametrize("name", [name for name in WRONG if not any(part in name for part in BEYOND_SCHEMA)])
def test_the_schema_refuses_what_the_reader_refuses(name: str) -> None:
    assert schema_errors(WRONG[name])


def schema_errors(value: object) -> list[str]:
    """The errors that a validator of JSON Schema would report, for the keywords that the schema uses."""
    root: dict[str, Any] = manifest.schema()
    return list(_errors(value, root, root, "$"))


def _errors(value: Any, rule: dict[str, Any], root: dict[str, Any], at: str) -> Iterator[str]:  # noqa: PLR0912
    if "$ref" in rule:
        yield from _errors(value, root["$defs"][rule["$ref"].removeprefix("#/$defs/")], root, at)
    if "anyOf" in rule and all(any(_errors(value, one, root, at)) for one in rule["anyOf"]):
        yield f"{at} is none of several"
    if (kind := rule.get("type")) and type(value) is not TYPES[kind]:
        yield f"{at} is no {kind}"
        return
    if isinstance(value, str):
        if not re.search(rule.get("pattern", ""), value) or len(value) > rule.get("maxLength", len(value)):
            yield f"{at} does not match"
    elif isinstance(value, int):
        if not rule.get("minimum", value) <= value <= rule.get("maximum", value):
            yield f"{at} is out of range"
    elif isinstance(value, list):
        if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)):
            yield f"{at} has {len(value)} items"
        for item, one in zip(value, rule.get("prefixItems", []), strict=False):
            yield from _errors(item, one, root, f"{at}[]")
        for item in value if "items" in rule else []:
            yield from _errors(item, rule["items"], root, f"{at}[]")
    elif isinstance(value, dict) and "additionalProperties" in rule:
        rules = rule.get("properties", {})
        yield from (f"{at}.{key} is missing" for key in rule.get("required", []) if key not in value)
        for key, item in value.items():
            other = rules.get(key, rule["additionalProperties"])
            yield from [f"{at}.{key} is unknown"] if other is False else _errors(item, other, root, f"{at}.{key}")
