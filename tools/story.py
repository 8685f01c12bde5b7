"""A story in chapters, one worker each: the tests play it with a tiny model, the benchmark at full size."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cas.store.store import Store
from tools.deployment import ENDPOINT, ROOT, Deployment
from tools.servers.hub import Hub
from tools.servers.process import free_ports

_SOURCE = str(ROOT / "manifests/sources/f5-tts.toml")
_GIVES_UP = 120.0  # seconds after which a worker that finds no model anywhere has ended


@dataclass(frozen=True)
class Chapter:
    """One worker on a machine that never had the model.

    Attributes:
        title: how this chapter differs from the one before.
        receipt: the document of the worker's cold-start line.
        answer: the output of the job, the same job in each chapter; None where the worker could not start.
        version: digest (64 hex) of the version that the worker should run, None where no store names one.
        exit_code: the worker's exit code, None for a worker that served until it was killed.
    """

    title: str
    receipt: dict[str, Any]
    answer: dict[str, Any] | None = None
    version: str | None = None
    exit_code: int | None = None


def chapters(deployment: Deployment, store: Store, newer: Path) -> Iterator[Chapter]:
    """Yield each chapter once it is over, while its worker still runs.

    Args:
        deployment: a deployment whose hub has the model, and whose bucket is empty.
        store: the store in that bucket, which does not exist yet.
        newer: folder of a hub with other weights, which the operator publishes after the second chapter.

    Raises:
        TimeoutError: nothing was published after the first job.
        subprocess.CalledProcessError: a command of the operator failed.
    """
    deployment.start()
    answer = deployment.run_job()
    first = deployment.wait_for_publish(store)
    yield Chapter("an empty bucket", deployment.receipt(), answer, first)

    deployment.hub.down = True
    yield _restored("no hub", deployment, first)

    with Hub(newer) as hub:
        cache = f"{deployment.folder}/operator"
        words = ["publish", "f5-tts", "--source", _SOURCE, "--cache-dir", cache, "--tag", "next"]
        second = _cas(deployment, store, *words, HF_ENDPOINT=hub.url).rpartition(":")[2]
    for tag in ("latest", "next"):
        _cas(deployment, store, "pin", ENDPOINT, f"f5-tts:{tag}")
    yield _restored("pinned to a newer version", deployment, second)

    _cas(deployment, store, "rollback", f"pin:{ENDPOINT}/f5-tts")
    yield _restored("the pin moved back", deployment, first)

    deployment.hub.down = False
    (unused,) = free_ports(1)
    no_bucket = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{unused}"}
    # Without its bucket the worker does not know what its pin names: the operator says that main of the hub will do.
    yield _restored("no bucket, but a hub", deployment, None, **no_bucket, CAS_FALLBACK="hub")

    deployment.hub.down = True
    deployment.lose_machine()
    code = deployment.start(**no_bucket).wait(timeout=_GIVES_UP)
    yield Chapter("neither bucket nor hub", deployment.receipt(), exit_code=code)


def _restored(title: str, deployment: Deployment, version: str | None, **variables: str) -> Chapter:
    deployment.lose_machine()
    deployment.start(**variables)
    answer = deployment.run_job()
    return Chapter(title, deployment.receipt(), answer, version)


def _cas(deployment: Deployment, store: Store, *words: str, **variables: str) -> str:
    """Run a `cas` command as the operator, and return its output."""
    environment = {**os.environ, **deployment.environment, "CAS_STORE": store.url, **variables}
    command = [sys.executable, "-m", "cas", *words]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
