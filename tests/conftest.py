"""What all tests share: a clean environment, real servers, and stores on each kind of bucket."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from cas.bucket import open_bucket
from cas.bucket.directory import durable
from cas.store.store import Store
from tests.support.buckets import proxied
from tests.support.clock import LeaseClock
from tests.support.processes import Mount, end_started
from tests.support.two_versions import Boot, copied_boot
from tools import worker_env
from tools.servers import azurite as azurite_server
from tools.servers import nginx
from tools.servers.azurite import Azurite
from tools.servers.fault_proxy import FaultProxy
from tools.servers.nginx import Nginx
from tools.servers.seaweed import SeaweedError, SeaweedFS
from tools.servers.seaweed_identities import PUBLIC_BUCKET

_STANDARD_VARIABLES = ("AWS_", "AZURE_", "GOOGLE_", "CAS_", "HF_", "HUGGINGFACE_", "S3_BUCKET", "ENABLE_S3", "XDG_")


# The time that an example takes says nothing about correctness. In continuous integration the examples are the same
# each time: no person is there to look into a rare failure.
settings.register_profile(
    "ours",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("ours")


def pytest_configure() -> None:
    """Restore the handler of Ctrl-C, which some tests send: a shell makes background processes ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the settings of the person who runs the tests, and protect their home: no test writes to it."""
    for name in list(os.environ):
        if name.startswith(_STANDARD_VARIABLES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Kill the processes that a failed test left running."""
    yield
    end_started()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> LeaseClock:
    """The clock of leases, which the test sets."""
    return LeaseClock(monkeypatch)


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """One real S3 server for the whole run."""
    with SeaweedFS(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """One real server of Azure Blob Storage for the whole run."""
    if azurite_server.installed() is None:
        pytest.skip("Azurite is not installed: `make test` installs it where there is an npm")
    with Azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


# Looked up before any test moves HOME away: a fixture may be asked for in the middle of a test.
_WORKER_ENVIRONMENT, _REFERENCE_ENVIRONMENT = worker_env.folder(), worker_env.reference_folder()
_CLIENTS_ENVIRONMENT = worker_env.clients_folder()


@pytest.fixture(scope="session")
def worker_python() -> Path:
    """The interpreter that has torch, F5-TTS and the RunPod SDK."""
    try:
        return worker_env.python(_WORKER_ENVIRONMENT)
    except worker_env.EnvironmentMissing as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def reference_python() -> Path:
    """The interpreter that has plain F5-TTS with all that it imports, and the client of the SDK."""
    try:
        return worker_env.python(_REFERENCE_ENVIRONMENT)
    except worker_env.EnvironmentMissing as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def clients_python() -> Path:
    """The interpreter that has programs which load models through a hub: transformers, diffusers, Rust's hf-hub."""
    try:
        return worker_env.python(_CLIENTS_ENVIRONMENT)
    except worker_env.EnvironmentMissing as error:
        pytest.fail(str(error), pytrace=False)


def _store_in_a_new_bucket(
    create: Callable[[str], None], env: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Make a bucket on a real server, set the variables that open it, and return the URL of a store there."""
    bucket = f"test-{secrets.token_hex(6)}"
    create(bucket)
    variables = env(bucket)
    url = variables.pop("CAS_STORE")  # not set: each test names its store itself
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return url


@pytest.fixture
def s3_url(seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a store in a fresh bucket of the real server, whose variables are set."""
    return _store_in_a_new_bucket(seaweed.create_bucket, seaweed.env, monkeypatch)


@pytest.fixture
def az_url(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a store in a fresh container of the real server, whose variables are set."""
    return _store_in_a_new_bucket(azurite.create_container, azurite.env, monkeypatch)


@pytest.fixture
def public_url(seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a store that a cache can read without a key, with the variables for clients that have one."""
    with contextlib.suppress(SeaweedError):  # another test has made it
        seaweed.create_bucket(PUBLIC_BUCKET)
    for name, value in seaweed.env(PUBLIC_BUCKET).items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return f"s3://{PUBLIC_BUCKET}/{secrets.token_hex(6)}"


@pytest.fixture
def nginx_cache(seaweed: SeaweedFS, public_url: str, tmp_path: Path) -> Iterator[Nginx]:
    """A real cache in front of that store."""
    if nginx.installed() is None:
        pytest.skip("nginx is not installed: `apt-get install nginx-light`")
    with Nginx(tmp_path / "nginx", f"{seaweed.endpoint}/{public_url.removeprefix('s3://')}") as server:
        yield server


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store on a directory, then on a real S3 server."""
    url = str(tmp_path / "store") if request.param == "directory" else request.getfixturevalue("s3_url")
    return Store(open_bucket(url))


@pytest.fixture
def directory_store(tmp_path: Path) -> Store:
    """A store on a directory only, for what does not depend on the bucket."""
    return Store(open_bucket(str(tmp_path / "store")))


@pytest.fixture(autouse=True)
def directory_stores_do_not_wait_for_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[int, Collection[int]], None]:
    """Leave out the fsync of directory stores in this process: a publish waits for twenty of them.

    The function that was replaced is returned. tests/test_power_cut.py and tests/bucket/test_durable.py are about it.
    """
    real = durable._sync
    monkeypatch.setattr(durable, "_sync", lambda descriptor, unsupported: None)
    return real


@pytest.fixture
def boot(directory_store: Store, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Boot:
    """A directory store with two versions, and a lock file of the first."""
    return copied_boot(directory_store, tmp_path, tmp_path_factory.getbasetemp() / "boot")


@pytest.fixture
def mount() -> Iterator[Mount]:
    """A function that mounts file systems until the test ends; the test is skipped where that is not permitted."""
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
    """A proxy in front of the server of `s3_url`: clients that are opened from now on go through it."""
    with proxied(seaweed, monkeypatch) as proxy:
        yield proxy
