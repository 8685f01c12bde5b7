"""Many jobs at once, good and bad: every one is answered, and the worker does not grow."""

from __future__ import annotations

import os

import pytest

from tests.worker.station import HURRIED
from tools.deployment import ENDPOINT, JOB, Deployment
from tools.servers.runpod_platform import Job, Platform

MIB = 1 << 20
_GROWTH = 48 * MIB

_MALFORMED = (
    {},
    {**JOB, "text": ""},
    {**JOB, "ref_text": "  "},
    {**JOB, "ref_audio": "bm8gYXVkaW8="},
    {**JOB, "ref_audio": "https://127.0.0.1/voice.wav"},
    {**JOB, "voice": "nobody", "ref_audio": None, "ref_text": None},
    {**JOB, "nfe_step": "many"},
    {**JOB, "colour": "blue"},
    {**JOB, "text": "x" * 6000},
    ["a list"],
)


@pytest.mark.timeout(600)
def test_fifty_jobs_at_once_are_all_answered_and_two_hundred_cost_no_memory(deployment: Deployment) -> None:
    platform = deployment.platform
    worker = deployment.start(PYTHONPATH=f"{HURRIED}{os.pathsep}{os.environ['PYTHONPATH']}")
    _answered(platform, [platform.submit(ENDPOINT, {**JOB, "text": "Hm."}) for _ in range(10)])
    jobs = [
        platform.submit(
            ENDPOINT, _MALFORMED[number // 5] if number % 5 == 0 else {**JOB, "text": "Hm.", "seed": number}
        )
        for number in range(50)
    ]
    _answered(platform, jobs)
    for number, job in enumerate(jobs):
        bad = number % 5 == 0
        assert job.status == ("FAILED" if bad else "COMPLETED"), job
        if bad:
            assert isinstance(job.error, str) and "Traceback" not in job.error
        else:
            assert job.output["seed"] == number
    before = _resident(worker.pid)
    for _ in range(3):
        _answered(platform, [platform.submit(ENDPOINT, {**JOB, "text": "Hm."}) for _ in range(50)])
    assert worker.poll() is None
    assert _resident(worker.pid) - before < _GROWTH


def _answered(platform: Platform, jobs: list[Job]) -> None:
    for job in jobs:
        platform.wait(job, 300)


def _resident(pid: int) -> int:
    """Bytes of a process and its children, of which the worker itself is the largest."""
    found = 0
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                found = int(line.split()[1]) * 1024
    return found
