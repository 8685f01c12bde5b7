"""The SDK's own loop as the worker runs it: how it ends when it is told to, and when the GPU is broken."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import until
from tests.worker.jobs.test_handler import GOOD
from tools.servers.process import spawn
from tools.servers.runpod_platform import Job, Platform, Status

ROOT = Path(__file__).parents[3]
ENDPOINT = "tones"
HARNESS = 60  # seconds, after which a wait is given up: nothing here takes as long


class Worker:
    """A worker with a small speaker, `stream` or `whole`."""

    def __init__(self, python: Path, platform: Platform, folder: Path, kind: str) -> None:
        self.released, self._log = folder / "released", folder / "log"
        command = [str(python), "-m", "tests.worker.jobs.tone_worker", kind, str(self.released)]
        variables = {**platform.env("pod", ENDPOINT), "PYTHONPATH": str(ROOT), "RUNPOD_DEBUG_LEVEL": "INFO"}
        self.process: subprocess.Popen[bytes] = spawn(command, self._log, variables)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ends(self) -> int:
        """The exit code."""
        return self.process.wait(timeout=HARNESS)


@pytest.fixture
def platform() -> Iterator[Platform]:
    """It answers a worker's request for a job, or for what to stop, when there is one, and never before."""
    with Platform(poll_seconds=3600) as made:
        yield made


@pytest.fixture
def start(worker_python: Path, platform: Platform, tmp_path: Path) -> Iterator[Callable[[str], Worker]]:
    started: list[Worker] = []

    def begin(kind: str) -> Worker:
        started.append(Worker(worker_python, platform, tmp_path, kind))
        return started[-1]

    yield begin
    for worker in started:
        worker.process.kill()
        worker.process.wait()


def asks(platform: Platform) -> int:
    """How often a worker has asked for a job."""
    return sum("/job-take/" in path for _, path in platform.requests)


def text(platform: Platform, words: str) -> Job:
    return platform.submit(ENDPOINT, {**GOOD, "text": words})


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_a_broken_gpu_ends_the_worker_whatever_kind_of_handler_met_it(
    kind: str, start: Callable[[str], Worker], platform: Platform
) -> None:
    worker = start(kind)
    good = platform.wait(text(platform, "Two words."), HARNESS)
    assert good.status is Status.COMPLETED and good.result is not None and "stopPod" not in good.result
    broken, following = text(platform, "broken"), text(platform, "Two words.")
    platform.wait(broken, HARNESS)
    assert broken.result == {"error": "the GPU failed (why): send the job again", "stopPod": True}
    assert worker.ends() == 0, worker.log
    assert following.status is Status.IN_QUEUE, "another worker may answer it"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "at work"])
def test_a_worker_that_is_told_to_end_does_not_wait_for_the_platform(
    busy: bool, start: Callable[[str], Worker], platform: Platform
) -> None:
    worker = start("whole")
    if busy:
        job = text(platform, "wait")
        until(lambda: job.id in worker.log and "Started." in worker.log, HARNESS)
    else:
        until(lambda: asks(platform), HARNESS)
    worker.process.terminate()
    if busy:
        until(lambda: "told to end" in worker.log, HARNESS)
        late = text(platform, "Two words.")
        worker.released.touch()
        assert platform.wait(job, HARNESS).status is Status.COMPLETED, "what was begun is answered"
    assert worker.ends() == 0, worker.log
    assert "Traceback" not in worker.log and "ERROR" not in worker.log, worker.log
    assert not busy or late.status is Status.IN_QUEUE, worker.log


@pytest.mark.timeout(120)
def test_a_job_that_the_platform_gives_out_just_then_is_answered(
    start: Callable[[str], Worker], platform: Platform
) -> None:
    worker = start("whole")
    until(lambda: asks(platform), HARNESS)
    worker.process.send_signal(signal.SIGSTOP)  # for the worker both happen at once
    job = text(platform, "Two words.")
    assert platform.jobs.until(lambda: job.status is Status.IN_PROGRESS, HARNESS)
    worker.process.terminate()
    worker.process.send_signal(signal.SIGCONT)
    assert platform.wait(job, HARNESS).status is Status.COMPLETED, worker.log
    assert worker.ends() == 0, worker.log
