"""A client, the server or the bucket goes away in the middle: a download is right, or it ends with an error."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import secrets
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from cas.bucket import open_bucket
from cas.formats.digest import hex_of
from cas.store.store import Store
from tests.support.hub import start_hub
from tests.support.models import KIB, Files, check_blobs, put_model
from tests.support.processes import until
from tests.support.served import Served, serving
from tools.servers.fault_proxy import Fault, FaultProxy, Kind
from tools.servers.seaweed import SeaweedFS

CLIENT = "2.4"
RESUMING = "0.36"  # later clients go on within a process, and another process begins anew
ROOT = Path(__file__).parents[3]
MIB = 1024 * KIB
CONFIG = b"{}"

# The production rules in fast motion, as tests.support.buckets.HURRIED has them.
HURRIED = """
from cas.bucket import RetryPolicy
import dataclasses
RetryPolicy.__init__.__defaults__ = dataclasses.astuple(RetryPolicy(
    connect=2, answer=3, silence=1, rate=256 * 1024, attempts=4, backoff=0.01, backoff_cap=0.05))
"""

FIFTY = """
import hashlib, json, sys, threading
from pathlib import Path
from huggingface_hub import snapshot_download
found, ready = [], threading.Barrier(50)
def download(number):
    ready.wait()
    folder = Path(snapshot_download("org/small", cache_dir=f"{sys.argv[1]}/{number}", max_workers=2))
    found.append({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()})
threads = [threading.Thread(target=download, args=[number]) for number in range(50)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(found) == 50 and all(each == found[0] for each in found)
print(json.dumps(found[0]))
"""


def _model(seed: int, size: int) -> Files:
    return {"config.json": CONFIG, "model.safetensors": random.Random(seed).randbytes(size)}


# huggingface_hub writes what it gets in pieces of 10 MiB (constants.DOWNLOAD_CHUNK_SIZE): what is to be resumed is
# larger. Each test has a repo of its own: what the server has fetched once does not come from the bucket again.
SIZES = {"away": 3, "flipped": 1, "killed": 16, "outlives": 16, "small": 3}
MODELS = {f"org/{name}": _model(at, size * MIB) for at, (name, size) in enumerate(SIZES.items())}


class Site(NamedTuple):
    """A server, and the proxy through which it reaches the bucket."""

    served: Served
    proxy: FaultProxy
    store: str
    env: dict[str, str]
    folder: Path


@pytest.fixture(scope="module")
def site(seaweed: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server of five repos that lie in a real bucket behind a proxy."""
    folder = tmp_path_factory.mktemp("site")
    bucket = f"test-{secrets.token_hex(6)}"
    seaweed.create_bucket(bucket)
    env = seaweed.env(bucket)
    url = env.pop("CAS_STORE")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        put_model(Store(open_bucket(url)), MODELS, chunk=MIB)
    address = urlsplit(seaweed.endpoint)
    assert address.hostname and address.port
    with FaultProxy(address.hostname, address.port, credentials=seaweed.credentials()) as proxy:
        env["AWS_ENDPOINT_URL"] = proxy.url
        with serving(url, folder, env=env, before=HURRIED) as server:
            yield Site(server, proxy, url, env, folder)


@pytest.fixture(autouse=True)
def faults_end(site: Site) -> Iterator[None]:
    """Let the bucket be sound again after each test, and forget what was asked of it."""
    site.proxy.requests.clear()
    yield
    site.proxy.clear()


def at_chunk(kind: Kind, repo: str, number: int) -> Fault:
    """A fault that hits a chunk of the repo's weights, whatever is fetched before it; the first has the number 0."""
    chunk = MODELS[repo]["model.safetensors"][number * MIB : (number + 1) * MIB]
    return Fault(kind, times=None, path_contains=hex_of(chunk))


def start(served: Served, repo: str, cache: Path, version: str = CLIENT) -> subprocess.Popen[str]:
    return start_hub(version, repo, cache, served.url)


def finished(process: subprocess.Popen[str], repo: str, cache: Path) -> None:
    """Check that a download succeeded with the right bytes."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    folder = Path(out.splitlines()[-1])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == MODELS[repo]
    for unfinished in cache.rglob("*.incomplete"):
        unfinished.unlink()  # what a process that was killed or gave up has left
    check_blobs(folder.parents[1])


def failed(process: subprocess.Popen[str], cache: Path) -> None:
    """Check that a download ended with an error of the server or of a short body, and left no part of a blob."""
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and re.search("HfHubHTTPError|peer closed connection", err), err
    blobs = [path for path in cache.rglob("blobs/*") if path.suffix != ".incomplete"]
    assert [path.read_bytes() for path in blobs if path.read_bytes() != CONFIG] == []


def some_arrived(repo: str, cache: Path) -> bool:
    blobs = cache / f"models--{repo.replace('/', '--')}" / "blobs"
    return any(path.stat().st_size >= 10 * MIB for path in blobs.glob("*.incomplete"))


def test_fifty_clients_at_once_are_one_download_from_the_bucket(site: Site, tmp_path: Path) -> None:
    ran = subprocess.run(
        [ROOT / ".venv/hubs" / CLIENT / "bin/python", "-c", FIFTY, tmp_path],
        env={**os.environ, "HF_ENDPOINT": site.served.url, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    files = MODELS["org/small"]
    assert json.loads(ran.stdout) == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    asked = [seen.path for seen in list(site.proxy.requests) if "/chunks/" in seen.path]
    assert len(asked) == 4 == len(set(asked)), "each chunk was fetched once"


def test_a_killed_client_is_followed_by_one_that_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    site.proxy.inject(at_chunk(Kind.STALL, "org/killed", 12))
    first = start(site.served, "org/killed", tmp_path, RESUMING)
    until(lambda: some_arrived("org/killed", tmp_path))
    first.kill()
    first.communicate()
    site.proxy.clear()
    finished(start(site.served, "org/killed", tmp_path, RESUMING), "org/killed", tmp_path)
    with urllib.request.urlopen(f"{site.served.url}/metrics") as answer:
        assert 'status="206"' in answer.read().decode(), "the second asked for the rest"


def test_a_client_outlives_a_killed_server(site: Site, tmp_path: Path) -> None:
    repo, cache, folder = "org/outlives", tmp_path / "cache", tmp_path / "serve"
    site.proxy.inject(at_chunk(Kind.STALL, repo, 12))
    with (
        serving(site.store, folder, env=site.env, before=HURRIED) as server,
        FaultProxy("127.0.0.1", server.port) as address,
    ):
        process = start(server._replace(url=address.url), repo, cache)
        until(lambda: some_arrived(repo, cache))
        address.upstream = ("127.0.0.1", site.served.port)  # the one that takes its place, at the same address
        server.process.kill()
        server.process.wait()
        site.proxy.clear()
        finished(process, repo, cache)


def test_a_bucket_that_goes_away_is_an_error_and_no_short_file(site: Site, tmp_path: Path) -> None:
    site.proxy.inject(at_chunk(Kind.STATUS, "org/away", 1))
    failed(start(site.served, "org/away", tmp_path), tmp_path)
    assert site.served.process.poll() is None
    site.proxy.clear()
    finished(start(site.served, "org/away", tmp_path), "org/away", tmp_path)


def test_bytes_that_are_not_what_their_name_says_are_never_sent(site: Site, tmp_path: Path) -> None:
    site.proxy.inject(Fault(Kind.BIT_FLIP, times=None, path_contains="/chunks/"))
    failed(start(site.served, "org/flipped", tmp_path), tmp_path)
    sent = [path for path in tmp_path.rglob("blobs/*") if path.stat().st_size and path.read_bytes() != CONFIG]
    assert sent == []
    site.proxy.clear()
    finished(start(site.served, "org/flipped", tmp_path), "org/flipped", tmp_path)
