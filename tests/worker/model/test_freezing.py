"""A background publish whose worker is frozen, as idle ones are: all its connections are gone when it wakes up."""

from __future__ import annotations

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
from tests.worker.station import FILES, SPEECH, Station, ended
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
            done = run_cas("gc", "--grace", "0", "--store", fresh.store, env=dict(os.environ))
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


def publishing(station: Station, endpoint: str) -> subprocess.Popen[str]:
    """The background publish alone, with its bucket at `endpoint`."""
    return station.start("-c", PUBLISHING, str(station.directories[0]), env={"AWS_ENDPOINT_URL": endpoint})
