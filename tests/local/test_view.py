"""A version's view of the hub cache: what it shows, what it survives, and what it refuses."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

import cas
from cas import config
from cas.errors import CacheError
from cas.events import Event, Noted, Warned
from cas.local.register import Register
from cas.local.view import View
from cas.store.store import Store
from tests.support.hub import check_offline
from tests.support.in_process import call_cas
from tests.support.installed import V1, V2, Machine, installed
from tests.support.models import put_model, read_tree


@pytest.fixture
def machine(directory_store: Store, tmp_path: Path) -> Machine:
    return installed(directory_store, tmp_path / "cache/hub", tmp_path / "published")


def view_of(machine: Machine, reference: str) -> View:
    entry = machine.register.entry(reference)
    assert entry is not None
    return View(config.cache_dirs(machine.hub), entry)


def stamped(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def test_real_clients_load_a_version_whatever_is_restored_beside_it(machine: Machine) -> None:
    with cas.view("m:v1", machine.store, cache_dir=machine.hub) as view:
        before = stamped(view)
        machine.restore("m:v2")
        assert machine.loaded() == V2
        assert machine.loaded(view) == V1
        assert stamped(view) == before
        check_offline(view, V1)
    assert all(path.is_symlink() or path.stat().st_size < 1000 for path in view.rglob("*") if not path.is_dir())


def test_a_restore_that_moves_main_off_a_version_says_so_in_one_line(machine: Machine, tmp_path: Path) -> None:
    words = ("restore", "--store", machine.store.url, "--cache-dir", str(machine.hub))
    first = call_cas(*words, "m:v1")
    assert "moved" not in first.stderr
    moved = [line for line in call_cas(*words, "m:v2").stderr.splitlines() if "moved" in line]
    old, new = (reference.replace("blake3:", "")[:14] for reference in (machine.v1, machine.v2))
    assert len(moved) == 1
    assert moved[0].startswith(f"org/model: main moved from {old} to {new}: programs that load main from {machine.hub}")
    assert call_cas("-q", *words, "m:v1").stderr == ""
    # A commit that no restore put there is a detail, for -v.
    (machine.repo / "refs/main").write_text("d" * 40)
    heard: list[Event] = []
    machine.restore("m:v2", on_event=heard.append)
    assert [event.important for event in heard if isinstance(event, Noted) and "moved" in event.text] == [False]


def test_a_view_shows_what_else_the_cache_has(machine: Machine) -> None:
    put_model(machine.store, {"org/other": {"o.bin": b"other"}}, model="other")
    machine.restore("other")
    machine.restore("m:v2")
    (machine.repo / "refs/refs/pr").mkdir(parents=True)
    (machine.repo / "refs/refs/pr/1").write_text("e" * 40)
    with cas.view("m:v1", machine.store, cache_dir=machine.hub) as view:
        repo = view / machine.repo.name
        assert read_tree(view / "models--org--other/snapshots") == {f"{'c' * 40}/o.bin": b"other"}
        configs = {path.read_bytes() for path in repo.glob("snapshots/*/config.json")}
        assert configs == {V1["config.json"], V2["config.json"]}
        assert (repo / "refs/refs/pr/1").read_text() == "e" * 40
        assert os.path.samefile(view / ".locks", machine.hub / ".locks")
        assert os.path.samefile(repo / "blobs", machine.repo / "blobs")
    shutil.rmtree(machine.hub / "models--org--other")
    with cas.view("m:v1", machine.store, cache_dir=machine.hub) as view:
        assert not os.path.lexists(view / "models--org--other")


def test_other_files_of_the_same_commit_are_not_shown(machine: Machine) -> None:
    machine.restore("m:v1")
    commit = (machine.repo / "refs/main").read_text()
    (machine.repo / "snapshots" / commit / "model.safetensors").write_bytes(b"preferred by clients")
    with cas.view("m:v1", machine.store, cache_dir=machine.hub) as view:
        assert machine.loaded(view) == V1
        tree = json.loads((view / machine.repo.name / f"trees/{commit}.json").read_text())
        assert tree["files"].keys() == V1.keys()


def test_a_view_is_mended_and_otherwise_left_alone(machine: Machine) -> None:
    machine.restore("m:v1")
    view = view_of(machine, machine.v1)
    view.prepare()
    whole, commit = stamped(view.hub.parent), (machine.repo / "refs/main").read_text()
    view.prepare()
    assert stamped(view.hub.parent) == whole
    repo = view.hub / machine.repo.name
    (repo / "refs/main").write_text("0" * 40)
    (repo / "snapshots" / commit / "config.json").unlink()
    (repo / "snapshots" / commit / "shared.bin").unlink()
    (repo / "snapshots" / commit / "shared.bin").write_bytes(b"another program's")
    (repo / "snapshots" / commit / "engine.plan").write_bytes(b"made by the program")
    shutil.rmtree(repo / "trees")
    view.prepare()
    assert machine.loaded(view.hub) == {**V1, "engine.plan": b"made by the program"}
    assert (repo / f"trees/{commit}.json").is_file()


def test_views_that_are_made_at_once_are_one_whole_view(machine: Machine) -> None:
    machine.restore("m:v1")
    start = threading.Barrier(8)
    errors: list[BaseException] = []

    def make() -> None:
        start.wait()
        try:
            view = view_of(machine, machine.v1)
            view.prepare()
            assert machine.loaded(view.hub) == V1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(path.name for path in view_of(machine, machine.v1).hub.parent.parent.iterdir()) == [
        "entry.json",
        "lock",
        "view",
    ]


def test_plain_files_stay_what_they_are(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, hub = tmp_path / "home", tmp_path / "home/hub"
    monkeypatch.setenv("HF_HOME", str(home))
    (home / "torch/hub/checkpoints").mkdir(parents=True)
    (home / "torch/hub/checkpoints/mine.pth").write_bytes(b"mine")
    path = "torch/hub/checkpoints/x.pth"
    put_model(directory_store, {"org/model": {"a": b"a"}}, {path: b"first"})
    first = cas.restore("m", directory_store)
    with cas.view("m", directory_store) as view:
        torch = view.parent
        assert (torch / path).read_bytes() == b"first"
        assert (torch / "torch/hub/checkpoints/mine.pth").read_bytes() == b"mine"
        put_model(directory_store, {"org/model": {"a": b"a"}}, {path: b"second"})
        cas.restore("m", directory_store)
        assert (home / path).read_bytes() == b"second"
        # What a shell asks for meanwhile does not put the other version's file into this one's view.
        assert "is not in" in call_cas("env", first.reference, "--store", directory_store.url).stderr
        assert (torch / path).read_bytes() == b"first"
    shell = json.loads(call_cas("env", "m", "--json", "--store", directory_store.url).stdout)
    assert Path(shell["TORCH_HOME"], "hub/checkpoints/x.pth").read_bytes() == b"second"
    assert shell["HF_HOME"] == str(home)
    assert config.cache_dirs(shell["HF_HUB_CACHE"]).hub == hub


def test_a_command_below_a_view_works_on_the_cache_itself(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with cas.view("m:v1", machine.store, cache_dir=machine.hub) as view:
        monkeypatch.setenv("HF_HUB_CACHE", str(view))
        assert config.cache_dirs().hub == config.cache_dirs(view).hub == machine.hub
        done = cas.restore("m:v2", machine.store)
        assert Path(done.hub) == machine.hub
        with cas.view("m:v2", machine.store) as inner:
            assert machine.loaded(inner) == V2
    for other in (view.parent, view / "x", machine.hub / ".locks/.cas"):
        assert config.cache_dirs(other).hub == other


@pytest.mark.parametrize("planted", [".locks/.cas", "version", "view", "view/hub", "repo", "refs"])
def test_a_planted_symlink_is_refused(planted: str, machine: Machine, tmp_path: Path) -> None:
    with cas.view("m:v1", machine.store, cache_dir=machine.hub) as view:
        pass
    places = {".locks/.cas": 3, "version": 2, "view": 1, "view/hub": 0}
    path = {"repo": view / machine.repo.name, "refs": view / machine.repo.name / "refs"}.get(planted)
    path = path or [view, *view.parents][places[planted]]
    outside = tmp_path / "outside"
    shutil.move(path, outside)
    before = stamped(outside)
    path.symlink_to(outside)
    again = cas.view("m:v1", machine.store, cache_dir=machine.hub)
    with pytest.raises(CacheError, match="is a symlink or a file where a directory belongs"), again:
        pass
    assert stamped(outside) == before


@pytest.mark.parametrize(
    ("key", "value"),
    [("path", "../../../../escaped"), ("blob", "../x"), ("repo_id", "../x"), ("repo_type", "../x"), ("version", 2)],
)
def test_a_planted_entry_counts_as_none(key: str, value: object, machine: Machine) -> None:
    machine.restore("m:v1")
    path = machine.hub.joinpath(*Register.components(machine.v1), "entry.json")
    entry = json.loads(path.read_text())
    (repo,) = entry["repos"]
    if key == "path":
        repo["files"][value] = repo["files"]["config.json"]
    elif key == "blob":
        repo["files"]["config.json"][0] = value
    else:
        (entry if key == "version" else repo)[key] = value
    path.write_text(json.dumps(entry))
    assert machine.register.entry(machine.v1) is None
    assert machine.register.entries() == []
    machine.restore("m:v1")
    assert [one.entry.reference for one in machine.register.entries()] == [machine.v1]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EROFS, errno.ENOSPC])
def test_where_no_view_can_be_made_the_cache_itself_is_used(
    number: int, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.restore("m:v1")
    monkeypatch.setattr(os, "symlink", lambda *_, **__: (_ for _ in ()).throw(OSError(number, os.strerror(number))))
    heard: list[Event] = []
    with cas.view("m:v1", machine.store, cache_dir=machine.hub, on_event=heard.append) as view:
        assert view == machine.hub
    (warning,) = (event.text for event in heard if isinstance(event, Warned))
    assert warning.startswith(f"{machine.v1} gets no view of its own (")
    assert not list(machine.hub.glob(".locks/.cas/*/*.tmp"))


def test_a_copy_of_a_cache_without_symlinks_has_views(machine: Machine) -> None:
    machine.restore("m:v1")
    (snapshot,) = machine.repo.glob("snapshots/*")
    for path in [path for path in snapshot.rglob("*") if path.is_symlink()]:
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    shutil.rmtree(machine.repo / "blobs")
    with cas.view("m:v1", machine.store, cache_dir=machine.hub) as view:
        assert machine.loaded(view) == V1
