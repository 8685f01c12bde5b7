"""A RunPod endpoint on this machine: real worker, SDK, F5-TTS and client; local platform, bucket and hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cas.refs.reflog import Ref, RefLog
from cas.store.store import Store
from tools.servers.hub import Hub
from tools.servers.process import spawn
from tools.servers.runpod_platform import Platform

ROOT = Path(__file__).parent.parent
ENDPOINT = "f5-endpoint"
JOB = {**json.loads((ROOT / "test_input.json").read_text())["input"], "nfe_step": 2, "format": "wav"}

# The real client, in a process of its own: it prints the output of its job as JSON.
_CLIENT = """
import json, os, sys, time, runpod
endpoint = runpod.Endpoint(sys.argv[1], api_key=os.environ["RUNPOD_API_KEY"])
request = json.loads(sys.argv[2])
"""
_RUN_JOB = "answer = endpoint.run_sync(request, timeout=120)"
_RUN_JOBS = """
answer = [endpoint.run_sync({"input": {**request["input"], **one}}, timeout=120) for one in json.loads(sys.argv[3])]
"""


@dataclass
class Deployment:
    """An endpoint, its bucket and a hub.

    Attributes:
        python: interpreter of the worker's environment.
        client: interpreter that has the SDK's client: that of the reference environment.
        folder: a folder, empty at first, for the workers' disk and logs.
        platform: the platform that queues the jobs.
        hub: the hub that serves the model.
        environment: the variables that name the bucket and its keys.
        workers: the processes of the workers that were started, oldest first.
    """

    python: Path
    client: Path
    folder: Path
    platform: Platform
    hub: Hub
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def models(self) -> Path:
        """The cache directory of every worker."""
        return self.folder / "models"

    def variables(self) -> dict[str, str]:
        """The environment variables of every worker here, except for those of the platform."""
        config = (
            self.hub.root / "SWivid/F5-TTS/F5TTS_v1_Base/config.yaml"
        )  # a tiny model has its own architecture, not that of v1 Base
        return {
            **self.environment,
            "HF_ENDPOINT": self.hub.url,
            "CAS_CACHE_DIRS": str(self.models),
            "HOME": str(self.folder),
            **({"CAS_F5_CONFIG": str(config)} if config.exists() else {}),
        }

    def start(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start a worker that takes the endpoint's jobs and writes what `log` returns.

        Args:
            variables: environment variables to add or replace.
        """
        number = len(self.workers)
        environment = {**self.variables(), **self.platform.env(f"pod{number}", ENDPOINT), **variables}
        return self.run(f"worker{number}.log", environment)

    def run(self, log: str, variables: dict[str, str], *words: str) -> subprocess.Popen[bytes]:
        """Start a worker.

        Args:
            log: name of the file in `folder` that its output goes to.
            variables: environment variables to add to those of this process.
            words: command-line arguments of the worker.
        """
        self.workers.append(spawn([str(self.python), "-m", "worker", *words], self.folder / log, variables))
        return self.workers[-1]

    def log(self, number: int = -1) -> str:
        """The output of a worker so far.

        Args:
            number: index of the worker in `workers`.
        """
        return (self.folder / f"worker{range(len(self.workers))[number]}.log").read_text()

    def receipt(self, number: int = -1) -> dict[str, Any]:
        """The last cold-start receipt in a worker's log.

        Args:
            number: index of the worker in `workers`.
        """
        lines = [line for line in self.log(number).splitlines() if line.startswith('{"event": "cold-start"')]
        document: dict[str, Any] = json.loads(lines[-1])
        return document

    def run_job(self, **changes: object) -> dict[str, Any]:
        """Send a job by the real client, and return its output.

        Args:
            changes: fields of the job's input to change.
        """
        found: dict[str, Any] = self.run_client(_RUN_JOB, **changes)
        return found

    def run_jobs(self, *changes: Mapping[str, object]) -> list[dict[str, Any] | None]:
        """Send jobs by one real client, one after the other, and return their outputs (None for a job that failed).

        Args:
            changes: for each job, the fields of its input to change.
        """
        found: list[dict[str, Any] | None] = self._run_client(_RUN_JOBS, JOB, json.dumps(changes))
        return found

    def run_client(self, code: str, **changes: object) -> Any:
        """Run code with the real client, and return its `answer`.

        Args:
            code: Python that uses `endpoint` and `request`, and assigns `answer`.
            changes: fields of the job's input to change.
        """
        return self._run_client(code, {**JOB, **changes})

    def _run_client(self, code: str, job: Mapping[str, object], *words: str) -> Any:
        """Run code with the real client, and return its `answer`; `words` are its `sys.argv[3:]`."""
        environment = {**os.environ, **self.platform.client_env()}
        given = (ENDPOINT, json.dumps({"input": job}), *words)
        command = [str(self.client), "-c", f"{_CLIENT}{code}\nprint(json.dumps(answer))", *given]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr + self.log()
        return json.loads(done.stdout.splitlines()[-1])

    def wait_for_publish(self, store: Store, seconds: float = 120) -> str:
        """Wait until f5-tts:latest names a version, and return its digest (64 hex).

        Args:
            store: the store in the deployment's bucket.
            seconds: how long to wait.

        Raises:
            TimeoutError: nothing was published.
        """
        log, deadline = RefLog(store, Ref("tags", "f5-tts", "latest")), time.monotonic() + seconds
        while (digest := log.current_digest()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing was published in the background:\n{self.log()}")
            time.sleep(0.2)
        return digest

    def lose_machine(self) -> None:
        """End all workers and empty their disk: the next worker starts on a machine that never had the model."""
        self.kill()
        shutil.rmtree(self.models)

    def kill(self) -> None:
        """End all workers by SIGKILL, as the platform does."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


def write_tiny_models(python: Path, root: Path, seed: int) -> None:
    """Write a tiny F5-TTS and its vocoder as a hub's folder; equal seeds give equal files.

    Args:
        python: interpreter of the worker's environment, which has torch.
        root: where to put SWivid/F5-TTS and charactr/vocos-mel-24khz.
        seed: decides about all weights.
    """
    command = [str(python), "-m", "tools.models.tiny_f5", str(root), "--seed", str(seed)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
