"""A restore meets something else where its cache should have a small file: it heals it, or says what is in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

import cas
from cas.errors import CacheError
from cas.ops.verify import verify
from cas.store.store import Store
from tests.support.models import COMMIT, KIB, REPO, check, noise, put_model, read_tree, snapshot
from tests.support.planted import PLANTS, plant
from tests.support.processes import run_cas

FILES = {"a.bin": noise(90 * KIB, 1), "config.json": b"{}"}
ROOT = "models--org--model"
NAMES = (f"{ROOT}/refs/main", f"{ROOT}/trees/{COMMIT}.json", f"{ROOT}/.cas/verified.json", f"{ROOT}/.cas/chunks.json")


@pytest.fixture
def cache(directory_store: Store, tmp_path: Path) -> Path:
    """A cache with a restored version."""
    put_model(directory_store, {REPO: FILES})
    cas.restore("m", directory_store, cache_dir=tmp_path / "cache")
    return tmp_path / "cache"


@pytest.mark.parametrize("what", PLANTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_restore_replaces_what_was_planted(name: str, what: str, cache: Path, directory_store: Store) -> None:
    plant(what, cache / name)
    (cache / ROOT / "snapshots" / COMMIT / "a.bin").unlink()
    (cache / ROOT / "snapshots" / COMMIT / "a.bin").write_bytes(b"damaged")
    if what == "a folder" and ".cas" not in name:
        with pytest.raises(CacheError, match="is in the way, and is not what belongs there"):
            cas.restore("m", directory_store, cache_dir=cache)
        return
    restored = cas.restore("m", directory_store, cache_dir=cache)
    assert restored.fetched == 0
    check(restored, FILES)
    assert verify("m", directory_store, cache_dir=cache).sound


@pytest.mark.parametrize("what", [name for name in PLANTS if "nested" not in name])
def test_lock_files_that_are_none_cost_only_the_lock(what: str, cache: Path, directory_store: Store) -> None:
    locks = cache / ".locks" / ROOT
    for path in (*locks.iterdir(), *(cache / ROOT / "blobs").iterdir()):
        path.unlink()
    for name in ("cas.lock", *(f"{blob}.lock" for blob in cas_blobs(directory_store))):
        plant(what, locks / name)
    check(cas.restore("m", directory_store, cache_dir=cache), FILES)


def cas_blobs(store: Store) -> list[str]:
    """The blobs of the version."""
    return [file.blob for repo in cas.refs.resolve(store, "m").manifest.repos for file in repo.files]


def test_the_command_ends_in_time_where_pipes_were_planted(cache: Path, directory_store: Store) -> None:
    for name in (*NAMES, f".locks/{ROOT}/cas.lock"):
        plant("a named pipe", cache / name)
    words = ("--store", directory_store.url, "--cache-dir", str(cache))
    ran = run_cas(*words[:2], "restore", "m", *words[2:], timeout=60)
    assert (ran.returncode, ran.stderr.count("\n")) == (0, 1), ran.stderr
    for name in NAMES:
        plant("a named pipe", cache / name)
    ran = run_cas(*words[:2], "verify", "m", *words[2:], timeout=60)
    assert ran.returncode == 4
    assert "refs/main" in ran.stdout + ran.stderr


@pytest.mark.parametrize("name", [f"{ROOT}/blobs/PART", f"{ROOT}/.cas/parts/PART.x.y.part"])
def test_pipes_among_the_files_to_reuse_are_left_alone(name: str, cache: Path, directory_store: Store) -> None:
    blob = max((cache / ROOT / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    blob.unlink()
    (cache / ROOT / ".cas/verified.json").unlink()
    plant("a named pipe", cache / name.replace("PART", blob.name))
    assert read_tree(snapshot(cas.restore("m", directory_store, cache_dir=cache))) == FILES
