"""The SDK's fitness checks are a phase of the boot: begun before the first of them, ended by the last."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from worker.boot import fitness
from worker.boot.cold_start import Phases

PLATFORM = {"RUNPOD_WEBHOOK_GET_JOB": "https://host/job-take/$ID"}


def run(checks: list[Callable[[], None]]) -> None:
    """As runpod 1.12 does: its own checks come behind the registered ones; one that fails ends the process."""
    for check in checks:
        check()


def test_the_last_check_ends_the_phase() -> None:
    checks: list[Callable[[], None]] = []
    phases, done = Phases(), []
    fitness.measure(checks.append, phases, lambda: done.append([step.name for step in phases.steps()]))
    checks.append(lambda: done.append("the SDK's own"))
    run(checks)
    assert done == ["the SDK's own", ["fitness"]]


def test_a_check_that_fails_ends_nothing() -> None:
    checks: list[Callable[[], None]] = []
    phases, done = Phases(), []
    fitness.measure(checks.append, phases, lambda: done.append("ready"))

    def full() -> None:
        raise OSError("the disk is full")

    checks.append(full)
    with pytest.raises(OSError, match="full"):
        run(checks)
    assert (done, phases.steps()) == ([], [])


@pytest.mark.parametrize(
    ("environ", "words", "are_run"),
    [
        (PLATFORM, ["worker"], True),
        ({**PLATFORM, "RUNPOD_REALTIME_PORT": "0"}, ["worker", "--rp_log_level", "INFO"], True),
        ({}, ["worker"], False),
        ({**PLATFORM, "RUNPOD_REALTIME_PORT": "8000"}, ["worker"], False),
        (PLATFORM, ["worker", "--rp_serve_api", "--rp_api_port", "8000"], False),
        (PLATFORM, ["worker", "--test_input", "{}"], False),
    ],
)
def test_only_a_worker_of_the_platforms_queue_has_checks(
    environ: dict[str, str], words: list[str], are_run: bool
) -> None:
    assert fitness.are_run(environ, words) is are_run
