"""What the worker's tests share."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.store.store import Store, open_store
from tests.support.models import write_tree
from tests.worker.station import FILES, Station
from tools.deployment import Deployment, write_tiny_models
from tools.servers.hub import Hub
from tools.servers.runpod_platform import Platform
from tools.servers.seaweed import SeaweedFS


@pytest.fixture(autouse=True)
def this_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts import this clone: the worker's environment is shared, so it holds none."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))


@pytest.fixture(autouse=True)
def nothing_is_kept_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers use this machine's disk to the end: how full it is must not matter to a test."""
    monkeypatch.setenv("RUNPOD_MIN_DISK_PERCENT", "0")


@pytest.fixture(autouse=True)
def log_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the worker logs reaches pytest's `caplog`, which listens to the root logger."""
    monkeypatch.setattr(logging.getLogger("worker"), "propagate", True)


@pytest.fixture
def shop(s3_url: str, seaweed: SeaweedFS) -> Store:
    """The store in the deployment's bucket."""
    return open_store(s3_url)


@pytest.fixture(scope="session")
def tiny_models(worker_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's folder with a tiny F5-TTS and its vocoder, for all tests to read: writing one takes ten seconds."""
    folder = tmp_path_factory.mktemp("tiny-models")
    write_tiny_models(worker_python, folder, 0)
    return folder


@pytest.fixture
def deployment(
    tiny_models: Path, worker_python: Path, reference_python: Path, s3_url: str, seaweed: SeaweedFS, tmp_path: Path
) -> Iterator[Deployment]:
    shutil.copytree(tiny_models, tmp_path / "hub")
    bucket = s3_url.split("/")[2]
    environment = {**seaweed.env(bucket, "publisher"), "S3_BUCKET": bucket}
    del environment["CAS_STORE"]
    with Platform() as platform, Hub(tmp_path / "hub") as hub:
        made = Deployment(worker_python, reference_python, tmp_path, platform, hub, environment)
        try:
            yield made
        finally:
            made.kill()


@pytest.fixture
def station(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """The hub runs, and there is no store yet."""
    for repo, content in FILES.items():
        write_tree(tmp_path / "root" / repo, content)
    with Hub(tmp_path / "root") as hub:
        yield Station(hub, str(tmp_path / "store"), tmp_path, tmp_path_factory.getbasetemp() / "published")
