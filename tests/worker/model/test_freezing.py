"""A background publish whose worker is frozen, as idle ones are, or ends: it holds up nobody for long."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from cas.bucket import open_bucket
from tests.support.models import noise, write_tree
from tests.support.processes import run_cas, until
from tests.worker.station import FILES, ROOT, SPEECH, Station, ended
from tools.servers.fault_proxy import Fault, FaultProxy, Kind
from tools.servers.process import free_ports
from tools.servers.seaweed import SeaweedFS

LEASE = 5  # seconds, as stations have it
LARGE = {**FILES, SPEECH: {**FILES[SPEECH], "F5TTS_v1_Base/model_1250000.safetensors": noise(30_000_000, 3)}}

PUBLISHING = """
import sys
from pathlib import Path
from worker.model import publish_process
sys.exit(publish_process.main(Path(sys.argv[1]), pause=0.2))
"""


@contextmanager
def on_the_way(seaweed: SeaweedFS, port: int) -> Iterator[FaultProxy]:
    """A proxy in front of the bucket, whose end cuts every connection."""
    address = urlsplit(seaweed.endpoint)
    assert address.hostname and address.port
    with FaultProxy(address.hostname, address.port, listen=port, credentials=seaweed.credentials()) as proxy:
        yield proxy


@pytest.fixture
def fresh(station: Station, s3_url: str, seaweed: SeaweedFS) -> Station:
    """A worker that had to download a large model, as its bucket has none."""
    station.store = s3_url
    write_tree(station.hub.root / SPEECH, LARGE[SPEECH])
    station.check(station.boot(), LARGE)
    return station


@pytest.mark.parametrize("swept", [False, True], ids=["for a moment", "for longer than a lease, while others sweep"])
def test_a_publish_that_was_frozen_goes_on(swept: bool, fresh: Station, seaweed: SeaweedFS) -> None:
    (port,) = free_ports(1)
    with on_the_way(seaweed, port) as proxy:
        # From the third on, chunks arrive, but no answer comes back: it is frozen with requests in flight.
        proxy.inject(Fault(Kind.STALL, times=None, after=2, method="PUT", path_contains="/chunks/"))
        process = publishing(fresh, f"http://127.0.0.1:{port}")
        until(lambda: proxy.count("PUT", "/chunks/") > 3)
        process.send_signal(signal.SIGSTOP)
    if swept:
        time.sleep(LEASE + 1.5)  # the lease is over by the server's clock
        for _ in range(2):  # the first one condemns
            done = run_cas("gc", "--grace", "0", "--force", "--store", fresh.store, env=dict(os.environ))
            assert done.returncode == 0, done.stderr
            time.sleep(1.1)
        assert not list(open_bucket(fresh.store).list("chunks")), "nothing named what it had sent"
    with on_the_way(seaweed, port):
        process.send_signal(signal.SIGCONT)
        ran = ended(process)
    assert ran.code == 0, ran.err
    assert "background publish: f5-tts@" in ran.err
    fresh.hub.down = True
    again = fresh.boot(CAS_CACHE_DIRS=str(fresh.folder / "elsewhere"))
    fresh.check(again, LARGE)
    assert again.receipt["source"] == "store"


# As a worker that is told to end.
ENDING = """
import sys
from worker.boot.messages import Bytes, Restored
from worker.model import publish_process
words = dict.fromkeys(("where", "directory_reason", "version", "version_reason"), "")
booted = Restored(
    source="hub", directory=sys.argv[1], snapshots={}, complete=False, publish=True, bytes=Bytes(), **words
)
child = publish_process.start(booted)
sys.stdin.readline()
publish_process.end(child)
sys.exit(child.returncode)
"""


def test_a_publish_that_ends_with_its_worker_holds_up_no_collector(fresh: Station, seaweed: SeaweedFS) -> None:
    (port,) = free_ports(1)
    directory = str(fresh.directories[0])
    variables = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "CAS_LEASE_SECONDS": "", "PYTHONPATH": str(ROOT)}
    with on_the_way(seaweed, port) as proxy:
        # The bucket takes no chunk, so that there is something left to send.
        proxy.inject(Fault(Kind.STATUS, times=None, method="PUT", path_contains="/chunks/"))
        killed = fresh.start("-m", "worker.model.publish_process", directory, env=variables)
        until(lambda: proxy.count("PUT", "/chunks/"), 90)
        killed.kill()
        killed.communicate()
        (left,) = leases(fresh).values()
        assert left == 60, "seconds for which a collector waits for it"
        sent = proxy.count("PUT", "/chunks/")
        told = fresh.start("-c", ENDING, directory, env=variables)
        until(lambda: proxy.count("PUT", "/chunks/") > sent, 90)
        _, err = told.communicate("end\n", timeout=60)
    assert told.returncode == 1, err
    assert "Traceback" not in err
    assert sorted(leases(fresh).values()) == [0, 60]


def leases(station: Station) -> dict[str, int]:
    """For how many seconds the last entry of each lease counts."""
    bucket = open_bucket(station.store)
    keys = sorted(entry.key for entry in bucket.list("leases"))
    return {key.rpartition("-")[0]: json.loads(bytes(bucket.get(key, 1 << 16)))["seconds"] for key in keys}


def publishing(station: Station, endpoint: str) -> subprocess.Popen[str]:
    """The background publish alone, with its bucket at `endpoint`."""
    return station.start("-c", PUBLISHING, str(station.directories[0]), env={"AWS_ENDPOINT_URL": endpoint})
