"""What a deployment lives through: told to the tests with a tiny model, to the benchmark at full size."""

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
_WITHIN = 120.0  # seconds for a worker that finds no model anywhere


@dataclass(frozen=True)
class Chapter:
    """One worker on a machine that never had the model.

    Args:
        title: what is different this time.
        receipt: of its cold start.
        answer: to the same job each time, None where it could not begin.
        version: digest of the version it should run, None where no store tells.
        exit_code: None for a worker that served until it was killed.
    """

    title: str
    receipt: dict[str, Any]
    answer: dict[str, Any] | None = None
    version: str | None = None
    exit_code: int | None = None


def chapters(deployment: Deployment, store: Store, newer: Path) -> Iterator[Chapter]:
    """Yield each chapter once it is over, while its worker still runs.

    Args:
        deployment: with a hub that has the model.
        store: the one in the deployment's bucket; there is none yet.
        newer: folder of a hub that has other weights, which are published in between.

    Raises:
        TimeoutError: nothing was published after the first job.
        subprocess.CalledProcessError: a command of the operator failed.
    """
    deployment.start()
    answer = deployment.ask()
    first = deployment.published(store)
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
    (nobody,) = free_ports(1)
    away = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{nobody}"}
    yield _restored("no bucket, but a hub", deployment, None, **away)

    deployment.hub.down = True
    deployment.lose_machine()
    code = deployment.start(**away).wait(timeout=_WITHIN)
    yield Chapter("neither bucket nor hub", deployment.receipt(), exit_code=code)


def _restored(title: str, deployment: Deployment, version: str | None, **variables: str) -> Chapter:
    deployment.lose_machine()
    deployment.start(**variables)
    answer = deployment.ask()
    return Chapter(title, deployment.receipt(), answer, version)


def _cas(deployment: Deployment, store: Store, *words: str, **variables: str) -> str:
    """What a command of the operator prints."""
    environment = {**os.environ, **deployment.environment, "CAS_STORE": store.url, **variables}
    command = [sys.executable, "-m", "cas", *words]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
