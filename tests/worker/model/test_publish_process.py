"""The background publish after a fresh download: complete or invisible, resumable, and the same for many workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cas.refs.reflog import Ref, RefLog
from cas.store.store import open_store
from tests.support.processes import DIE_AT
from tests.worker.station import AWAY, FILES, SPEECH, Station, close, ended, whole_output
from worker.boot.messages import Bytes, Restored
from worker.model import publish_process

# Tells at which step the tag gets its name: a publish makes that durable, which takes steps that come too late here.
PUBLISHING = f"""{DIE_AT}
def telling(function):
    def call(source, path, *args, **kwargs):
        done = function(source, path, *args, **kwargs)
        if "/refs/tags/" in str(path):
            print("named", -left[0], file=sys.stderr, flush=True)
        return done
    return call
os.link, os.rename = telling(os.link), telling(os.rename)
import runpy
runpy.run_module('worker.model.publish_process', run_name='__main__')
"""

STORY = """
import sys
from worker.model import publish_process
from worker.boot.boot import Boot
boot = Boot.start()
booted = boot.wait()
boot.ready()
process = publish_process.start(booted)
sys.exit(process.wait() if process else 99)
"""


PUBLISH_NOW = """
import sys
from pathlib import Path
from worker.model import publish_process
sys.exit(publish_process.main(Path(sys.argv[1]), pause=0.01))
"""

LATEST = Ref("tags", "f5-tts", "latest")


def test_a_fresh_download_is_published_and_the_next_worker_needs_no_hub(station: Station) -> None:
    first = ended(station.start("-c", STORY))
    station.check(first)
    (told,) = [line for line in first.err.splitlines() if "background publish" in line]
    (version,) = station.versions()
    assert f"f5-tts@blake3:{version} is in {station.store}" in told
    station.hub.down = True
    for directory in station.directories:
        subprocess.run(["rm", "-rf", str(directory)], check=True)
    second = ended(station.start("-c", STORY))
    assert second.code == 99, "what was restored is not published"
    assert second.receipt["version"].endswith(version)
    second.code = 0
    station.check(second)


def test_several_workers_publish_one_version(station: Station) -> None:
    processes = [station.start("-c", STORY, env={"CAS_CACHE_DIRS": str(station.folder / str(n))}) for n in range(3)]
    for process in processes:
        ran = ended(process)
        assert ran.code == 0, ran.err
        assert "background publish: f5-tts@" in ran.err
    ran = station.boot()
    station.check(ran)
    (move,) = RefLog(open_store(station.store), LATEST).history()
    assert ran.receipt["version"] == f"f5-tts@{move.entry.manifest}", "whoever came later found it done"


@pytest.mark.parametrize("removed", [False, True], ids=["chosen", "chosen and taken away"])
def test_a_version_that_somebody_chose_meanwhile_stays(removed: bool, station: Station) -> None:
    station.boot()  # the worker downloads, and will publish after its first job
    other = {**FILES, SPEECH: {**FILES[SPEECH], "F5TTS_v1_Base/vocab.txt": b"c\n"}}
    station.publish(files=other)
    latest = RefLog(open_store(station.store), LATEST)
    if removed:
        latest.append(None, "not this one", by="anna")
    before = latest.names()
    ran = ended(station.start("-c", PUBLISH_NOW, str(station.directories[0])))
    assert ran.code == 0, ran.err
    assert not ran.warnings
    assert "background publish: nothing was published, as somebody else chose: f5-tts:latest was moved to" in ran.err
    assert latest.names() == before
    assert len(station.versions()) == 1


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_publish_that_is_killed_moves_no_tag_and_the_next_one_goes_on(share: float, station: Station) -> None:
    station.boot()
    a, b = station.directories
    steps_of = station.start("-c", PUBLISHING, "0", str(a), env={"CAS_STORE": str(station.folder / "whole")})
    _, err = whole_output(steps_of)
    step = int(int(re.findall("named ([0-9]+)", err)[0]) * share)
    process = station.start("-c", PUBLISHING, str(max(1, step)), str(a))
    process.wait(timeout=60)
    close(process)
    assert process.returncode == -signal.SIGKILL
    assert not list(Path(station.store).glob("refs/tags/*/*/*"))
    station.hub.requests.clear()
    next_worker = ended(station.start("-c", STORY, env={"CAS_CACHE_DIRS": str(b)}))
    station.check(next_worker)
    assert next_worker.receipt["source"] == "hub"
    station.hub.down = True
    restored = station.boot(CAS_CACHE_DIRS=str(station.folder / "c"))
    station.check(restored)
    assert restored.receipt["source"] == "store"


def test_a_publish_ends_with_its_worker(station: Station) -> None:
    process = station.start("-m", "worker.model.publish_process", str(station.directories[0]), env={"CAS_STORE": AWAY})
    assert process.stdin
    process.stdin.close()
    assert process.wait(timeout=10) == 1
    process.stdin = None
    close(process)


def test_a_store_that_is_away_fails_no_job_and_is_told_once(station: Station) -> None:
    station.boot()
    ran = ended(station.start("-c", PUBLISH_NOW, str(station.directories[0]), env={"CAS_STORE": f"{AWAY}/x"}))
    assert ran.code == 6
    (told,) = ran.warnings
    assert "background publish failed" in told
    assert "the next worker goes on where it stopped" in told


def test_nothing_is_published_where_nothing_should_be(station: Station) -> None:
    station.publish()
    assert ended(station.start("-c", STORY, env={"CAS_STORE": AWAY})).code == 99, "the store may hold another version"
    by_hub = {"CAS_MODEL": "f5-tts:v9", "CAS_FALLBACK": "hub"}
    assert ended(station.start("-c", STORY, env=by_hub)).code == 99, "latest is not what was asked"
    empty = {"CAS_STORE": str(station.folder / "empty")}
    assert ended(station.start("-c", STORY, env={**empty, "CAS_PUBLISH": "off"})).code == 99
    assert ended(station.start("-c", STORY, env={**empty, "ENABLE_S3_MODEL_CACHE": "0"})).code == 99


def test_an_edited_cache_is_not_published(station: Station) -> None:
    station.boot()
    for blob in (station.directories[0] / "hub").glob("models--SWivid*/blobs/*"):
        blob.write_bytes(b"edited")
    process = station.start("-m", "worker.model.publish_process", str(station.directories[0]))
    _, err = whole_output(process)
    assert process.returncode == 4, err
    assert "background publish failed" in err
    assert not Path(station.store, "refs").exists()


def test_a_start_that_fails_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", "/none/python")
    booted = Restored(
        source="hub",
        where="",
        directory=str(tmp_path),
        directory_reason="",
        version="",
        version_reason="",
        snapshots={},
        complete=False,
        publish=True,
        bytes=Bytes(),
    )
    assert publish_process.start(booted) is None
    assert "background publish cannot be started" in capfd.readouterr().err


def test_it_steps_back_for_everybody_else() -> None:
    code = "from worker.model import publish_process; publish_process._lower_priority(); import os; print(os.nice(0))"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == 19
