"""Several people move one ref at once: with --expect exactly one succeeds, and all others are told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cas.errors import RefMoved
from cas.parallel import for_each
from cas.refs import history
from cas.refs import move as moving
from cas.refs.reflog import UNSET, Move, Ref, RefLog
from tests.refs.conftest import Desk, stock

OPERATORS = 16


@pytest.fixture(params=["directory", "s3"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    url = str(tmp_path / "store") if request.param == "directory" else request.getfixturevalue("s3_url")
    return stock(url, tmp_path)


def at_once(desk: Desk, calls: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
    """Run all calls at the same time, each in a process of its own, and return their exit codes and standard errors."""
    begun = [
        subprocess.Popen(
            [sys.executable, "-m", "cas", "-q", *words],
            env={**os.environ, "CAS_STORE": desk.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in calls
    ]
    return [(process.wait(), error) for process in begun for error in [process.communicate(timeout=120)[1]]]


def test_of_many_operators_who_expect_the_same_one_succeeds(desk: Desk) -> None:
    before = len(desk.log("m").names())
    calls = [
        ["tag", desk.exact(number % 2), "latest", "--expect", desk.versions[2], "--by", f"operator {number}"]
        for number in range(OPERATORS)
    ]
    ended = at_once(desk, calls)
    assert sorted(code for code, _ in ended) == [0] + [6] * (OPERATORS - 1), ended
    assert all("m:latest was moved to" in error for code, error in ended if code == 6)
    (winner,) = (number for number, (code, _) in enumerate(ended) if code == 0)
    entry = desk.log("m").current()
    assert entry is not None
    assert (entry.digest, entry.by) == (desk.versions[winner % 2], f"operator {winner}")
    assert len(desk.log("m").names()) == before + 1


@pytest.mark.parametrize("removed", [False, True])
def test_of_many_who_expect_nothing_one_succeeds(desk: Desk, removed: bool) -> None:
    store, ref = desk.store, Ref("pins", "eu", "m")
    if removed:
        for digest in (desk.versions[2], None):
            RefLog(store, ref).append(digest, "test")
    expected = moving.expected_move(store, ref, "none")
    assert (expected is UNSET) is not removed
    succeeded, refused = race(desk, ref, expected)
    assert (len(succeeded), len(refused)) == (1, OPERATORS - 1)
    entry = RefLog(store, ref).current()
    assert entry is not None
    assert entry.by == succeeded[0]


def race(desk: Desk, ref: Ref, expected: Move) -> tuple[list[str], list[str]]:
    """Let all operators move the ref at once; return who succeeded, and who was refused."""
    succeeded: list[str] = []
    refused: list[str] = []

    def move(number: int) -> None:
        by = f"operator {number}"
        try:
            moving.move(desk.store, {ref: expected}, desk.versions[number % 2], "race", by)
        except RefMoved:
            refused.append(by)
        else:
            succeeded.append(by)

    for_each(move, range(OPERATORS), threads=OPERATORS)
    return succeeded, refused


def test_two_rollbacks_at_once_go_one_step_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[RefMoved] = []
    real = moving.move

    def interrupted(*given: object, **options: object) -> tuple[Ref, ...]:
        monkeypatch.setattr(moving, "move", real)
        history.rollback(desk.store, "m", by="the other")
        return real(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(moving, "move", interrupted)
    try:
        history.rollback(desk.store, "m", by="this one")
    except RefMoved as error:
        told.append(error)
    assert [error.exit_code for error in told] == [6]
    entry = desk.log("m").current()
    assert entry is not None
    assert (entry.digest, entry.by) == (desk.versions[1], "the other")
