"""What tests share: stores on each kind of bucket, small trees of files, and the real servers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, settings

import cas
from cas.bucket import Patience
from cas.bucket import open_bucket
from cas.store.store import Store
from tools import worker_env
from tools.servers.fault_proxy import FaultProxy
from tools.servers.seaweed import SeaweedFS

REPO = "org/model"

HURRIED = Patience(connect=2, answer=3, silence=1, rate=256 * 1024, attempts=9, backoff=0.01, backoff_cap=0.05)
"""Production patience in fast motion: the same rules, with limits a test can wait for."""

_STANDARD_VARIABLES = ("AWS_", "CAS_", "HF_", "HUGGINGFACE_", "S3_BUCKET", "ENABLE_S3", "XDG_")


# How long an example takes says nothing about correctness; where nobody is there to look into a rare find, the
# examples are the same each time.
settings.register_profile(
    "ours",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("ours")


def pytest_configure() -> None:
    """A shell that runs the tests in the background makes them ignore Ctrl-C, which some of them send."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the person who runs the tests reaches them, and nothing is written to their home."""
    for name in list(os.environ):
        if name.startswith(_STANDARD_VARIABLES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """One real S3 server for the whole run."""
    with SeaweedFS(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")  # before any test moves HOME away
def worker_python() -> Path:
    """The interpreter that has torch, F5-TTS and the RunPod SDK."""
    try:
        worker_env.require_ffmpeg()
        return worker_env.python(worker_env.folder())
    except worker_env.EnvironmentMissing as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def s3_url(seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a store in a fresh bucket of the real server, whose variables are set."""
    bucket = f"test-{secrets.token_hex(6)}"
    seaweed.create_bucket(bucket)
    for name, value in seaweed.env(bucket).items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return f"s3://{bucket}/cas"


@contextlib.contextmanager
def proxied(seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy in front of the real server: clients opened from now on go through it."""
    address = urlsplit(seaweed.endpoint)
    assert address.hostname and address.port
    with FaultProxy(address.hostname, address.port, credentials=seaweed.credentials()) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store on a directory, then on a real S3 server."""
    url = str(tmp_path / "store") if request.param == "directory" else request.getfixturevalue("s3_url")
    return Store(open_bucket(url))


@pytest.fixture
def directory_store(tmp_path: Path) -> Store:
    """A store on a directory only, for what does not depend on the bucket."""
    return Store(open_bucket(str(tmp_path / "store")))


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Writes files by relative path below `folder`."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by relative path, read through symlinks."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def publish_tree(store: Store | str, folder: Path, model: str = "m", **options: object) -> cas.Published:
    """Publishes a folder as REPO."""
    return cas.publish(model, cas.Source.from_folder(folder, REPO), store, **options)  # type: ignore[arg-type]


def snapshot(restored: cas.Restored, repo: str = REPO) -> Path:
    """The snapshot folder of a repo."""
    return Path(restored.snapshots[repo])


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_cas(
    *words: str, env: Mapping[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Runs the real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "cas", *words],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
