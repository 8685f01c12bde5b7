"""Folders named as seeds give what they hold of a version, whatever their shape, and are not written to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import cas
from cas.events import Event, Noted
from cas.store.store import Store
from tests.ops.restore.versions import MIB, Versions, model, old_commit
from tests.support.in_process import call_cas
from tests.support.models import check, publish_tree, read_tree, write_tree
from tests.support.processes import run_cas

SHAPES: dict[str, Callable[[Versions], Path]] = {
    "hub": lambda versions: versions.root / "volume/hf/hub",
    "HF_HOME": lambda versions: versions.root / "volume/hf",
    "repo folder": lambda versions: versions.root / "volume/hf/hub/models--org--model",
    "snapshot": lambda versions: versions.root / "volume/hf/hub/models--org--model/snapshots" / old_commit(versions),
    "blobs": lambda versions: versions.root / "volume/hf/hub/models--org--model/blobs",
    "plain folder": lambda versions: versions.root / "old",
    "above it": lambda versions: versions.root / "volume",
}


def stamped(folder: Path) -> dict[Path, tuple[int, int, int]]:
    return {path: (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_seed_of_any_shape_is_used_and_not_written_to(
    shape: str, record: bool, versions: Versions, volume: Path
) -> None:
    if not record:
        shutil.rmtree(volume / "models--org--model/.cas")
    seed = SHAPES[shape](versions)
    before = stamped(volume)
    restored = versions.restore(seeds=[seed])
    assert restored.reused_from == {str(seed): restored.reused}
    versions.check(restored)
    assert stamped(volume) == before


def test_a_seed_behind_a_symlink_and_a_seed_named_twice(versions: Versions, volume: Path) -> None:
    (versions.root / "link").symlink_to(volume)
    restored = versions.restore(seeds=[versions.root / "link", volume, str(volume)])
    assert list(restored.reused_from) == [str(versions.root / "link")]
    versions.check(restored)


def test_the_cache_itself_as_a_seed(versions: Versions) -> None:
    versions.restore("old")
    versions.check(versions.restore(seeds=[versions.cache, versions.cache / "models--org--model"]))


def test_another_repo_of_the_same_cache_is_used_if_its_receipt_tells_or_when_named(
    directory_store: Store, tmp_path: Path
) -> None:
    base = {"model.safetensors": model()}
    publish_tree(directory_store, write_tree(tmp_path / "base", base), model="base")
    tuned = write_tree(tmp_path / "tuned", {"voice.safetensors": model(0.4)})
    cas.publish("tuned", cas.Source.from_folder(tuned, "org/tuned"), directory_store)
    cache = tmp_path / "cache"
    cas.restore("base", directory_store, cache_dir=cache)
    told = cas.restore("tuned", directory_store, cache_dir=cache, dry_run=True).reused
    assert told > 4 * MIB, "the record says so"
    shutil.rmtree(cache / "models--org--model/.cas")
    assert cas.restore("tuned", directory_store, cache_dir=cache, dry_run=True).reused == 0
    restored = cas.restore("tuned", directory_store, cache_dir=cache, seeds=[cache])
    assert restored.reused == told
    check(restored, {"voice.safetensors": model(0.4)}, "org/tuned")


def test_the_command_takes_seeds_from_options_and_the_environment(versions: Versions, volume: Path) -> None:
    other = write_tree(versions.root / "other", {"config.json": b"{1}"})
    words = ("--store", versions.store.url, "-v", "restore", "m:new", "--cache-dir", str(versions.cache))
    env = {"CAS_SEEDS": f"{volume}{os.pathsep}{versions.root / 'nowhere'}{os.pathsep}"}
    planned = call_cas(*words, "-n", "--seed", str(other), env=env)
    assert planned.returncode == 0
    assert f", take 3 B from {other}, " in planned.stderr or f", take 3 B from {other};" in planned.stderr
    assert f" MB from {volume}" in planned.stderr
    assert planned.stderr.endswith("; nothing was changed\n")
    assert not versions.cache.exists()
    ran = call_cas(*words, "--seed", str(other), env=env)
    assert ran.returncode == 0
    warning = f"warning: seed {versions.root / 'nowhere'}: {versions.root / 'nowhere'} cannot be read (No such file"
    assert ran.stderr.count(warning) == 1
    assert f" taken from {volume}\n" in ran.stderr
    assert " MB copied on this machine)" in ran.stderr
    assert read_tree(Path(ran.stdout.strip())) == versions.new


def test_a_command_that_is_run_gets_seeds_too(versions: Versions, volume: Path) -> None:
    words = ("--store", versions.store.url, "-v", "run", "m:new", "--cache-dir", str(versions.cache))
    ran = run_cas(*words, "--seed", str(volume), "sh", "-c", "echo $CAS_MODEL")
    assert ran.stdout.startswith("m@blake3:"), ran.stderr
    assert f" taken from {volume}\n" in ran.stderr


def test_a_dry_run_tells_and_changes_nothing(versions: Versions, volume: Path) -> None:
    versions.restore("old")
    before = stamped(versions.root)
    seen: list[Event] = []
    planned = versions.restore(dry_run=True, seeds=[volume], on_event=seen.append)
    assert stamped(versions.root) == before
    done = versions.restore(seeds=[volume])
    assert (planned.fetched, planned.reused, planned.reused_from) == (done.fetched, done.reused, done.reused_from)
    assert not any(isinstance(event, Noted) and "taken from" in event.text for event in seen)
