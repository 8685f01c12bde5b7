"""A fleet: a real Dask scheduler and two real workers check a store together, and one worker is killed at its work."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from click.testing import CliRunner

from cas.bucket import Kind
from cas.cli.fsck import fsck as command
from cas.errors import InputError
from cas.ops.fsck import fleet
from cas.ops.fsck.fleet_state import FleetState, load_state
from cas.store.layout import chunk_key, manifest_key
from cas.store.store import Store
from cas.version import __version__
from tests.support.damage import NEW, OLD, edit, fill, flip, piece
from tests.support.in_process import call_cas
from tests.support.processes import run_cas, start_cas, start_process, until

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="Dask is not installed: pip install 'model-cas[fleet]'"
)

# Loaded by each worker (dask worker --preload, which may load it twice): it writes down each shard that begins. The
# first worker that begins shard 2 while there is a file `hold` writes down its number, and waits there for its death.
# While there is a file `refuse`, the store refuses shard 3.
PRELOAD = """
import os, threading
from cas.errors import StoreError
from cas.ops.fsck import checker
def path(name):
    return os.path.join({folder!r}, name)
def fsck(*args, check=checker.fsck, **given):
    with open(path("begun"), "a") as file:
        file.write(str(given["shard"]) + "\\n")
    if given["shard"].number == 3 and os.path.exists(path("refuse")):
        raise StoreError("it refuses")
    if given["shard"].number == 2:
        try:
            os.rename(path("hold"), path("held"))
        except FileNotFoundError:
            return check(*args, **given)
        with open(path("held"), "w") as file:
            file.write(str(os.getpid()) + "\\n")
        threading.Event().wait()
    return check(*args, **given)
if not hasattr(checker, "told"):
    checker.told, checker.fsck = True, fsck
"""


class Fleet(NamedTuple):
    """A scheduler with two workers, whose working folder has what they wrote down."""

    address: str
    folder: Path
    scheduler: subprocess.Popen[str]

    def begun(self) -> list[str]:
        """Return the shards that workers began, and forget them."""
        file = self.folder / "begun"
        found = file.read_text().split()
        file.unlink()
        return sorted(found)

    def wait_for_held(self) -> int:
        """Return the number of the process that stopped inside of shard 2, when one did."""
        held = self.folder / "held"
        until(lambda: held.exists() and held.read_text().endswith("\n"), timeout=120)
        return int(held.read_text())


def start_fleet(folder: Path, workers: int) -> Fleet:
    """Start a scheduler and so many workers, each a process of its own that writes to this folder."""
    found, preload = folder / "scheduler.json", folder / "preload.py"
    preload.write_text(PRELOAD.format(folder=str(folder)))
    scheduler = start_dask("scheduler", folder, "--port", "0", "--scheduler-file", str(found))
    until(lambda: found.exists() and found.read_text().endswith("}"), timeout=120)
    address = json.loads(found.read_text())["address"]
    for _ in range(workers):
        start_dask("worker", folder, address, "--no-nanny", "--nthreads", "1", "--preload", str(preload))
    return Fleet(address, folder, scheduler)


def start_dask(what: str, folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start a scheduler or a worker on this machine, and kill it at the test's end."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1", *words]
    quiet = {"DASK_LOGGING__DISTRIBUTED": "error", "DASK_TEMPORARY_DIRECTORY": str(folder / "scratch")}
    return start_process([*command, "--dashboard-address", "127.0.0.1:0"], quiet)


@pytest.fixture
def damaged(directory_store: Store) -> Store:
    """A store in which two chunks and a manifest are damaged, and one chunk is missing."""
    store = directory_store
    fill(store)
    edit(store, piece(NEW, 8), flip)
    store.bucket.delete(chunk_key(piece(OLD, 2)))
    (other,) = store.digests("other")
    store.bucket.put(manifest_key("other", other), b"{}", Kind.MANIFEST, overwrite=True)
    return store


def facts(document: str) -> dict[str, Any]:
    """Return the JSON of a check without its time, and with the names of damaged objects in one order."""
    found: dict[str, Any] = json.loads(document)
    del found["seconds"]
    for kind in ("missing", "corrupt", "undecodable"):
        found[kind] = (found[kind]["count"], sorted((each["what"], each["name"]) for each in found[kind]["items"]))
    return found


@needs_dask
def test_a_worker_that_is_killed_costs_the_work_on_its_shard(damaged: Store, tmp_path: Path) -> None:
    whole = call_cas("--json", "-q", "--store", damaged.url, "fsck")
    workers = start_fleet(tmp_path, 2)
    (tmp_path / "hold").touch()
    check = start_cas("--json", "--store", damaged.url, "fsck", "--fleet", workers.address, "--shards", "8")
    pid = workers.wait_for_held()
    assert check.stderr is not None
    assert check.stdout is not None
    told = (line.split(":")[0].removeprefix("shard ") for line in check.stderr if line.startswith("shard "))
    before = [next(told) for _ in range(6)]  # one more may be queued where shard 2 is
    os.kill(pid, signal.SIGKILL)
    assert sorted([*before, *told]) == [f"{number}/8" for number in range(1, 9)]
    assert facts(check.stdout.read()) == facts(whole.stdout)
    assert check.wait(timeout=120) == whole.returncode == 4
    begun = workers.begun()
    assert [begun.count(shard) for shard in (*before, "2/8")] == [1] * 6 + [2]


@needs_dask
def test_shards_that_cannot_be_checked_are_named_and_the_rest_is_reported(
    directory_store: Store, tmp_path: Path
) -> None:
    fill(directory_store)
    whole = json.loads(call_cas("--json", "-q", "--store", directory_store.url, "fsck").stdout)
    workers = start_fleet(tmp_path, 1)
    words = ("--json", "--store", directory_store.url, "fsck", "--fleet", workers.address, "--shards", "4")
    state = tmp_path / "state.json"

    (tmp_path / "refuse").touch()
    done = run_cas(*words, "--state", str(state))
    found = json.loads(done.stdout)
    assert (done.returncode, found["sound"], list(found["unchecked"])) == (6, False, ["3/4"])
    assert 0 < found["checked"] < whole["checked"]
    assert workers.begun() == ["1/4", "2/4", "3/4", "3/4", "3/4", "4/4"]
    assert "shard 3/4 could not be checked: worker tcp://127.0.0.1:" in done.stderr
    assert "it refuses" in done.stderr

    (tmp_path / "refuse").unlink()
    done = run_cas(*words, "--state", str(state))  # goes on
    assert (done.returncode, facts(done.stdout), state.exists()) == (0, facts(json.dumps(whole)), False)
    assert workers.begun() == ["3/4"]

    edit(directory_store, next(digest for digest in pieces() if digest[0] in "0123"), flip)
    other = start_cas(*words, before="from cas.ops.fsck import fleet; fleet.__version__ = '9.9'")
    _, err = other.communicate(timeout=120)
    assert other.returncode == 2
    assert err.startswith("cas: worker tcp://127.0.0.1:")
    assert f" has model-cas {__version__}: install model-cas[fleet] 9.9 there" in err

    (tmp_path / "hold").touch()
    check = start_cas(*words)
    assert check.stderr is not None
    assert check.stderr.readline().startswith("shard 1/4: ")
    workers.wait_for_held()
    workers.scheduler.kill()
    assert check.stdout is not None
    err, out = check.stderr.read(), check.stdout.read()
    assert (check.wait(timeout=120), list(json.loads(out)["unchecked"])) == (4, ["2/4", "3/4", "4/4"])
    assert len(err.splitlines()) == 1
    assert f"the scheduler at {workers.address} went away" in err


def pieces() -> list[str]:
    """Return the chunks of the newer version's weights."""
    return [piece(NEW, index) for index in range(12)]


@needs_dask
def test_a_worker_tells_its_failure_and_raises_nothing(directory_store: Store, tmp_path: Path) -> None:
    order = {"scope": None, "store": directory_store.url, "sample": 1.0, "shard": "1/2"}
    assert fleet.check_shard("9.9", order)[:2] == (None, 2)
    assert fleet.check_shard(__version__, {**order, "store": str(tmp_path / "none")})[:2] == (None, 3)
    result, code, text, worker = fleet.check_shard(__version__, {})
    assert (result, code, text, worker) == (None, 1, "KeyError: 'scope'", "none")


@needs_dask
def test_where_no_scheduler_answers_a_line_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        check = start_cas("fsck", "--fleet", address, before="from cas.ops.fsck import fleet; fleet._CONNECT = 0.2")
        _, err = check.communicate(timeout=120)
    assert check.returncode == 6
    assert err.startswith(f"cas: no Dask scheduler answers at {address} (")
    assert err.count("\n") == 1


def test_without_the_extra_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'model-cas\[fleet\]'"):
        fleet.fsck_by_fleet("tcp://127.0.0.1:8786", store=str(tmp_path))


@needs_dask
@pytest.mark.parametrize("address", ["", "scheduler", "tcp://", "tcp://host", "host:0", "host:65536", "inproc://1:2"])
def test_what_is_no_address_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no address of a Dask scheduler"):
        fleet.fsck_by_fleet(address, store=str(tmp_path))


@pytest.mark.parametrize(
    "words",
    [
        ("--shards", "4"),
        ("--fleet", "a:1", "--shard", "1/2"),
        ("--fleet", "a:1", "--repair-from", "hf"),
        ("--fleet", "a:1", "--merge", "x"),
        ("--fleet", "a:1", "--shards", "257"),
    ],
)
def test_options_that_exclude_each_other(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(command, words).exit_code == 2


def test_a_state_is_of_one_check(tmp_path: Path) -> None:
    begun = FleetState(store="/s", scope=None, sample=1, shards=4)
    path = tmp_path / "state.json"
    assert load_state(path, begun) is begun
    begun.save(path)
    assert load_state(path, begun) == begun
    for other in ({"store": "/t"}, {"scope": "m"}, {"sample": 0.5}, {"shards": 8}):
        with pytest.raises(InputError, match="is of another check, `cas --store /s fsck --shards 4`"):
            load_state(path, msgspec.structs.replace(begun, **other))
    path.write_bytes(b"{}")
    with pytest.raises(InputError, match="is no state"):
        load_state(path, begun)
