"""The figures of a report: each second counts once, percentiles are values that occurred, sums are the receipts'."""

from __future__ import annotations

import datetime

import msgspec
import pytest

from cas.formats.digest import named
from cas.host import Host
from cas.ops.report.failures import causes
from cas.ops.report.figures import Report, figures
from cas.ops.report.phases import UNNAMED, Span, mean_phases, seconds_alone
from cas.ops.report.spread import Timeline, groups, percentile, spread
from cas.ops.report.starts import DIMENSIONS, start_of
from cas.ops.report.traffic import fetched_again, traffic
from cas.store.fetch import Second
from cas.store.receipt import Bytes, Failure, PhaseTime, Receipt
from tests.ops.report.made_starts import NOW, of_fleet, start


def test_a_second_counts_for_the_phase_that_began_last() -> None:
    inner = start(spans=(Span("load", 0.0, 3.0), Span("compile", 1.0, 1.0)), seconds=3.0)
    assert inner.by_phase == {"load": 2.0, "compile": 1.0}


def test_waiting_counts_only_where_nothing_else_is_under_way() -> None:
    boot = start(
        spans=(Span("fetch", 0.0, 3.0), Span("wait", 1.0, 3.0), Span("early.load", 2.0, 2.0), Span("load", 4.0, 1.0)),
        seconds=5.0,
    )
    assert boot.by_phase == {"fetch": 3.0, "early.load": 1.0, "load": 1.0}


def test_seconds_that_no_phase_covers_have_no_name_and_the_sum_is_the_wall_time() -> None:
    gaps = start(spans=(Span("fetch", 1.0, 1.0), Span("load", 3.0, 9.0)), seconds=5.0)
    assert gaps.by_phase == {UNNAMED: 2.0, "fetch": 1.0, "load": 2.0}
    for one in of_fleet(50):
        assert sum(one.by_phase.values()) == pytest.approx(one.seconds)


def test_what_a_start_would_save_without_a_phase_is_the_time_when_only_that_was_under_way() -> None:
    boot = start(spans=(Span("imports", 0.0, 1.0), Span("fetch", 0.5, 2.0), Span("wait", 1.0, 1.5)), seconds=2.5)
    assert seconds_alone(boot, "fetch") == 1.5


def test_means_are_of_the_starts_that_succeeded() -> None:
    some = [start(0, seconds=4.0), start(1, seconds=2.0, spans=(Span("load", 0, 2.0),)), start(2, error="DiskFull")]
    assert mean_phases(some) == {"fetch": 2.0, "load": 1.0}
    assert mean_phases([some[2]]) == {}


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([], 50) is None
    assert percentile([1.0, 2.0], 50) == 1.0
    assert percentile([float(number) for number in range(1, 101)], 95) == 95.0
    assert percentile([1.0, 2.0, 3.0], 95) == 3.0


def test_failed_starts_are_counted_beside_the_seconds_of_the_others() -> None:
    found = spread([start(0, seconds=1.0), start(1, seconds=3.0), start(2, seconds=60.0, error="StoreError")])
    assert (found.starts, found.failed, found.p50, found.p95, found.max) == (3, 1, 1.0, 3.0, 3.0)


def test_groups_of_each_dimension_hold_every_start_in_its_interval() -> None:
    some = of_fleet(300)
    timeline = Timeline(some)
    found = groups(some, timeline)
    assert set(found) == set(DIMENSIONS)
    assert timeline.unit == "day"
    for dimension in found.values():
        assert sum(group.starts for group in dimension) == 300
        counted = [one.starts for group in dimension for one in group.over_time if one]
        assert sum(counted) == 300


def test_two_days_are_shown_by_the_hour() -> None:
    timeline = Timeline([start(0), start(125)])
    assert timeline.unit == "hour"
    assert [len(some) for some in timeline.split([start(0), start(125)])] == [1, 0, 1]


def test_a_machine_that_fetches_a_version_again_is_counted() -> None:
    first, again, other = start(0), start(1), start(2, host="pod-2")
    warm = start(3, sources={"present": 1000})
    failed, after_failure = start(4, host="pod-3", error="DiskFull"), start(5, host="pod-3")
    found = fetched_again([first, again, other, warm, failed, after_failure])
    assert found == [again]
    told = traffic([first, again, warm], Timeline([first, again, warm]))
    assert (told.again, told.again_starts, told.sources) == (1000, 1, {"store": 2000, "present": 1000})


def test_failures_of_one_cause_differ_in_numbers_and_digests_alone() -> None:
    some = [
        start(0, error="DiskFull", message="1.5 GB are needed", seconds=1.0),
        start(1, error="DiskFull", message="2.5 GB are needed", seconds=2.0, deployment="us"),
        start(2, error="ChunkCorrupt", message="chunk 0123456789ab is damaged", seconds=5.0),
        start(3),
    ]
    first, second = causes(some)
    assert (first.kind, first.starts, first.seconds, first.deployments) == ("DiskFull", 2, 3.0, ("eu", "us"))
    assert first.message == "2.5 GB are needed"
    assert second.kind == "ChunkCorrupt"


def test_a_start_keeps_what_its_receipt_says() -> None:
    receipt = Receipt(
        manifest=named("ab" * 32),
        model="minilm",
        deployment="eu-prod",
        reason="pin",
        when="2026-11-28T12:00:00Z",
        seconds=3.0,
        ok=False,
        error=Failure("DiskFull", "no room"),
        phases=(PhaseTime("python", 0.5, -0.5), PhaseTime("fetch", 2.0, 0.5)),
        bytes=Bytes(
            total=10,
            present=None,
            fetched=6,
            source="CDN",
            wire=5,
            reused=4,
            reused_from={"https://huggingface.co": 3, "/runpod-volume": 1},
        ),
        second_requests=Second(3, 2, 7),
        rate=1.0,
        host=Host(hostname="h", cores=1, memory=None, kernel="", python="", gpus=("L4", "L4"), datacenter=None),
        versions={},
    )
    found = start_of("id", receipt)
    assert (found.version, found.gpu, found.datacenter, found.host) == (
        "minilm@abababababab",
        "2 x L4",
        "not told",
        "h",
    )
    assert found.seconds == pytest.approx(3.5)
    assert found.at == datetime.datetime(2026, 11, 28, 11, 59, 59, 500_000, datetime.UTC)
    assert found.spans == (Span("python", 0.0, 0.5), Span("fetch", 1.0, 2.0))
    assert (found.error, found.message, found.temperature) == ("DiskFull", "no room", "failed")
    assert (found.sources, found.wire, found.twice) == (
        {"CDN": 6, "hub": 3, "this machine": 1},
        5,
        7,
    )


def test_a_receipt_without_beginnings_keeps_its_wall_time() -> None:
    """Version 0.1.0 wrote none, and the phases of a boot overlap: laid end to end, they are longer than the boot."""
    receipt = next(iter(fleet_receipts()))
    old = msgspec.structs.replace(
        receipt, seconds=4.0, phases=tuple(PhaseTime(phase.name, phase.seconds) for phase in receipt.phases)
    )
    assert start_of("id", old).seconds == 4.0


def fleet_receipts() -> list[Receipt]:
    from tools import fleet

    return list(fleet.receipts(1, until=NOW))


def test_a_report_is_a_document_that_says_the_same_when_it_is_read_again() -> None:
    made = figures(of_fleet(200), store="s", made=NOW, since=NOW - datetime.timedelta(days=30))
    data = msgspec.json.encode(made)
    assert msgspec.json.decode(data, type=Report) == made
    assert made.all.starts == 200
    assert {kind for one in made.starts for kind in one.kinds} == {"slowest", "typical", "newest", "failed"}
    assert [one.seconds for one in made.starts] == sorted((one.seconds for one in made.starts), reverse=True)


def test_a_report_without_starts_has_no_figures_and_no_advice() -> None:
    made = figures([], store="s", made=NOW, since=NOW)
    assert (made.all.starts, made.all.p50, made.intervals, made.advice, made.starts) == (0, None, (), (), ())
