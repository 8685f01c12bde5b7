"""A seed that is missing, closed, endless, damaged or lying is told of, and costs a fetch at most."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cas import refs
from cas.config import cache_dirs
from cas.events import Event, Warned
from cas.formats.manifest import Manifest
from cas.local import seed_files
from cas.local.targets import targets_of
from tests.ops.restore.versions import MIB, Versions, big_file, flip
from tests.support.models import KIB, check, read_tree, write_tree
from tests.support.processes import bound_by_modes, cas_command


def warnings(seen: list[Event]) -> list[str]:
    return [event.text for event in seen if isinstance(event, Warned)]


@pytest.mark.parametrize("what", ["missing", "a file", "below a file", "a dangling link"])
def test_a_seed_that_is_no_folder_is_warned_of(what: str, versions: Versions) -> None:
    file = versions.root / "file"
    file.write_bytes(b"")
    (versions.root / "dangling").symlink_to(versions.root / "gone")
    names = {"missing": "typo", "a file": "file", "below a file": "file/below", "a dangling link": "dangling"}
    seed = versions.root / names[what]
    seen: list[Event] = []
    restored = versions.restore(seeds=[seed, versions.root / "old"], on_event=seen.append)
    words = "Not a directory" if "file" in what else "No such file or directory"
    assert warnings(seen) == [f"seed {seed}: {seed} cannot be read ({words}): check its name and mode"]
    versions.check(restored)


def test_what_may_not_be_read_is_warned_of(versions: Versions, volume: Path) -> None:
    """Root reads everything, so the command runs without that right."""
    (blob,) = (path for path in (volume / "models--org--model/blobs").iterdir() if path.stat().st_size > MIB)
    blob.chmod(0)
    shutil.rmtree(volume / "models--org--model/.cas")
    locked = versions.root / "locked"
    locked.mkdir(mode=0)
    command = bound_by_modes([*start_words(versions), "--seed", str(volume), "--seed", str(locked)])
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    for seed, path in ((locked, locked), (volume, blob)):
        assert f"warning: seed {seed}: {path} cannot be read (Permission denied): check its name" in ran.stderr
    assert read_tree(Path(ran.stdout.strip())) == versions.new


def start_words(versions: Versions) -> list[str]:
    return cas_command("--store", versions.store.url, "restore", "m:new", "--cache-dir", str(versions.cache))


def test_whoever_names_a_whole_disk_is_told(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seed_files, "_MAX_ENTRIES", 30)
    seed = write_tree(versions.root / "seed", {f"{at // 10}/{at}": b"x" for at in range(100)})
    seen: list[Event] = []
    versions.restore(seeds=[seed], on_event=seen.append)
    told = f"seed {seed}: it has more than 30 files, the rest is left out: name a folder nearer to the weights"
    assert warnings(seen) == [told]


def test_nothing_in_a_seed_makes_a_restore_hang_or_run_wild(versions: Versions, volume: Path) -> None:
    seed = versions.root / "seed"
    seed.mkdir()
    os.mkfifo(seed / "model.safetensors")
    os.mkfifo(seed / "pipe")
    (seed / "loop").symlink_to(".")
    (seed / "up").symlink_to("..")
    (seed / "device").symlink_to("/dev/zero")
    (seed / "core").symlink_to("/proc/kcore")
    (seed / "nothing").symlink_to("nowhere")
    with (seed / "holes").open("wb") as file:
        file.truncate(1 << 43)
    (seed / ".cas").mkdir()
    os.mkfifo(seed / ".cas/verified.json")
    os.mkfifo(seed / ".cas/chunks.json")
    seen: list[Event] = []
    restored = versions.restore(seeds=[seed, volume], on_event=seen.append)
    assert warnings(seen) == []
    versions.check(restored)


@pytest.mark.parametrize("path", ["../../outside", "{root}/outside", "pipe", "blobs", "nul\0"])
def test_a_seeds_receipt_that_lies_costs_a_fetch(path: str, versions: Versions, volume: Path) -> None:
    root = volume / "models--org--model"
    os.mkfifo(root / "pipe")
    for outside in (versions.root / "outside", volume.parent / "outside"):
        outside.write_bytes(bytes(len(versions.new["model.safetensors"])))
    record, lists = (json.loads((root / ".cas" / name).read_bytes()) for name in ("verified.json", "chunks.json"))
    file = path.format(root=versions.root)
    (target, *_) = (
        target for target in targets_of(manifest_of(versions, "new"), cache_dirs(versions.cache)) if target.size > MIB
    )
    lie = [target.content, target.size, 0 if "\0" in file else (root / file).stat().st_mtime_ns]
    record["files"] = {file: lie}
    lists["contents"] = {target.content: [[chunk.digest, chunk.size] for chunk in target.chunks]}
    (root / ".cas/verified.json").write_text(json.dumps(record))
    (root / ".cas/chunks.json").write_text(json.dumps(lists))
    restored = versions.restore(seeds=[volume])
    check(restored, versions.new)


def manifest_of(versions: Versions, tag: str) -> Manifest:
    return refs.resolve(versions.store, f"m:{tag}").manifest


@pytest.mark.parametrize("record", [True, False])
def test_a_flipped_bit_in_a_seed_is_fetched(record: bool, versions: Versions) -> None:
    volume = versions.root / "volume"
    versions.restore("new", cache_dir=volume)
    blob = big_file(volume)
    if not record:
        shutil.rmtree(volume / "models--org--model/.cas")
    before = blob.stat()
    flip(blob, 2 * MIB)
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    seen: list[Event] = []
    restored = versions.restore(seeds=[volume], on_event=seen.append)
    assert restored.fetched == 1280 * KIB, "one chunk"
    assert restored.reused == restored.total - restored.fetched
    check(restored, versions.new)
    (warning,) = warnings(seen)
    assert warning.startswith(f"{blob} does not hold at ")
