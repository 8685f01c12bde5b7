"""Pruning frees what restores made and nobody uses, the oldest first, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

import cas
from cas.errors import CacheError, CasError
from cas.formats.digest import short
from cas.local.made_files import MadeFiles
from cas.ops.prune import pruner
from cas.ops.prune.pruner import prune
from cas.store.store import Store
from tests.ops.prune.conftest import DAY, files_in, kept, removed, used
from tests.support.hub import check_offline
from tests.support.in_process import call_cas
from tests.support.installed import V1, V2, Machine, installed
from tests.support.models import put_model, read_tree
from tests.support.processes import die_at


def test_everything_goes_that_nobody_uses(machine: Machine) -> None:
    before = files_in(machine.hub)
    planned = prune(cache_dir=machine.hub, dry_run=True)
    assert files_in(machine.hub) == before
    done = prune(cache_dir=machine.hub)
    assert removed(planned) == removed(done) == [machine.v1, machine.v2]
    assert [v.freed for v in planned.removed] == [v.freed for v in done.removed]
    sizes = {data: len(data) for data in (*V1.values(), *V2.values())}
    assert done.freed == planned.freed == sum(sizes.values())
    assert files_in(machine.hub) == set()
    assert not machine.repo.exists()
    assert machine.restore("m:v1").fetched == sum(map(len, V1.values()))


def test_what_two_versions_share_stays_while_one_does(machine: Machine) -> None:
    done = prune(cache_dir=machine.hub, keep=1)
    assert removed(done) == [machine.v1]
    assert done.freed == len(V1["config.json"]) + len(V1["sub/one.bin"])
    assert machine.loaded() == V2
    assert len(list(machine.repo.glob("snapshots/*"))) == len(list(machine.repo.glob("trees/*"))) == 1
    check_offline(machine.hub, V2, versions=("2.4",))
    assert not machine.restore("m:v2").changed


def test_the_ref_of_a_removed_version_names_the_one_that_stays(machine: Machine) -> None:
    used(machine, machine.v1, 0)
    assert removed(prune(cache_dir=machine.hub, keep=1)) == [machine.v2]
    assert machine.loaded() == V1


def test_limits(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    put_model(machine.store, {"org/other": {"o.bin": b"o" * 1000}}, model="other")
    other = machine.restore("other").reference
    used(machine, other, 3)

    def would(**limits: Any) -> list[str]:
        return removed(prune(cache_dir=machine.hub, dry_run=True, **limits))

    assert would() == [other, machine.v1, machine.v2]
    assert would(keep=1) == [machine.v1]
    assert would(keep=2) == []
    assert would(unused_for=1.5 * DAY) == [other, machine.v1]
    assert would(unused_for=1.5 * DAY, keep=1) == [machine.v1]
    monkeypatch.setattr(pruner, "free_bytes", lambda _: 500)
    assert would(keep_free=500) == []
    assert would(keep_free=1500) == [other]
    assert would(keep_free=1501) == [other, machine.v1]
    short = prune(cache_dir=machine.hub, dry_run=True, keep_free=10**9)
    assert removed(short) == [other, machine.v1, machine.v2]
    assert kept(prune(cache_dir=machine.hub, dry_run=True, keep_free=1500, keep=1)) == {
        other: "it is one of the 1 of other that were used last",
        machine.v2: "it is one of the 1 of m that were used last",
    }


def test_files_that_no_restore_made_stay(machine: Machine) -> None:
    (v1, v2) = (Path(machine.restore(tag).snapshots["org/model"]) for tag in ("m:v1", "m:v2"))
    # Another program downloaded one of the version's blobs again, and has a snapshot with another.
    again, linked = (v1 / "sub/one.bin").resolve(), (v2 / "sub/two.bin").resolve()
    os.utime(again, ns=(1, 1))
    theirs = machine.repo / "snapshots" / ("d" * 40)
    theirs.mkdir()
    (theirs / "two.bin").symlink_to(f"../../blobs/{linked.name}")
    (theirs / "own.txt").write_bytes(b"own")
    (machine.repo / "refs/theirs").write_text("d" * 40)
    (v2 / "engine.plan").write_bytes(b"made by a program")
    (machine.hub / "version.txt").write_text("1")
    prune(cache_dir=machine.hub)
    assert again.read_bytes() == V1["sub/one.bin"]
    assert read_tree(theirs) == {"two.bin": V2["sub/two.bin"], "own.txt": b"own"}
    assert read_tree(v2) == {"engine.plan": b"made by a program"}
    assert {path.name for path in machine.repo.glob("refs/*")} == {"main", "theirs"}
    assert (machine.hub / "version.txt").exists()
    assert len(list(machine.repo.glob("blobs/*"))) == 2


def test_a_download_of_the_hub_s_client_stays_when_a_restore_of_the_same_is_pruned(machine: Machine) -> None:
    shutil.rmtree(machine.hub / ".locks")
    for record in machine.repo.glob(".cas/*.json"):
        record.unlink()
    machine.restore("m:v1")  # finds everything: it makes nothing
    machine.restore("m:v2")
    before = {name for name in files_in(machine.hub) if ".cas/" not in name}
    done = prune(cache_dir=machine.hub)
    assert (len(done.removed), done.freed) == (2, 0)
    assert {name for name in files_in(machine.hub) if ".cas/" not in name} == before


def test_what_a_killed_restore_left_goes_too(directory_store: Store, tmp_path: Path) -> None:
    machine = installed(directory_store, tmp_path / "hub", tmp_path / "published")
    steps = int(die_at(0, directory_store, tmp_path / "whole", "m:v1").stderr.rpartition("steps ")[2])
    for step in (steps // 3, steps // 2, steps - 15):
        die_at(step, directory_store, machine.hub, "m:v1")
        prune(cache_dir=machine.hub)
        assert files_in(machine.hub) == set(), step
    for step in (steps // 2, steps - 15):
        die_at(step, directory_store, machine.hub, "m:v1")
    machine.restore("m:v1")
    assert prune(cache_dir=machine.hub).freed == sum(map(len, V1.values()))
    assert files_in(machine.hub) == set()


@pytest.mark.parametrize("end", ["failed", "killed"])
def test_a_download_after_a_restore_that_did_not_end_stays(
    end: str, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = installed(directory_store, tmp_path / "hub", tmp_path / "published")
    machine.restore("m:v1", cache_dir=tmp_path / "of the hub's client")
    blobs = {path.name: path for path in (tmp_path / "of the hub's client").rglob("blobs/*")}
    chunk = max((tmp_path / "store").rglob("chunks/*/*"), key=lambda path: path.stat().st_size)
    chunk.rename(tmp_path / "lost")
    with monkeypatch.context() as patch:
        if end == "killed":
            patch.setattr(MadeFiles, "settle", lambda *_: None)
        with pytest.raises(CasError):
            machine.restore("m:v1")
    (tmp_path / "lost").rename(chunk)
    made = {path.name for path in machine.repo.glob("blobs/*")}
    assert made < blobs.keys()
    time.sleep(0.02)  # so that file systems tell the times apart
    for name in blobs.keys() - made:
        (machine.repo / "blobs").mkdir(exist_ok=True)
        shutil.copyfile(blobs[name], machine.repo / "blobs" / name)
    for reference in ("m:v1", "m:v2"):
        machine.restore(reference)
    prune(cache_dir=machine.hub)
    assert {path.name for path in machine.repo.glob("blobs/*")} == blobs.keys() - made


def test_a_killed_prune_is_ended_by_the_next(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pruner, "erase_repo", die)
        with pytest.raises(KeyboardInterrupt):
            prune(cache_dir=machine.hub, keep=1)
    assert machine.register.entry(machine.v1) is None
    assert removed(prune(cache_dir=machine.hub)) == [machine.v2]
    assert files_in(machine.hub) == set()


def test_plain_files_go_unless_another_version_needs_them(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HF_HOME", str(home))
    repos = {"org/model": {"a": b"a"}}
    put_model(directory_store, repos, {"torch/x.pth": b"x", "torch/sub/y.pth": b"y"})
    first = cas.restore("m", directory_store).reference
    put_model(directory_store, repos, {"torch/x.pth": b"x"})
    (home / "torch/mine.pth").write_bytes(b"mine")
    second = cas.restore("m", directory_store).reference
    machine = Machine(directory_store, home / "hub", first, second)
    used(machine, first, 1)
    assert removed(prune(keep=1)) == [first]
    assert read_tree(home / "torch") == {"x.pth": b"x", "mine.pth": b"mine"}
    assert removed(prune()) == [second]
    assert read_tree(home / "torch") == {"mine.pth": b"mine"}


def test_the_command_says_what_it_did(machine: Machine) -> None:
    words = ("prune", "--cache-dir", str(machine.hub))
    planned = call_cas(*words, "-n", "--keep", "1")
    assert planned.returncode == 0, planned.stderr
    lines = planned.stdout.splitlines()
    assert lines[0].split() == ["VERSION", "LAST", "USED", "WHAT"]
    assert lines[1].startswith(f"would remove  {short(machine.v1)}  20")
    assert lines[1].endswith("  2 files, 30.7 kB")
    assert lines[2].endswith("  it is one of the 1 of m that were used last")
    assert lines[3].startswith("30.7 kB would be freed, ")
    document = json.loads(call_cas(*words, "--json", "--unused-for", "36h").stdout)
    assert [version["reference"] for version in document["removed"]] == [machine.v1]
    assert (document["dry_run"], document["freed"], document["hub"]) == (False, 30_734, str(machine.hub))
    assert [version["reason"] for version in document["kept"]] == ["it was used lately"]
    lacking = call_cas(*words, "--keep-free", "900TB")
    assert "warning: " in lacking.stderr
    assert "nothing else may be removed" in lacking.stderr
    assert call_cas(*words).stdout.startswith(f"no restore has put anything into {machine.hub}\n")
    for wrong in (["--keep-free", "many"], ["--unused-for", "soon"], ["--keep", "-1"]):
        assert call_cas(*words, *wrong).returncode == 2


def test_nothing_outside_the_cache_is_removed(machine: Machine, tmp_path: Path) -> None:
    """A symlink that somebody planted below the cache leads no deletion out of it."""
    outside = tmp_path / "outside"
    shutil.move(machine.repo / "blobs", outside)
    (machine.repo / "blobs").symlink_to(outside)
    before = read_tree(outside)
    with pytest.raises(CacheError, match="is a symlink or a file where a directory belongs"):
        prune(cache_dir=machine.hub)
    assert read_tree(outside) == before


def test_where_no_restore_was_nothing_is_written(tmp_path: Path) -> None:
    assert prune(cache_dir=tmp_path / "hub").removed == ()
    assert list(tmp_path.iterdir()) == []
