"""What a model may consist of: many files, none, shared ones, several repos, files outside any repo."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

import cas
from cas.local.hf_cache import RepoCache
from cas.store.store import Store
from tests.support.hub import check_offline
from tests.support.in_process import call_cas
from tests.support.models import COMMIT, KIB, REPO, check, noise, put_model, read_tree
from tests.support.processes import outcomes, start_cas

FEW_FILES = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"


def test_several_repos_and_plain_files_come_back_together(directory_store: Store, tmp_path: Path) -> None:
    first = {"config.json": b"{}", "deep/er/still/w.bin": noise(200 * KIB), "leer": b"", "naïve/模型.txt": b"unicode"}
    second = {"config.json": b"{}", "w.bin": noise(64 * KIB)}
    plain = {"torch/hub/checkpoints/x.pth": noise(100 * KIB), "torch/empty": b"", "torch/same.pth": noise(100 * KIB)}
    put_model(directory_store, {REPO: first, "solo": second}, plain)
    restored = cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    check(restored, first)
    check(restored, second, "solo")
    for path, data in plain.items():
        assert (tmp_path / "home" / path).read_bytes() == data
    assert restored.fetched == (200 + 36) * KIB + len(b"{}unicode"), "each chunk once: noise begins alike"
    assert not cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub").changed
    check_offline(tmp_path / "home/hub", first)
    check_offline(tmp_path / "home/hub", second, "solo")


def test_files_below_hf_home_come_from_a_source(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a/torch/hub/x.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(noise(1000))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "a"))
    cas.publish("m", cas.Source(files=("torch/*",)), directory_store)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "b"))
    cas.restore("m", directory_store)
    assert (tmp_path / "b/torch/hub/x.pth").read_bytes() == noise(1000)


def test_thousands_of_files_need_few_descriptors(directory_store: Store, tmp_path: Path) -> None:
    files = {f"{at % 30}/{at}.txt": b"%d" % at for at in range(3000)}
    put_model(directory_store, {REPO: files})
    words = ("--store", directory_store.url, "--json", "restore", "m", "--cache-dir", str(tmp_path / "c"))
    (restored,) = outcomes([start_cas(*words, before=FEW_FILES)])
    check(restored, files)
    (again,) = outcomes([start_cas(*words, before=FEW_FILES)])
    assert not again.changed
    assert again.seconds < 2


def test_many_files_begun_at_once_need_few_descriptors(directory_store: Store, tmp_path: Path) -> None:
    shared = noise(64 * KIB)
    files = {f"{at}.bin": shared + b"%d" % at for at in range(300)}
    put_model(directory_store, {REPO: files})
    words = ("--store", directory_store.url, "--json", "restore", "m", "--cache-dir", str(tmp_path / "c"))
    (restored,) = outcomes([start_cas(*words, before=FEW_FILES)])
    check(restored, files)
    assert restored.fetched < 66 * KIB


def test_two_commits_of_one_repo_share_its_blobs(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: {"a": noise(9), "b": b"old"}}, model="old", commit="1" * 40)
    put_model(directory_store, {REPO: {"a": noise(9), "b": b"new"}}, model="new", commit="2" * 40)
    older = cas.restore("old", directory_store, cache_dir=tmp_path)
    newer = cas.restore("new", directory_store, cache_dir=tmp_path)
    assert newer.fetched == len(b"new")
    check(newer, {"a": noise(9), "b": b"new"})
    assert read_tree(Path(older.snapshots[REPO])) == {"a": noise(9), "b": b"old"}


@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_the_umask_decides_who_may_read(
    umask: int, file_mode: int, folder_mode: int, directory_store: Store, tmp_path: Path
) -> None:
    put_model(directory_store, {REPO: {"sub/a": noise(9)}}, {"torch/q": b"plain"})
    before = os.umask(umask)
    try:
        cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    finally:
        os.umask(before)
    paths = [path for path in (tmp_path / "home").rglob("*") if not path.is_symlink()]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert modes == {path: folder_mode if path.is_dir() else file_mode for path in paths}
    root = RepoCache(tmp_path / "home/hub", "model", REPO).root
    assert {root / "refs/main", root / f"trees/{COMMIT}.json", root / ".cas/verified.json"} < modes.keys()


def test_the_command_prints_where_the_snapshots_are(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: {"a": b"1"}, "solo": {"b": b"2"}})
    ran = call_cas("--store", directory_store.url, "restore", "m", "--cache-dir", str(tmp_path / "c"))
    assert [json.dumps(read_tree(Path(line)), default=bytes.decode) for line in ran.stdout.splitlines()] == [
        '{"a": "1"}',
        '{"b": "2"}',
    ]
