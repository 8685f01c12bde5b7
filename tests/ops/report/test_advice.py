"""What to fix first: each rule finds what was put into a fleet, counts what can be saved, and else keeps silent."""

from __future__ import annotations

import pytest

from cas.ops.report.advice import FEWEST, Advice, advice
from cas.ops.report.phases import Span
from cas.ops.report.starts import Start
from tests.ops.report.made_starts import of_fleet, start


def rules(starts: list[Start]) -> dict[str, Advice]:
    return {one.rule: one for one in advice(starts)}


def test_starts_that_are_all_alike_are_left_alone() -> None:
    assert advice([start(number, host=f"pod-{number}") for number in range(20)]) == ()


def test_a_slow_place_is_told_with_the_seconds_beyond_those_of_the_fastest() -> None:
    fast = [
        start(n, host=f"a{n}", datacenter="EU-1", spans=(Span("fetch", 0, 1.0),), seconds=1.0) for n in range(FEWEST)
    ]
    slow = [start(9 + n, host=f"b{n}", datacenter="US-1") for n in range(FEWEST)]
    found = rules([*fast, *slow])["slow place"]
    assert "US-1" in found.title
    assert found.starts == FEWEST
    assert found.seconds == pytest.approx(3.0 * FEWEST)
    assert not found.at_most
    assert "slow place" not in rules([*fast, *slow[1:]])


def test_places_are_compared_by_the_same_version() -> None:
    fast = [start(n, host=f"a{n}", spans=(Span("fetch", 0, 1.0),), seconds=1.0, version="n@b") for n in range(9)]
    slow = [start(9 + n, host=f"b{n}", datacenter="US-1") for n in range(9)]
    assert "slow place" not in rules([*fast, *slow])


def test_what_a_machine_fetched_again_is_told_with_the_seconds_in_which_only_that_happened() -> None:
    boots = [start(n, spans=(Span("imports", 0, 1.0), Span("fetch", 0, 4.0))) for n in range(FEWEST + 1)]
    found = rules(boots)["fetched again"]
    assert (found.starts, found.seconds) == (FEWEST, 3.0 * FEWEST)
    assert "fetched again" not in rules(boots[1:])


def test_a_slow_machine_is_told_beside_its_neighbours() -> None:
    usual = [start(n, host=f"pod-{n}") for n in range(20)]
    slow = [start(30 + n, host="old-disk", seconds=9.0) for n in range(FEWEST)]
    found = rules([*usual, *slow])["slow machine"]
    assert found.title.startswith("old-disk starts in 9.0 s")
    assert found.seconds == pytest.approx(5.0 * FEWEST)


def test_a_version_that_starts_slower_than_the_one_before_is_told() -> None:
    old = [start(n, host=f"a{n}") for n in range(FEWEST)]
    new = [start(9 + n, host=f"b{n}", version="m@bbbbbbbbbbbb", seconds=6.0) for n in range(FEWEST)]
    found = rules([*old, *new])["slower version"]
    assert found.seconds == pytest.approx(2.0 * FEWEST)
    assert "cas diff m@aaaaaaaaaaaa m@bbbbbbbbbbbb" in found.text


def test_a_phase_with_a_large_share_is_told_as_a_bound_after_what_can_be_reached() -> None:
    some = [start(n, host=f"a{n}", spans=(Span("fetch", 0, 1.0), Span("load", 1, 3.0))) for n in range(FEWEST)]
    failed = start(99, error="DiskFull", message="no room", seconds=1.0)
    found = advice([*some, failed])
    assert [(one.rule, one.at_most) for one in found] == [("failures", False), ("phase", True)]
    assert found[1].seconds == pytest.approx(3.0 * FEWEST)


def test_seconds_without_a_name_are_told_without_a_promise() -> None:
    some = [start(n, host=f"a{n}", spans=(Span("fetch", 0, 3.0),)) for n in range(FEWEST)]
    found = rules(some)["no name"]
    assert found.seconds is None
    assert "cas.phase" in found.text


def test_a_made_up_fleet_has_all_that_was_put_into_it() -> None:
    found = rules(list(of_fleet(2000)))
    assert set(found) == {
        "failures", "slow place", "fetched again", "slow machine", "slower version", "phase", "no name",
    }  # fmt: skip
    assert "EU-RO-1" in found["slow place"].title
    assert "batch" in found["no name"].title
