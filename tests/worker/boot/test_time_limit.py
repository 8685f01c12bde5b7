"""How long a boot may take, beside how long RunPod waits for a worker."""

from __future__ import annotations

import math

import pytest

from cas.store.store import open_store
from tests.support.buckets import slow_store
from tests.support.models import put_model
from tests.worker.station import FILES, ROOT, Station, ended
from worker.boot.time_limit import time_limit


def test_a_boot_is_given_up_before_the_platform_gives_up_the_worker(station: Station) -> None:
    store = open_store(station.store)
    put_model(store, FILES, model="f5-tts")
    with slow_store(store, 0) as server:  # it never gives the first byte
        exact = "f5-tts@" + store.digests("f5-tts")[0]
        ran = station.boot(CAS_STORE=server.url, CAS_MODEL=exact, RUNPOD_INIT_TIMEOUT="1")
    assert ran.code == 6
    (told,) = ran.errors
    assert "the model did not come in time: RUNPOD_INIT_TIMEOUT is 1, after which RunPod takes a worker" in told
    assert ran.receipt["causes"] == [told.removeprefix("worker: error: no model: ")]


def test_a_boot_of_many_minutes_is_warned_of_where_runpod_counts(station: Station) -> None:
    code = (
        "from worker.boot import time_limit\ntime_limit._OF_RUNPOD = 0.2\n"
        "from worker.boot.boot import Boot\nboot = Boot.start()\nboot.wait(); boot.ready()"
    )
    station.hub.bytes_per_second = 600_000
    on_runpod = {"RUNPOD_WEBHOOK_GET_JOB": "http://127.0.0.1:9/job-take/$ID"}
    ran = ended(station.start("-c", code, env={"PYTHONPATH": str(ROOT), **on_runpod}))
    station.check(ran)
    (told,) = [line for line in ran.warnings if "RUNPOD_INIT_TIMEOUT is not set" in line]
    assert "the model is still on its way: RunPod takes a worker that is not ready after 0.2 s for unhealthy" in told


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("420", 400), ("800", 780), ("30", 15), ("99999", 7000), ("", 1800), ("soon", 1800), ("-1", 1800)],
)
def test_the_time_to_start_is_what_runpod_gives_less_a_margin(given: str, seconds: float) -> None:
    limit = time_limit({"RUNPOD_INIT_TIMEOUT": given})
    assert (limit.seconds, limit.warned_after) == (seconds, math.inf)
    on_runpod = time_limit({"RUNPOD_INIT_TIMEOUT": given, "RUNPOD_WEBHOOK_GET_JOB": "http://x"})
    assert (on_runpod.seconds, on_runpod.warned_after) == (seconds, 400 if seconds == 1800 else math.inf)
