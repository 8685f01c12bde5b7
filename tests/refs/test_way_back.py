"""The way back along a ref's history, for any history: what was rolled back is no longer on it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cas.refs.history import step_back, way_back

LOGS = st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=12)


@pytest.mark.parametrize(
    ("log", "steps", "back"),
    [
        ("", "", None),
        ("a", "a", None),
        ("ab", "ab", "a"),
        ("abc", "abc", "b"),
        ("abcb", "ab", "a"),
        ("abcba", "a", None),
        ("aab", "ab", "a"),
        ("abca", "abca", "c"),
        ("abcbd", "abd", "b"),
        ("-", "-", None),
        ("a-", "a-", "a"),
        ("a-a", "a", None),
        ("ab-", "ab-", "b"),
        ("ab-b", "ab", "a"),
        ("a-b", "a-b", "a"),
        ("a-ba", "a", None),
        ("a-b-", "a-b-", "b"),
        ("ab-a", "ab-a", "b"),
        ("ab-ab", "ab", "a"),
        ("-a", "-a", None),
        ("a--", "a-", "a"),
    ],
)
def test_the_way_back(log: str, steps: str, back: str | None) -> None:
    values = [None if value == "-" else value for value in log]
    assert "".join(value or "-" for value in way_back(values)) == steps
    assert step_back(values) == back


@pytest.mark.parametrize(
    ("log", "published", "steps", "back"),
    [
        ("aba", (0, 1, 2), "aba", "b"),
        ("abab", (0, 1, 2), "ab", "a"),
        ("abab", (0, 1, 2, 3), "abab", "a"),
        ("aba", (0, 1), "a", None),
        ("aa", (0, 1), "a", None),
        ("a-a", (0, 2), "a", None),
        ("ab-a", (0, 1, 3), "ab-a", "b"),
    ],
)
def test_what_is_published_again_is_a_step_forward(
    log: str, published: tuple[int, ...], steps: str, back: str | None
) -> None:
    values = [None if value == "-" else value for value in log]
    assert "".join(value or "-" for value in way_back(values, published)) == steps
    assert step_back(values, published) == back


@given(LOGS)
def test_the_last_move_is_the_end_of_the_way(log: list[str | None]) -> None:
    assert way_back(log)[-1:] == log[-1:]


@given(LOGS, st.sampled_from(["a", "b", "new", None]))
def test_a_rollback_after_any_log_restores_the_version_before(log: list[str | None], move: str | None) -> None:
    assume(log and log[-1] is not None and move != log[-1])
    assume(move is None or move != step_back(log))  # which would be a step back itself
    moved = [*log, move]
    assert step_back(moved) == log[-1]
    assert way_back([*moved, log[-1]]) == way_back(log)


@given(LOGS)
def test_rollbacks_walk_back_along_the_way_and_end(log: list[str | None]) -> None:
    walked, moves = [], list(log)
    while (back := step_back(moves)) is not None:
        walked.append(back)
        moves.append(back)
        assert len(walked) <= len(log)
    assert walked == [value for value in reversed(way_back(log)[:-1]) if value is not None]
    assert all(before != after for before, after in pairwise(walked))
