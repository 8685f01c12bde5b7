"""A worker that cannot start says why: to the platform, and to the senders of jobs that no worker could answer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.errors import SignatureError
from tests.worker.station import ROOT
from tools.servers.process import spawn
from tools.servers.runpod_platform import Platform, Status
from worker.boot import unfit

ENDPOINT = "broken"


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform(poll_seconds=1) as made:
        yield made


def started(python: Path, platform: Platform, folder: Path, **variables: str) -> tuple[int, str]:
    """The exit code and the log of the real worker."""
    log = folder / "log"
    environment = {**platform.env("pod", ENDPOINT), "PYTHONPATH": str(ROOT), "HOME": str(folder), **variables}
    worker = spawn([str(python), "-m", "worker"], log, environment)
    try:
        return worker.wait(timeout=90), log.read_text()
    finally:
        worker.kill()


@pytest.mark.timeout(120)
def test_what_no_worker_of_the_endpoint_can_do_is_said_to_all_who_wait(
    worker_python: Path, platform: Platform, tmp_path: Path
) -> None:
    jobs = [platform.submit(ENDPOINT, {"text": "Hello."}) for _ in range(2)]
    code, log = started(worker_python, platform, tmp_path, CAS_FALLBACK="sometimes")
    why = "CAS_FALLBACK is 'sometimes': write bytes, hub or none, or leave it unset"
    assert code == 2, log
    assert platform.jobs.unfit == [("pod", "boot_of_the_worker", f"CannotStart: exit code 2: {why}")]
    for job in jobs:
        assert job.status is Status.FAILED, log
        assert job.error == (
            f"no worker of this endpoint can start: {why} (exit code 2): correct that, then send the job again"
        )


@pytest.mark.timeout(120)
def test_what_nobody_signed_is_said_to_all_who_wait(worker_python: Path, platform: Platform, tmp_path: Path) -> None:
    """The process that the worker starts, alone: how a boot ends so is tested where the worker reads refs."""
    why = "no model: f5-tts:latest in s3://b: entry 2 has no signature"
    job = platform.submit(ENDPOINT, {"text": "Hello."})
    environment = {**os.environ, **platform.env("pod", ENDPOINT), "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    command = [str(worker_python), "-m", "worker.boot.unfit", str(SignatureError.exit_code), why]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        try:
            assert child.stdout
            log = child.stdout.read()
        finally:
            child.kill()
    assert platform.jobs.unfit == [("pod", "boot_of_the_worker", f"CannotStart: exit code 8: {why}")], log
    assert job.error == (
        f"no worker of this endpoint can start: {why} (exit code 8): correct that, then send the job again"
    )


@pytest.mark.timeout(120)
def test_what_may_be_this_machines_fault_leaves_the_jobs_to_others(
    worker_python: Path, platform: Platform, tmp_path: Path
) -> None:
    job = platform.submit(ENDPOINT, {"text": "Hello."})
    code, log = started(worker_python, platform, tmp_path, CAS_CACHE_DIRS="/proc/models")
    assert code == 7, log
    ((_, _, reason),) = platform.jobs.unfit
    assert reason.startswith("CannotStart: exit code 7: no model: no directory of CAS_CACHE_DIRS can be used; /proc")
    assert (job.status, job.takes) == (Status.IN_QUEUE, 0)


@pytest.mark.parametrize("missing", ["RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_WEBHOOK_PING", "RUNPOD_AI_API_KEY"])
def test_nothing_is_started_where_there_is_no_platform(
    missing: str, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in platform.env("pod", ENDPOINT).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    monkeypatch.setattr("worker.boot.process.start", None)
    unfit.report("why", 2)
