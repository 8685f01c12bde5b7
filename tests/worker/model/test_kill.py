"""A boot that dies, in any phase and by SIGKILL, leaves nothing half done, and the next one goes on."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from cas.store.store import Store, open_store
from tests.support.buckets import slow_store
from tests.support.models import check_blobs, put_model
from tests.support.processes import DIE_AT, until
from tests.worker.station import FILES, ROOT, TOTAL, Station, answer, close, ended, whole_output

RESTORING = f"{DIE_AT}\nimport runpy\nrunpy.run_module('worker.model.restore_process', run_name='__main__')"
POINTS = 8


CHUNK = 16 * 1024


def small_chunks(station: Station) -> Store:
    """The version in chunks of 16 KiB, so that there is something to be killed between."""
    store = open_store(station.store)
    put_model(store, FILES, model="f5-tts", chunk=CHUNK)
    return store


def has_a_chunk(directory: Path) -> bool:
    """Whether a chunk is in a part file: until then a restore has fetched chunks, and may have written none."""
    contents = [data for files in FILES.values() for data in files.values()]
    chunks = {data[at : at + CHUNK] for data in contents for at in range(0, len(data), CHUNK)}
    for path in directory.glob("hub/models--*/**/*.part"):
        with contextlib.suppress(FileNotFoundError):
            data = path.read_bytes()
            if any(data[at : at + CHUNK] in chunks for at in range(0, len(data), CHUNK)):
                return True
    return False


def check_cache(directory: Path) -> None:
    for repo in directory.glob("hub/models--*"):
        check_blobs(repo)


def test_sigkill_of_the_restoring_process_at_any_step(station: Station) -> None:
    small_chunks(station)
    whole = station.start("-c", RESTORING, "0", str(station.folder / "whole"))
    _, err = whole_output(whole)
    steps = int(err.rpartition("steps ")[2])
    assert steps > 80
    for step in range(steps // POINTS, steps, steps // POINTS):
        directory = station.folder / str(step)
        process = station.start("-c", RESTORING, str(step), str(directory))
        answer(process)
        process.wait(timeout=60)
        close(process)
        assert process.returncode == -signal.SIGKILL
        check_cache(directory)
        station.check(station.boot(CAS_CACHE_DIRS=str(directory)))


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in found for child in file.read_text().split()]


@pytest.mark.parametrize("limit", [0, 12])
def test_a_restoring_process_that_is_killed_is_started_once_more(limit: int, station: Station) -> None:
    store = small_chunks(station)
    with slow_store(store, limit) as server:
        exact = "f5-tts@" + store.digests("f5-tts")[0]
        process = station.start("-m", "worker.boot", env={"CAS_STORE": server.url, "CAS_MODEL": exact})
        until(lambda: server.stalling)
        (restoring,) = children(process.pid)
        os.kill(restoring, signal.SIGKILL)
        server.released.set()
        ran = ended(process)
    station.check(ran, FILES)
    assert any("starting it once more" in line for line in ran.warnings)


def test_a_worker_that_is_killed_takes_the_restoring_process_with_it(station: Station) -> None:
    store = small_chunks(station)
    exact = "f5-tts@" + store.digests("f5-tts")[0]
    with slow_store(store, 12) as server:
        process = station.start("-m", "worker.boot", env={"CAS_STORE": server.url, "CAS_MODEL": exact})
        until(lambda: server.stalling and has_a_chunk(station.directories[0]))
        (restoring,) = children(process.pid)
        process.kill()
        process.wait(timeout=10)
        until(lambda: gone(restoring))
        close(process)
    check_cache(station.directories[0])
    ran = station.boot()
    station.check(ran, FILES)
    assert 0 < ran.receipt["bytes_fetched"] < TOTAL, "what had come is not fetched again"


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_a_worker_that_is_killed_while_the_hub_is_downloaded_from(station: Station) -> None:
    station.hub.bytes_per_second = 200_000
    process = station.start("-m", "worker.boot")
    until(lambda: list(station.directories[0].glob("hub/models--*/blobs/*.incomplete")))
    process.kill()
    process.wait(timeout=10)
    close(process)
    station.hub.bytes_per_second = None
    station.check(station.boot())


def test_a_boot_imports_from_the_repository_wherever_it_starts(station: Station) -> None:
    process = station.start(
        "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom worker.boot import boot; boot.main()"
    )
    station.check(ended(process))
