"""What the restoring process says of files: each as soon as it is whole and verified, the largest last."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cas.local.verified import VerifiedFiles
from tests.support.buckets import slow_store
from tests.worker.model.test_kill import small_chunks
from tests.worker.station import FILES, SPEECH, Station, answer, close, whole_output
from worker.boot import messages
from worker.boot.messages import Arrived, Expected, Restored

WEIGHTS = "F5TTS_v1_Base/model_1250000.safetensors"
EVERY = {(repo, name) for repo, tree in FILES.items() for name in tree}


def said(out: str) -> list[messages.Message]:
    return [messages.decode(line.encode()) for line in out.splitlines()]


def restored(station: Station, **env: str) -> list[messages.Message]:
    """What it says from its start to its end."""
    words = ("-m", "worker.model.restore_process", str(station.directories[0]))
    return said(whole_output(station.start(*words, env=env))[0])


def check(arrived: list[Arrived]) -> None:
    """Each file is there with its bytes, and is what the record says was verified."""
    assert {(file.repo_id, name) for file in arrived for name in file.names} == EVERY
    for file in arrived:
        path = Path(file.path)
        assert all(path.read_bytes() == FILES[file.repo_id][name] for name in file.names)
        assert (file.size, file.mtime) == (path.stat().st_size, path.stat().st_mtime_ns)
        assert VerifiedFiles(path.parents[1]).is_unchanged(path)


def test_a_file_is_told_of_while_others_are_on_their_way(station: Station) -> None:
    store = small_chunks(station)
    # Enough for all but the largest file; then no request is answered.
    with slow_store(store, 20) as server:
        env = {"CAS_STORE": server.url, "CAS_MODEL": "f5-tts@" + store.digests("f5-tts")[0]}
        process = station.start("-m", "worker.model.restore_process", str(station.directories[0]), env=env)
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(len(EVERY))]
        server.released.set()
        answer(process)
        lines += process.stdout.readlines()
        process.wait(timeout=60)
        close(process)
    expected, *arrived, done = (messages.decode(line.encode()) for line in lines)
    assert isinstance(expected, Expected) and set(expected.files.values()) == EVERY
    assert isinstance(done, Restored) and done.bytes.present == 0
    assert all(isinstance(file, Arrived) for file in arrived)
    check([file for file in arrived if isinstance(file, Arrived)])
    assert isinstance(arrived[-1], Arrived) and arrived[-1].names == (WEIGHTS,)


def test_what_is_here_already_is_told_of_too(station: Station) -> None:
    station.publish()
    restored(station)
    expected, *arrived, done = restored(station)
    assert isinstance(expected, Expected) and isinstance(done, Restored)
    check([file for file in arrived if isinstance(file, Arrived)])
    station.publish(files={**FILES, SPEECH: {**FILES[SPEECH], "F5TTS_v1_Base/vocab.txt": b"c\n"}})
    _, *arrived, _ = restored(station)
    here = {name for file in arrived if isinstance(file, Arrived) for name in file.names if file.size > 100}
    assert here == {WEIGHTS, "pytorch_model.bin"}


def test_another_source_begins_anew(station: Station, tmp_path: Path) -> None:
    station.publish()
    mirror = str(tmp_path / "mirror")
    station.publish(store=mirror)
    for chunk in Path(station.store).glob("chunks/*/*"):
        chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    found = restored(station, CAS_MIRRORS=mirror)
    assert [type(message) for message in found].count(Expected) == 2
    last = max(at for at, message in enumerate(found) if isinstance(message, Expected))
    check([message for message in found[last:] if isinstance(message, Arrived)])


READ_AHEAD = """
import json, os
asked, real = [], os.posix_fadvise
def advise(fd, offset, size, advice):
    asked.append([os.fstat(fd).st_size, advice == os.POSIX_FADV_WILLNEED])
    real(fd, offset, size, advice)
os.posix_fadvise = advise
from worker.boot.boot import Boot
boot = Boot.start()
boot.wait()
print(json.dumps(sorted(asked)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such advice")
def test_the_system_reads_what_is_here_while_the_worker_imports(station: Station) -> None:
    station.publish()
    for _ in range(2):  # restored, and then here already
        out, err = station.start("-c", READ_AHEAD).communicate(timeout=60)
        sizes = sorted(len(data) for tree in FILES.values() for data in tree.values())
        assert json.loads(out) == [[size, True] for size in sizes], err


PROGRESS = """
import sys
from cas.cli.display import progress
from worker.boot.process import Parent
from worker.model import restore_process

class Noted(progress.Reporter):
    def __exit__(self, *words):
        super().__exit__(*words)
        print("progress ends", file=sys.stderr)

def reply(parent, real=restore_process._reply):
    print("reply awaited", file=sys.stderr)
    return real(parent)

progress.Reporter, restore_process._reply = Noted, reply
restore_process.main(sys.argv[1:], Parent())
"""


def test_no_progress_is_told_while_the_worker_loads_the_model(station: Station) -> None:
    station.publish()
    _, err = whole_output(station.start("-c", PROGRESS, str(station.directories[0])))
    told = [line for line in err.splitlines() if line in ("progress ends", "reply awaited")]
    assert told == ["progress ends", "reply awaited"], err
