"""Every document that a command prints in a test is checked against its JSON Schema in docs/schemas."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from cas.cli.display import output

FOLDER = Path(__file__).parents[2] / "docs/schemas"


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((FOLDER / f"{name}.json").read_text("utf-8")))


def faults(name: str, document: Any) -> list[str]:
    """Return what is wrong with a document that a command printed; nothing for one that its schema describes.

    Args:
        name: of the schema: the command's, such as `trust-ls`, or `error`.
        document: what was printed.
    """
    if not (FOLDER / f"{name}.json").is_file():
        return [f"docs/schemas/{name}.json is missing: add the command to tools/output_schemas/table.py"]
    return [f"{error.json_path}: {error.message[:300]}" for error in _validator(name).iter_errors(document)]


@contextlib.contextmanager
def documents_checked() -> Iterator[None]:
    """Fail the test if a command that is called in this process prints another document than its schema describes."""
    print_document = output.document
    found: list[str] = []

    def check(value: object) -> None:
        ctx = click.get_current_context(silent=True)
        name = "-".join(ctx.command_path.split()[1:]) if ctx else "error"
        found.extend(f"{name}: {fault}" for fault in faults(name, json.loads(json.dumps(value, default=str))))
        print_document(value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "document", check)
        yield
    if found:
        pytest.fail("a command printed what docs/schemas does not say: " + "; ".join(found))
