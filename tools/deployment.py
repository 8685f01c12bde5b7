"""An endpoint on this machine: the real worker, SDK, F5-TTS and client; the platform, bucket and hub are local."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
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

# The real client, in a process of its own: it prints what the endpoint answered.
_CLIENT = """
import json, os, sys, time, runpod
endpoint = runpod.Endpoint(sys.argv[1], api_key=os.environ["RUNPOD_API_KEY"])
request = json.loads(sys.argv[2])
"""
_ASK = "answer = endpoint.run_sync(request, timeout=120)"


@dataclass
class Deployment:
    """An endpoint, its bucket and a hub.

    Args:
        python: interpreter of the worker's environment.
        folder: an empty one, for the workers' disk and logs.
        platform: takes the jobs.
        hub: has the model.
        environment: the variables that name the bucket and its keys.
        workers: those that were started.
    """

    python: Path
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
        """What every worker here is told, but for its platform."""
        config = self.hub.root / "SWivid/F5-TTS/F5TTS_v1_Base/config.yaml"  # of a model that is not v1 Base
        return {
            **self.environment,
            "HF_ENDPOINT": self.hub.url,
            "CAS_CACHE_DIRS": str(self.models),
            "HOME": str(self.folder),
            **({"CAS_F5_CONFIG": str(config)} if config.exists() else {}),
        }

    def start(self, **variables: str) -> subprocess.Popen[bytes]:
        """A worker that takes the endpoint's jobs; its log is `log(…)`."""
        number = len(self.workers)
        told = {**self.variables(), **self.platform.env(f"pod{number}", ENDPOINT), **variables}
        return self.run(f"worker{number}.log", told)

    def run(self, log: str, variables: dict[str, str], *words: str) -> subprocess.Popen[bytes]:
        """A worker with exactly these variables and arguments; its output goes to a file of the folder."""
        self.workers.append(spawn([str(self.python), "-m", "worker", *words], self.folder / log, variables))
        return self.workers[-1]

    def log(self, number: int = -1) -> str:
        """What a worker wrote."""
        return (self.folder / f"worker{range(len(self.workers))[number]}.log").read_text()

    def receipt(self, number: int = -1) -> dict[str, Any]:
        """The cold-start receipt in a worker's log."""
        lines = [line for line in self.log(number).splitlines() if line.startswith('{"event": "cold-start"')]
        document: dict[str, Any] = json.loads(lines[-1])
        return document

    def ask(self, **changes: object) -> dict[str, Any]:
        """The answer to a job, by the real client."""
        found: dict[str, Any] = self.client(_ASK, **changes)
        return found

    def client(self, code: str, **changes: object) -> Any:
        """What the real client's `code`, which has an `endpoint` and a `request`, leaves as its `answer`."""
        job = json.dumps({"input": {**JOB, **changes}})
        environment = {**os.environ, **self.platform.client_env()}
        command = [str(self.python), "-c", f"{_CLIENT}{code}\nprint(json.dumps(answer))", ENDPOINT, job]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr + self.log()
        return json.loads(done.stdout.splitlines()[-1])

    def published(self, store: Store, seconds: float = 120) -> str:
        """The digest of f5-tts:latest, once there is one; raises TimeoutError when none comes."""
        log, deadline = RefLog(store, Ref("tags", "f5-tts", "latest")), time.monotonic() + seconds
        while (digest := log.current_digest()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing was published in the background:\n{self.log()}")
            time.sleep(0.2)
        return digest

    def lose_machine(self) -> None:
        """Ends all workers and empties their disk: the next one is on a machine that never had the model."""
        self.kill()
        shutil.rmtree(self.models)

    def kill(self) -> None:
        """Ends all workers as the platform does, without a word."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


def tiny(python: Path, root: Path, seed: int) -> None:
    """Writes a tiny F5-TTS and its vocoder; one seed, one content."""
    command = [str(python), "-m", "tools.models.tiny_f5", str(root), "--seed", str(seed)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
