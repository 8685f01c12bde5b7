"""A restore into a folder of the user's: layouts, collisions, whose files are replaced and removed, planted links."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import cas
from cas.errors import CasError, InputError
from cas.local.locks import Lock
from cas.store.store import Store
from tests.ops.restore.folders import FILES, OTHER, files_in, refused, restore
from tests.support.buckets import RecordingBucket
from tests.support.in_process import call_cas
from tests.support.models import KIB, REPO, noise, put_model, read_tree
from tests.support.processes import DIE_AT, cas_command


def test_the_files_are_there_as_they_are_and_nothing_is_done_twice(folder: Path, directory_store: Store) -> None:
    done = restore(directory_store, folder)
    assert files_in(folder) == FILES
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert done.files == {path: len(data) for path, data in FILES.items()}
    assert (done.folder, done.hub, done.snapshots) == (folder, None, {})
    assert done.fetched == 502 * KIB - 2 * KIB + 2, "the bytes of two equal files once"
    again = restore(directory_store, folder)
    assert (again.changed, again.fetched, again.reused) == (False, 0, 0)
    assert not Path(os.environ["HOME"]).exists(), "no cache was made"


def test_a_damaged_file_is_healed_and_an_update_fetches_what_is_new(folder: Path, directory_store: Store) -> None:
    restore(directory_store, folder)
    (folder / "config.json").write_bytes(b"damaged")
    assert restore(directory_store, folder).fetched == 2
    put_model(directory_store, {REPO: {**FILES, "model.bin": FILES["model.bin"][: 256 * KIB] + b"new"}})
    done = restore(directory_store, folder)
    assert (done.fetched, done.reused) == (3, 256 * KIB)
    assert (folder / "model.bin").read_bytes().endswith(b"new")


def test_layouts(folder: Path, directory_store: Store) -> None:
    restore(directory_store, cas.Folder(folder / "a", "{repo}/{path}"), "m", "other")
    assert files_in(folder / "a") == {
        **{f"org/model/{path}": data for path, data in FILES.items()},
        **{f"org/other/{path}": data for path, data in OTHER.items()},
    }
    restore(directory_store, cas.Folder(folder / "b", "{name}"), include=["*.bin"])
    assert files_in(folder / "b").keys() == {"model.bin", "second.bin", "copy.bin"}


def test_a_file_of_no_repo_has_its_path_alone(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: {"x": b"1"}}, {"torch/hub/y.pth": b"2"})
    for layout, paths in (("{path}", {"x", "torch/hub/y.pth"}), ("{repo}/{path}", {f"{REPO}/x", "torch/hub/y.pth"})):
        restore(directory_store, cas.Folder(tmp_path / layout[1:5], layout))
        assert files_in(tmp_path / layout[1:5]).keys() == paths


# Collisions


def test_two_files_of_one_path_are_refused_before_a_byte_moves(folder: Path, directory_store: Store) -> None:
    line = refused(directory_store, folder, "m", "other")
    assert f"'model.bin' in {folder} would be both 'model.bin' of org/model@" in line
    assert "which differ: give each repo a folder with --layout '{repo}/{path}'" in line
    assert not folder.exists()
    put_model(directory_store, {REPO: OTHER}, tag="v2")
    assert "which differ: leave one of them out with --exclude, or" in refused(directory_store, folder, "m", "m:v2")
    restore(directory_store, folder, "m", "other", exclude=["model.bin"])
    assert (folder / "README.md").exists()


def test_two_files_of_one_path_and_the_same_bytes_are_one_file(folder: Path, directory_store: Store) -> None:
    put_model(directory_store, {"org/third": {"config.json": b"{}"}}, model="third")
    assert restore(directory_store, folder, "m", "third").files["config.json"] == 2


@pytest.mark.parametrize(
    ("files", "layout", "told"),
    [
        ({"Model.bin": b"1"}, "{path}", "is the same file as"),
        ({"model.bin/x": b"1"}, "{path}", "to be a folder, which is a file"),
        ({"a/x": b"1", "b/x": b"2"}, "{name}", "would be both"),
    ],
)
def test_paths_that_exclude_each_other_are_refused(
    files: dict[str, bytes], layout: str, told: str, folder: Path, directory_store: Store
) -> None:
    put_model(directory_store, {"org/third": files}, model="third")
    assert told in refused(directory_store, folder, "m", "third", "--layout", layout)


@pytest.mark.parametrize("path", [".cas/verified.json", ".CAS/x", ".git/config", "sub/.Git/hooks/x", ".c\u200das/x"])
def test_no_version_writes_into_our_record_or_a_repository_of_git(
    path: str, directory_store: Store, tmp_path: Path
) -> None:
    put_model(directory_store, {REPO: {path: b"x", "good": b"1"}})
    assert "leave it out with --exclude" in refused(directory_store, tmp_path / "folder", "m")
    restore(directory_store, tmp_path / "folder", exclude=[path])
    assert files_in(tmp_path / "folder") == {"good": b"1"}


# Whose files they are


def _file(path: Path) -> None:
    path.write_bytes(b"mine")


def _same_size(path: Path) -> None:
    path.write_bytes(bytes(len(FILES["model.bin"])))


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def _folder(path: Path) -> None:
    (path / "below").mkdir(parents=True)


@pytest.mark.parametrize("plant", [_file, _same_size, _link, _folder])
def test_what_no_restore_made_is_not_replaced(
    plant: Callable[[Path], None], folder: Path, directory_store: Store
) -> None:
    folder.mkdir()
    plant(folder / "model.bin")
    inode = (folder / "model.bin").lstat().st_ino
    line = refused(directory_store, folder, "m", code=7)
    assert line.startswith(f"cas: {folder}/model.bin is in the way: no restore wrote it")
    assert line.endswith("or restore into another folder\n")
    assert (folder / "model.bin").lstat().st_ino == inode


def test_a_file_that_was_right_before_is_used_and_stays_the_users(folder: Path, directory_store: Store) -> None:
    folder.mkdir()
    (folder / "model.bin").write_bytes(FILES["model.bin"])
    inode = (folder / "model.bin").stat().st_ino
    assert restore(directory_store, folder).fetched == 200 * KIB + 2
    assert not restore(directory_store, folder).changed, "it was recorded as verified"
    refused(directory_store, folder, "other", code=7)
    restore(directory_store, cas.Folder(folder, delete=True), "other", include=["README.md"])
    assert files_in(folder) == {"model.bin": FILES["model.bin"], "README.md": b"other"}
    assert (folder / "model.bin").stat().st_ino == inode


def test_delete_removes_what_earlier_restores_made_and_nothing_else(folder: Path, directory_store: Store) -> None:
    (folder / "sub").mkdir(parents=True)
    (folder / "mine").write_bytes(b"mine")
    restore(directory_store, folder)
    restore(directory_store, cas.Folder(folder, "{repo}/{path}"))
    (folder / "copy.bin").write_bytes(b"edited")
    (folder / "org/model/mine").write_bytes(b"mine")
    words = ("--store", directory_store.url, "restore", "other", "--to", str(folder), "--delete", "--json")
    would = json.loads(call_cas(*words, "--dry-run").stdout)["removed"]
    assert (folder / "empty").exists(), "a dry run removes nothing"
    ran = call_cas(*words)
    assert ran.returncode == 0, ran.stderr
    assert (
        json.loads(ran.stdout)["removed"]
        == would
        == sorted({*FILES, *(f"org/model/{path}" for path in FILES)} - {"copy.bin", "model.bin"})
    )
    assert f"{folder}/copy.bin was changed since a restore wrote it: not removed" in ran.stderr
    kept = {"mine": b"mine", "copy.bin": b"edited", "org/model/mine": b"mine"}
    assert files_in(folder) == {**OTHER, **kept}
    assert (folder / "sub").is_dir(), "it was the user's before a file came into it"
    assert not (folder / "org/model/sub").exists()
    again = json.loads(call_cas(*words).stdout)
    assert (again["changed"], again["removed"]) == (False, [])


def test_delete_works_under_the_lock_where_no_file_is_missing(
    folder: Path, directory_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore(directory_store, folder)
    restore(directory_store, folder, "other", include=["README.md"])

    def remove(path: str, *, dir_fd: int, real: Callable[..., None] = os.unlink) -> None:
        held.append(Lock(folder / ".cas/cas.lock").try_acquire() is False)
        real(path, dir_fd=dir_fd)

    held: list[bool] = []
    monkeypatch.setattr(os, "unlink", remove)
    done = restore(directory_store, cas.Folder(folder, delete=True))
    assert (done.fetched, done.changed, done.removed, held[0]) == (0, True, ("README.md",), True)
    assert files_in(folder) == FILES


def test_delete_removes_what_a_killed_restore_had_finished(folder: Path, directory_store: Store) -> None:
    # Nothing is recorded as verified yet when the process dies: its last steps are the writing of the records.
    def die_at(step: int) -> subprocess.CompletedProcess[str]:
        words = (str(step), "--store", directory_store.url, "restore", "m", "--to", str(folder / str(step)))
        return subprocess.run(cas_command(*words, before=DIE_AT), capture_output=True, text=True, check=False)

    steps = int(die_at(0).stderr.rpartition("steps ")[2])
    for step in (steps - 12, steps // 2):
        assert die_at(step).returncode == -signal.SIGKILL
        to = folder / str(step)
        finished = {path: data for path, data in read_tree(to).items() if not path.startswith(".cas/")}
        assert finished.items() <= FILES.items(), "a file appears whole"
        assert len(finished) > 2 or step < steps - 12
        done = restore(directory_store, cas.Folder(to, delete=True), "other")
        assert set(done.removed) == finished.keys() - OTHER.keys()
        assert {path.name: path.read_bytes() for path in to.iterdir() if path.name != ".cas"} == OTHER


def test_a_killed_restore_is_resumed(folder: Path, directory_store: Store) -> None:
    words = ("--store", directory_store.url, "restore", "m", "--to", str(folder))
    killed = subprocess.run(cas_command("75", *words, before=DIE_AT), capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(folder.rglob("*.part"))
    done = restore(directory_store, folder)
    assert 0 < done.fetched < 500 * KIB
    assert files_in(folder) == FILES


# The cache as a seed, and calls


def test_what_the_cache_has_is_taken_from_it(folder: Path, directory_store: Store, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    cas.restore("m", directory_store, cache_dir=hub)
    bucket = RecordingBucket(directory_store.bucket)
    done = cas.restore("m", Store(bucket), to=folder, cache_dir=hub)
    assert (bucket.chunks, done.reused) == ([], 500 * KIB + 2)
    assert files_in(folder) == FILES
    assert not any((folder / path).samefile(hub) for path in FILES)


def test_other_models_in_the_folder_are_not_all_read(
    folder: Path, directory_store: Store, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cas.local.seeds._MAX_IN_VAIN", 0)
    folder.mkdir()
    for at in range(40):
        (folder / f"mine{at}").write_bytes(noise(64 * KIB, 100 + at))
    restore(directory_store, folder)
    assert 0 < sum(reads) < 8 * 64 * KIB, "half of what is missing, at most"


def test_the_command_says_what_it_did(folder: Path, directory_store: Store) -> None:
    words = ("--store", directory_store.url, "restore", "m", "other", "--local-dir", str(folder), "--include", "*.bin")
    words += ("--layout", "{repo}/{path}")
    ran = call_cas(*words, "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert f"would fetch 645.1 kB of 849.9 kB into {folder}; nothing was changed" in ran.stderr
    assert not folder.exists()
    ran = call_cas(*words)
    assert ran.stdout == f"{folder}\n"
    assert "849.9 kB (" in ran.stderr and " downloaded" in ran.stderr
    assert "849.9 kB, all of it was here, verified before" in call_cas(*words).stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--layout", "{name}"), "go with --to DIR"),
        (("--delete",), "go with --to DIR"),
        (("--to", "x", "--layout", "{nam}"), "layout '{nam}' is none of"),
        (("--to", "x", "--link", "soft"), "link 'soft' is none of"),
        (("--to", ""), "names no folder"),
        (("--to", "/etc/hostname"), "is no folder"),
    ],
)
def test_bad_calls(words: tuple[str, ...], told: str, folder: Path, directory_store: Store) -> None:
    ran = call_cas("--store", directory_store.url, "restore", "m", *words)
    assert ran.returncode == 2
    assert told in ran.stderr


def test_errors_of_the_disk_name_the_option_for_the_folder(
    folder: Path, directory_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cas.local.fs.free_bytes", lambda path: 1000)
    with pytest.raises(CasError, match="or choose another --to"):
        restore(directory_store, folder)


def test_publishing_the_folder_leaves_our_record_out(folder: Path, directory_store: Store) -> None:
    restore(directory_store, folder)
    cas.publish("again", cas.Source.from_folder(folder, REPO), directory_store)
    (repo,) = cas.restore("again", directory_store, to=folder).versions[0].snapshots or [None]
    assert repo is None
    assert cas.restore("again", directory_store, to=folder.parent / "b").files.keys() == FILES.keys()


def test_nothing_is_restored_of_no_reference(folder: Path, directory_store: Store) -> None:
    with pytest.raises(InputError, match="no version is named"):
        cas.restore([], directory_store, to=folder)
