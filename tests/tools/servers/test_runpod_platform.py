"""The real RunPod SDK against the local platform: its worker loop in one process, its client in another."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tools.servers.process import spawn
from tools.servers.runpod_platform import Platform, Status

WORKER = """
import asyncio, sys
import runpod

async def plain(job):
    given = job["input"]
    if "progress" in given:
        runpod.serverless.progress_update(job, given["progress"])
        await asyncio.sleep(given.get("seconds", 0))
    if "raise" in given:
        raise ValueError(given["raise"])
    if "wait" in given:
        runpod.serverless.progress_update(job, "waiting")
        try:
            await asyncio.sleep(600)
        finally:
            open(given["wait"], "w").close()
    return given.get("return")

async def generator(job):
    for piece in job["input"]["pieces"]:
        if piece == "fail":
            raise ValueError("no more pieces")
        yield {"piece": piece}

if __name__ == "__main__":
    handler = {"plain": plain, "generator": generator}[sys.argv.pop()]
    runpod.serverless.start({"handler": handler, "return_aggregate_stream": True})
"""

CLIENT = """
import json, os, sys
import runpod

def endpoint(name, key=os.environ["RUNPOD_API_KEY"]):
    return runpod.Endpoint(name, api_key=key)

said = []
exec(sys.argv[1])
print(json.dumps(said))
"""


@dataclass
class Local:
    """A platform and what starts the SDK beside it."""

    platform: Platform
    python: Path
    folder: Path

    def worker(self, pod: str, endpoint: str, handler: str = "plain") -> "subprocess.Popen[bytes]":
        """Start a worker; its log is `<pod>.log`."""
        script = self.folder / "worker.py"
        script.write_text(WORKER)
        command = [str(self.python), "-u", str(script), handler]
        return spawn(command, self.folder / f"{pod}.log", self.platform.env(pod, endpoint))

    def client(self, code: str) -> Any:
        """Run code that calls `endpoint(name)` and appends to `said`, and return that."""
        command = [str(self.python), "-c", CLIENT, code]
        env = {**os.environ, **self.platform.client_env()}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def wait_for_progress(self, job_id: str) -> None:
        """Until the job's handler has told its first progress."""
        job = self.platform.jobs.get(job_id)
        assert job is not None
        assert self.platform.jobs.until(lambda: bool(job.progress), 60)


def kill(worker: "subprocess.Popen[bytes]") -> None:
    """Kill a worker as its container's end does: with the process from which its SDK pings, which would outlive it."""
    listed = Path(f"/proc/{worker.pid}/task").glob("*/children")
    children = [int(child) for children in listed for child in children.read_text().split()]
    worker.kill()
    worker.wait(60)
    for child in children:
        os.kill(child, signal.SIGKILL)


@pytest.fixture(scope="module")
def local(reference_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """With a worker for `plain` and one for `generator`."""
    with Platform(poll_seconds=1) as platform:
        local = Local(platform, reference_python, tmp_path_factory.mktemp("platform"))
        workers = [local.worker("pod-p", "plain"), local.worker("pod-g", "generator", "generator")]
        yield local
        for worker in workers:
            worker.terminate()
        assert [worker.wait(60) for worker in workers] == [0, 0]


def test_a_client_gets_what_the_handler_returns(local: Local) -> None:
    said = local.client("""
plain = endpoint("plain")
said.append(plain.run_sync({"return": {"sum": 3}}))
job = plain.run({"return": "später"})
said += [job.job_id, job.output(timeout=60), job.status()]
""")
    assert said[0] == {"sum": 3}
    assert said[2:] == ["später", "COMPLETED"]
    job = local.platform.jobs.get(said[1])
    assert job is not None
    assert (job.input, job.worker, job.takes) == ({"return": "später"}, "pod-p", 1)
    assert {"delayTime", "executionTime", "workerId"} <= job.view().keys()


def test_progress_is_seen_until_the_result_is_there(local: Local) -> None:
    job = local.platform.submit("plain", {"progress": {"percent": 50}, "seconds": 0.5, "return": "done"})
    assert local.platform.jobs.until(lambda: bool(job.progress), 60)
    local.platform.wait(job)
    assert (job.progress, job.output) == ([{"percent": 50}], "done")


def test_errors_are_strings_and_the_worker_lives_on(local: Local) -> None:
    returned, raised, listed, well = [
        local.platform.wait(local.platform.submit("plain", given))
        for given in (
            {"return": {"error": "text is empty"}},
            {"raise": "deep trouble"},
            {"return": {"error": ["one", "two"]}},
            {"return": 1},
        )
    ]
    assert (returned.status, returned.view()["error"]) == (Status.FAILED, "text is empty")
    assert (raised.status, json.loads(raised.error)["error_message"]) == (Status.FAILED, "deep trouble")
    assert (listed.status, listed.error) == (Status.FAILED, "`error` must be a string, not list")
    assert (well.status, well.output, well.worker) == (Status.COMPLETED, 1, "pod-p")


def test_a_generator_is_streamed_and_aggregated(local: Local) -> None:
    said = local.client("""
job = endpoint("generator").run({"pieces": ["a", "b", "c"]})
said += [list(job.stream()), job.output()]
job = endpoint("generator").run({"pieces": ["a", "fail"]})
said += [list(job.stream()), job.status(), job.job_id]
""")
    pieces = [{"piece": "a"}, {"piece": "b"}, {"piece": "c"}]
    assert said[:2] == [pieces, pieces]
    assert said[2:4] == [pieces[:1], "FAILED"]
    failed = local.platform.jobs.get(said[4])
    assert failed is not None
    assert failed.error.startswith("handler: no more pieces")


def test_cancel_reaches_the_handler_and_the_queue(local: Local, tmp_path: Path) -> None:
    mark = tmp_path / "stopped"
    job = local.platform.submit("plain", {"wait": str(mark)})
    queued = local.platform.submit("plain", {"return": "never"})
    local.wait_for_progress(job.id)
    said = local.client(f"""
for job_id in {[queued.id, job.id]!r}:
    job = runpod.endpoint.Job("plain", job_id, endpoint("plain").rp_client)
    said += [job.cancel()["status"], job.status()]
said.append(endpoint("plain").run_sync({{"return": "next"}}))
""")
    assert said == ["CANCELLED"] * 4 + ["next"]
    assert mark.exists()  # one job at a time: the handler had ended when the next one was answered
    assert (queued.takes, job.result) == (0, None)


def test_health_counts_jobs_and_workers(local: Local) -> None:
    local.platform.wait(local.platform.submit("generator", {"pieces": []}))
    local.platform.submit("nobody", {})
    busy, idle = local.client("said += [endpoint('nobody').health(), endpoint('generator').health()]")
    assert busy == {
        "jobs": {"completed": 0, "failed": 0, "inProgress": 0, "inQueue": 1, "retried": 0},
        "workers": {"idle": 0, "running": 0},
    }
    assert idle["workers"] == {"idle": 1, "running": 0}


def test_a_wrong_key_and_a_large_body_are_refused(local: Local) -> None:
    said = local.client("""
for key, size in (("wrong", 1), (os.environ["RUNPOD_API_KEY"], 10_000_000)):
    try:
        endpoint("nobody", key).run({"text": "x" * size})
    except Exception as error:
        said.append([type(error).__name__, str(error)])
""")
    assert (said[0][0], said[0][1][:16]) == ("RuntimeError", "401 Unauthorized")
    assert (said[1][0], said[1][1][:3]) == ("HTTPError", "400")


def test_the_jobs_of_a_worker_that_was_killed_go_to_another(local: Local, tmp_path: Path) -> None:
    first = local.worker("pod-k1", "fragile")
    job = local.platform.submit("fragile", {"wait": str(tmp_path / "stopped")})
    local.wait_for_progress(job.id)
    assert local.platform.jobs.until(lambda: ("pod-k1", [job.id]) in local.platform.jobs.pings, 60)
    kill(first)
    local.platform.jobs.requeue("pod-k1")
    job.input = {"return": "the second time"}
    second = local.worker("pod-k2", "fragile")
    try:
        local.platform.wait(job)
        assert (job.output, job.worker, job.takes) == ("the second time", "pod-k2", 2)
        assert local.platform.jobs.until(lambda: ("pod-k2", []) in local.platform.jobs.pings, 60)
    finally:
        kill(second)


def test_it_runs_until_interrupted() -> None:
    command = [sys.executable, "-m", "tools.servers.runpod_platform", "--endpoint", "ep"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = []
        while not said or not said[-1].startswith("# POST"):
            said.append(process.stdout.readline())
            assert said[-1], said
        variables = dict(line.split()[1].split("=", 1) for line in said if line.startswith("export"))
        request = urllib.request.Request(variables["RUNPOD_ENDPOINT_BASE_URL"].strip("'") + "/ep/health")
        request.add_header("Authorization", "Bearer " + variables["RUNPOD_API_KEY"].strip("'"))
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["workers"] == {"idle": 0, "running": 0}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
