"""The table of `make providers`: a column of it, a server that is not there, and how it is printed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tools.providers import operations
from tools.providers.__main__ import column, table
from tools.providers.operations import OPERATIONS, Operation, outcome
from tools.providers.servers import PROVIDERS, CannotStart, Provider, variables_only


def test_every_operation_succeeds_in_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "PAGE", 5)
    cells, notes = column(PROVIDERS[0])
    assert notes == []
    assert {name.name: cell for name, cell in zip(OPERATIONS, cells, strict=True) if cell != "ok"} == {
        "conditional writes": "honoured",
        "a signed URL": "-",
        "versions erased": "-",
    }


def test_a_server_that_cannot_start_is_skipped_with_its_reason() -> None:
    @contextlib.contextmanager
    def start(folder: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
        raise CannotStart("there is no such program")
        yield "", {}

    cells, notes = column(Provider("none", start))
    assert set(cells) == {"skipped"}
    assert notes == ["skipped: there is no such program"]


def test_a_failure_is_named(tmp_path: Path) -> None:
    def run(url: str) -> str:
        raise operations.WrongAnswer(f"{url} is odd")

    assert outcome(Operation("look", run), "s3://b") == ("FAILED", "look: s3://b is odd")


def test_the_table_has_a_row_for_each_operation() -> None:
    lines = table({"one": ["ok"] * len(OPERATIONS), "two": ["-"] * len(OPERATIONS)}).splitlines()
    assert lines[0] == "|  | one | two |"
    assert lines[2] == f"| {OPERATIONS[0].name} | ok | - |"
    assert len(lines) == len(OPERATIONS) + 2


def test_a_server_sees_none_of_the_user_s_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("S3_BUCKET", "mine")
    with variables_only({"AWS_REGION": "there"}):
        assert (os.environ.get("AWS_PROFILE"), os.environ.get("S3_BUCKET"), os.environ["AWS_REGION"]) == (
            None,
            None,
            "there",
        )
    assert (os.environ["AWS_PROFILE"], "AWS_REGION" in os.environ) == ("mine", False)
