"""What is in use stays: by a command, a worker, a view, a restore; and nobody is surprised by a prune at work."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

import cas
from cas import events
from cas.errors import CacheError
from cas.local import locks
from cas.ops.prune.pruner import prune
from tests.ops.prune.conftest import DAY, files_in, kept, removed, used
from tests.support.in_process import call_cas
from tests.support.installed import V1, V2, Machine
from tests.support.models import read_tree
from tests.support.processes import bound_by_modes, cas_command, run_cas, start_cas, start_process


def test_a_version_in_use_stays_until_the_last_user_ends(machine: Machine) -> None:
    used(machine, machine.v2, 5)
    with cas.view("m:v1", machine.store, cache_dir=machine.hub) as view:
        with cas.view("m:v1", machine.store, cache_dir=machine.hub):
            pass
        used(machine, machine.v1, 40)
        done = prune(cache_dir=machine.hub, unused_for=DAY)
        assert (removed(done), kept(done)) == ([machine.v2], {machine.v1: "it is in use"})
        assert machine.loaded(view) == V1
        # What a prune finds in use is used now, however long ago the command began.
        assert kept(prune(cache_dir=machine.hub, unused_for=DAY)) == {machine.v1: "it was used lately"}
    assert removed(prune(cache_dir=machine.hub)) == [machine.v1]
    assert not view.exists()


def test_a_command_holds_its_version_and_a_killed_one_does_not(machine: Machine) -> None:
    words = ("--store", machine.store.url, "-q", "run", "m:v1", "--cache-dir", str(machine.hub), "--")
    command = start_cas(*words, "sh", "-c", "cat $HF_HUB_CACHE/models--org--model/refs/main; echo; exec sleep 60")
    assert command.stdout is not None
    commit = command.stdout.readline().strip()
    assert (machine.repo / "snapshots" / commit / "sub/one.bin").exists()
    assert kept(prune(cache_dir=machine.hub)) == {machine.v1: "it is in use"}
    command.send_signal(signal.SIGKILL)
    command.wait()
    assert removed(prune(cache_dir=machine.hub)) == [machine.v1]


def test_a_process_that_a_command_left_behind_holds_its_version(machine: Machine) -> None:
    words = ("--store", machine.store.url, "-q", "run", "m:v1", "--cache-dir", str(machine.hub), "--")
    ran = run_cas(*words, "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!")
    pid = int(ran.stdout)
    assert machine.v1 in kept(prune(cache_dir=machine.hub))
    os.kill(pid, signal.SIGKILL)
    subprocess.run(["sh", "-c", f"while kill -0 {pid} 2>/dev/null; do sleep 0.01; done"], check=True, timeout=30)
    assert removed(prune(cache_dir=machine.hub)) == [machine.v1]


def test_a_restore_that_a_prune_overtakes_restores_again(machine: Machine) -> None:
    """A restore that found everything here takes no lock: it must see that a prune removed what it found."""
    pruned = []

    def overtake(event: object) -> None:
        if event == events.Phase("link") and not pruned:
            pruned.append(prune(cache_dir=machine.hub))

    done = machine.restore("m:v2", on_event=overtake)
    assert removed(pruned[0]) == [machine.v1, machine.v2]
    assert done.fetched == sum(map(len, V2.values()))
    assert machine.loaded() == V2


def test_a_mark_that_a_killed_prune_left_holds_nobody_up(machine: Machine) -> None:
    folder = machine.hub / ".locks/.cas/prune"
    folder.mkdir()
    (folder / "at-work").touch()
    assert not machine.restore("m:v2").changed
    assert not (folder / "at-work").exists()


def test_a_repo_that_a_restore_works_on_stays(machine: Machine) -> None:
    lock = locks.Lock(machine.hub / ".locks/models--org--model/cas.lock", machine.hub)
    assert lock.try_acquire()
    done = prune(cache_dir=machine.hub)
    assert set(kept(done).values()) == {"a restore is at work on its repos"}
    assert machine.loaded() == V2
    lock.release()


def test_nothing_goes_where_locks_do_not_work(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    before = files_in(machine.hub)
    for dry_run in (True, False):
        with pytest.raises(CacheError, match="locks do not work"):
            prune(cache_dir=machine.hub, dry_run=dry_run)
    assert files_in(machine.hub) - {".locks/.cas/prune/lock"} == before
    with cas.view("m:v1", machine.store, cache_dir=machine.hub) as view:
        assert machine.loaded(view) == V1


def test_files_of_others_in_a_view_stay(machine: Machine) -> None:
    with cas.view("m:v1", machine.store, cache_dir=machine.hub) as view:
        (view / "models--org--new/blobs").mkdir(parents=True)
        (view / "models--org--new/blobs/downloaded").write_bytes(b"by a program")
    done = call_cas("prune", "--cache-dir", str(machine.hub))
    assert "stays: other programs have put files into it" in done.stderr
    assert [path.name for path in view.rglob("*") if path.is_file()] == ["downloaded"]
    again = call_cas("prune", "--cache-dir", str(machine.hub))
    assert (again.returncode, again.stderr) == (0, "")
    assert machine.restore("m:v1").changed


def test_links_that_a_program_made_in_a_view_lead_to_its_files(machine: Machine) -> None:
    with cas.view("m:v1", machine.store, cache_dir=machine.hub) as view:
        cas.restore("m:v2", machine.store, cache_dir=view / "other")
        (view / "other" / machine.repo.name).rename(view / "models--org--new")
    prune(cache_dir=machine.hub)
    assert read_tree(next((view / "models--org--new/snapshots").iterdir())) == V2
    assert not (view / machine.repo.name).exists()


def test_who_may_only_read_the_cache_holds_what_he_uses(machine: Machine) -> None:
    for path in (machine.hub, *machine.hub.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o555)
        elif not path.is_symlink():
            path.chmod(0o444)
    words = cas_command("--store", machine.store.url, "-q", "run", "m:v2", "--cache-dir", str(machine.hub), "--")
    command = start_process([*bound_by_modes(words), "sh", "-c", "echo; exec sleep 60"], {})
    assert command.stdout and command.stdout.readline()
    for path in (machine.hub, *machine.hub.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)
    assert kept(prune(cache_dir=machine.hub)) == {machine.v2: "it is in use"}


def test_a_dry_run_uses_nothing(machine: Machine) -> None:
    folder = machine.hub.joinpath(*machine.register.components(machine.v1))
    (folder / "lock").unlink()
    os.utime(folder / "entry.json", (1, 1))
    for _ in range(2):
        assert machine.v1 in removed(prune(cache_dir=machine.hub, dry_run=True, unused_for=DAY / 2))
