"""Files outside any repo: which of the user's files a restore never replaces, and where it puts none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import cas
from cas.errors import CacheError
from cas.local.verified import VerifiedFiles
from cas.store.store import Store
from tests.support.buckets import slow_store
from tests.support.in_process import call_cas
from tests.support.models import COMMIT, KIB, REPO, noise, put_model, read_tree
from tests.support.processes import start_cas, until

OURS = noise(150 * KIB)
PATH = "torch/hub/x.pth"


@pytest.fixture
def home(directory_store: Store, tmp_path: Path) -> Path:
    """An HF_HOME that does not exist yet; the store has a version with a plain file for it."""
    put_model(directory_store, {REPO: {"config.json": b"{}"}}, {PATH: OURS})
    return tmp_path / "home"


def restore(home: Path, store: Store, model: str = "m") -> cas.Restored:
    return cas.restore(model, store, cache_dir=home / "hub")


def _file(path: Path) -> None:
    path.write_bytes(b"mine")


def _same_size(path: Path) -> None:
    path.write_bytes(bytes(len(OURS)))


def _beginning(path: Path) -> None:
    path.write_bytes(OURS[: 64 * KIB])


def _longer(path: Path) -> None:
    path.write_bytes(OURS + b"!")


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _folder(path: Path) -> None:
    (path / "below").mkdir(parents=True)


@pytest.mark.parametrize("plant", [_file, _same_size, _beginning, _longer, _link, _dangling, _folder])
def test_a_file_that_no_restore_wrote_is_not_replaced(
    plant: Callable[[Path], None], home: Path, directory_store: Store
) -> None:
    path = home / PATH
    path.parent.mkdir(parents=True)
    plant(path)
    before = (path.lstat().st_ino, path.lstat().st_mtime_ns, read_tree(home))
    for words in ([], ["--dry-run"], ["--verify"]):
        ran = call_cas("--store", directory_store.url, "restore", "m", "--cache-dir", str(home / "hub"), *words)
        assert ran.returncode == 7, ran.stderr
        assert ran.stderr.startswith(f"cas: {path} is in the way: no restore wrote it")
        assert ran.stderr.count("\n") == 1
        assert (path.lstat().st_ino, path.lstat().st_mtime_ns, read_tree(home)) == before, "nothing was written"


def test_a_file_with_the_right_bytes_is_taken_as_it_is(home: Path, directory_store: Store) -> None:
    (home / PATH).parent.mkdir(parents=True)
    (home / PATH).write_bytes(OURS)
    inode = (home / PATH).stat().st_ino
    assert restore(home, directory_store).fetched == len(b"{}")
    assert (home / PATH).stat().st_ino == inode


def test_what_a_restore_wrote_is_updated_and_healed(home: Path, directory_store: Store) -> None:
    restore(home, directory_store)
    (home / PATH).write_bytes(b"damaged")
    restore(home, directory_store)
    assert (home / PATH).read_bytes() == OURS
    put_model(directory_store, {}, {PATH: b"newer"}, model="newer")
    restore(home, directory_store, "newer")
    assert (home / PATH).read_bytes() == b"newer"


def test_what_a_killed_restore_wrote_is_updated_by_the_next_version(home: Path, directory_store: Store) -> None:
    put_model(directory_store, {REPO: {"w.bin": noise(640 * KIB, 5)}}, {"torch/empty": b"", PATH: OURS})
    with slow_store(directory_store, limit=8) as server:
        exact = cas.restore("m", directory_store, cache_dir=home / "hub", dry_run=True).reference
        process = start_cas("--store", server.url, "restore", exact, "--cache-dir", str(home / "hub"))
        until(lambda: server.stalling and (home / "torch/empty").exists())
        process.kill()
        process.communicate()
    put_model(directory_store, {}, {"torch/empty": b"not any more", PATH: b"newer"}, model="newer")
    restore(home, directory_store, "newer")
    assert (home / "torch/empty").read_bytes() == b"not any more"
    assert (home / PATH).read_bytes() == b"newer"


def test_a_file_that_appears_during_a_restore_is_not_replaced(home: Path, directory_store: Store) -> None:
    exact = cas.restore("m", directory_store, cache_dir=home / "hub", dry_run=True).reference
    with slow_store(directory_store, limit=1) as server:
        process = start_cas("--store", server.url, "restore", exact, "--cache-dir", str(home / "hub"))
        until(lambda: server.stalling)
        (home / PATH).parent.mkdir(parents=True)
        (home / PATH).write_bytes(b"mine")
        server.released.set()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 7
    assert f"{home / PATH} is in the way: no restore wrote it" in err
    assert (home / PATH).read_bytes() == b"mine"
    assert not (home / f"hub/models--org--model/snapshots/{COMMIT}").exists(), "nothing half of it is visible"


def test_a_claim_is_no_proof_of_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    path = ("torch", "x")
    record = VerifiedFiles(tmp_path)
    record.claim({path: "a" * 64})
    record = VerifiedFiles(tmp_path)
    assert record.names(path)
    assert not record.names(path, claimed=False)
    assert not record.names(("torch", "y"))
    tmp_path.joinpath(*path).write_bytes(b"")
    assert record.valid_stamp(path, "a" * 64) is None
    assert list(record.unchanged_files()) == []
    record.update({}, {})
    assert VerifiedFiles(tmp_path).names(path), "for as long as the file is there"
    tmp_path.joinpath(*path).unlink()
    record.update({}, {})
    assert not VerifiedFiles(tmp_path).names(path)


# Which directory becomes HF_HOME


@pytest.mark.parametrize("other", [".bashrc", "models", "token", ".ssh"])
def test_the_parent_of_a_cache_is_no_home_for_plain_files_if_it_holds_other_things(
    other: str, home: Path, directory_store: Store
) -> None:
    home.mkdir()
    (home / other).write_bytes(b"mine")
    words = ("--store", directory_store.url, "restore", "m", "--cache-dir", str(home / "hub"))
    for more in ([], ["--dry-run"]):
        ran = call_cas(*words, *more)
        assert ran.returncode == 7, ran.stderr
        assert f"set HF_HOME={home}" in ran.stderr
        assert ran.stderr.count("\n") == 1
        assert read_tree(home) == {other: b"mine"}
    assert call_cas(*words, env={"HF_HOME": str(home)}).returncode == 0
    assert (home / PATH).read_bytes() == OURS
    assert call_cas(*words).returncode == 0, "the restore left its record there"


@pytest.mark.parametrize("there", [(), ("hub/models--a--b",), ("hub", "torch/hub"), (".cas/parts", "mine")])
def test_an_empty_directory_or_one_that_restores_made_becomes_hf_home(
    there: tuple[str, ...], home: Path, directory_store: Store
) -> None:
    for folder in ("", *there):
        (home / folder).mkdir(parents=True, exist_ok=True)
    restore(home, directory_store)
    assert (home / PATH).read_bytes() == OURS


def test_a_version_without_plain_files_asks_for_no_home(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: {"config.json": b"{}"}})
    (tmp_path / ".bashrc").write_bytes(b"mine")
    restore(tmp_path, directory_store)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".bashrc", "hub", "store"]


def test_the_default_home_is_one_by_name(
    home: Path, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    default = tmp_path / "cache/huggingface"
    default.mkdir(parents=True)
    (default / "token").write_bytes(b"mine")
    restore(default, directory_store)
    assert (default / PATH).read_bytes() == OURS
    assert (default / "token").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_listed_is_told(home: Path, directory_store: Store) -> None:
    home.write_bytes(b"a file")
    with pytest.raises(CacheError, match="set HF_HOME="):
        restore(home, directory_store)
