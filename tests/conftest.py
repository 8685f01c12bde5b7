"""What tests share: stores on each kind of bucket, small trees of files, and the real servers."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from cas.bucket import open_bucket
from cas.store.store import Store
from tests.support.buckets import proxied
from tests.support.processes import Mount
from tests.support.two_versions import Boot, boot_at
from tools import worker_env
from tools.servers.fault_proxy import FaultProxy
from tools.servers.seaweed import SeaweedFS

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


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store on a directory, then on a real S3 server."""
    url = str(tmp_path / "store") if request.param == "directory" else request.getfixturevalue("s3_url")
    return Store(open_bucket(url))


@pytest.fixture
def directory_store(tmp_path: Path) -> Store:
    """A store on a directory only, for what does not depend on the bucket."""
    return Store(open_bucket(str(tmp_path / "store")))


@pytest.fixture
def boot(directory_store: Store, tmp_path: Path) -> Boot:
    return boot_at(directory_store, tmp_path)


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts file systems until the test ends; skips it where that may not be done."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")

    def mount_at(where: Path, *words: str | Path) -> Path:
        mounted = subprocess.run(["mount", *words, where], capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"this root may not mount: {mounted.stderr}")
        ending.callback(lambda: subprocess.run(["umount", "--lazy", where], check=True))
        return where

    with contextlib.ExitStack() as ending:
        yield mount_at


@pytest.fixture
def proxy(seaweed: SeaweedFS, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Stands in front of the bucket of `s3_url`: clients opened from now on go through it."""
    with proxied(seaweed, monkeypatch) as proxy:
        yield proxy
