"""What is on this machine is not fetched: older snapshots of a repo, and whatever folders are named as seeds."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

import cas
from cas import candidates, folder, refs
from cas import seeds as seeking
from cas.bucket import open_bucket
from cas.config import Limits, cache_dirs
from cas.errors import DiskFull
from cas.events import Event, Noted, Phase, Warned
from cas.manifest import Manifest
from cas.plan import part_name, targets
from cas.restorer.parts import Parts
from cas.store import Store
from tests.conftest import REPO, publish_tree, read_tree, run_cas, snapshot, write_tree
from tests.restore.helpers import (
    HUBS,
    KIB,
    Counted,
    cas_command,
    check,
    check_blobs,
    check_offline,
    die_at,
    noise,
    put_model,
    slow_store,
    start_cas,
    start_hub,
    until,
)
from tools.hub import Hub
from tools.models.safetensors import write_safetensors
from tools.models.torchzip import write_torch_zip
from tools.models.weights import Recipe, Shapes, Weights

MIB = 1024 * KIB
TENSORS = {f"layer{at}.weight": ("F32", (1280, 256)) for at in range(6)} | {"small.bias": ("F32", (100,))}
"""Six of 1.25 MiB, each a chunk of its own; the small one shares none."""


def model(changed: float = 0.0, note: str | None = None) -> bytes:
    """A safetensors file, or a successor of it; a note makes the header longer."""
    path = Path(os.environ["HOME"]) / "made.safetensors"
    metadata = None if note is None else {"note": note}
    write_safetensors(path, Weights(TENSORS, Recipe(0, changed)), metadata)
    return path.read_bytes()


class Versions:
    """Two versions of one repo in a store that counts, and what only the newer one consists of."""

    def __init__(self, root: Path, old: dict[str, bytes], new: dict[str, bytes]) -> None:
        self.root, self.old, self.new = root, old, new
        inner = open_bucket(str(root / "store"))
        for tag, files in (("old", old), ("new", new)):
            publish_tree(Store(inner), write_tree(root / tag, files), tags=[tag])
        self.bucket = Counted(inner)
        self.store = Store(self.bucket)
        self.cache = root / "cache"
        self.added = chunks_of(self.store, "new").keys() - chunks_of(self.store, "old").keys()
        self.added_bytes = sum(chunks_of(self.store, "new")[digest] for digest in self.added)

    def restore(self, tag: str = "new", **options: object) -> cas.Restored:
        self.bucket.chunks.clear()
        return cas.restore(f"m:{tag}", self.store, **{"cache_dir": self.cache, **options})  # type: ignore[arg-type]

    def check(self, restored: cas.Restored) -> None:
        """Exactly what the old version lacks was fetched, each chunk once, and the rest came from here."""
        assert sorted(self.bucket.chunks) == sorted(self.added)
        assert restored.fetched == self.added_bytes
        assert read_tree(snapshot(restored)) == self.new
        assert not self.restore().changed


def chunks_of(store: Store, tag: str) -> dict[str, int]:
    return refs.resolve(store, f"m:{tag}").manifest.chunks()


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    """A model of which two tensors of seven changed."""
    old = {"model.safetensors": model(), "sub/vocab.txt": noise(3 * KIB, 5), "config.json": b"{}"}
    return Versions(tmp_path, old, {**old, "model.safetensors": model(0.4), "config.json": b"{1}"})


# --- Older snapshots of the same repo -------------------------------------------------------------------------------


def test_an_update_fetches_what_changed_and_reads_nothing_to_know(versions: Versions, reads: list[int]) -> None:
    versions.restore("old")
    restored = versions.restore()
    assert reads == []
    assert 0 < versions.added_bytes < 3 * MIB
    here = versions.cache / "models--org--model"
    assert restored.reused_from == {str(here): restored.reused}
    assert restored.reused + restored.fetched + len(noise(3 * KIB)) == restored.total, "vocab.txt was there whole"
    versions.check(restored)
    assert read_tree(here / "snapshots" / old_commit(versions)) == versions.old


def old_commit(versions: Versions) -> str:
    (repo,) = refs.resolve(versions.store, "m:old").manifest.repos
    return repo.commit


@pytest.mark.parametrize("lost", ["receipt", "lists", "times"])
def test_without_its_receipt_an_older_snapshot_is_hashed(lost: str, versions: Versions, reads: list[int]) -> None:
    versions.restore("old")
    root = versions.cache / "models--org--model"
    if lost == "times":
        for blob in (root / "blobs").iterdir():
            os.utime(blob)
    else:
        (root / ".cas" / {"receipt": "verified.json", "lists": "chunks.json"}[lost]).write_bytes(b'{"version": 2}')
    restored = versions.restore()
    assert sum(reads) > 4 * MIB
    versions.check(restored)


def test_a_longer_header_moves_everything_and_costs_nothing(tmp_path: Path) -> None:
    versions = Versions(tmp_path, {"m.safetensors": model()}, {"m.safetensors": model(note="x" * 1000)})
    for receipt in (True, False):
        versions.restore("old")
        if not receipt:
            shutil.rmtree(versions.cache / "models--org--model/.cas")
        restored = versions.restore()
        assert restored.fetched < 4 * KIB, "the header"
        versions.check(restored)
        shutil.rmtree(versions.cache)


def test_a_torch_file_with_a_changed_tensor(tmp_path: Path) -> None:
    files = []
    for changed in (0.0, 0.3):
        write_torch_zip(tmp_path / "t.bin", Weights(TENSORS, Recipe(0, changed)))
        files.append({"pytorch_model.bin": (tmp_path / "t.bin").read_bytes()})
    versions = Versions(tmp_path, *files)
    versions.restore("old")
    shutil.rmtree(versions.cache / "models--org--model/.cas")
    restored = versions.restore()
    assert restored.reused > 4 * MIB
    versions.check(restored)


@pytest.mark.parametrize("version", HUBS)
def test_what_huggingface_hub_downloaded_before_is_reused(version: str, versions: Versions) -> None:
    write_tree(versions.root / "hub" / REPO, versions.old)
    with Hub(versions.root / "hub") as hub:
        out, err = start_hub(version, REPO, versions.cache, hub.url).communicate(timeout=60)
        assert out, err
    restored = versions.restore()
    assert restored.reused > 4 * MIB
    versions.check(restored)
    assert read_tree(Path(out.strip())) == versions.old
    check_offline(versions.cache, versions.new, versions=(version,))


def test_shared_blobs_are_reused_and_left_alone(versions: Versions) -> None:
    """huggingface_hub 2.4 may keep a blob's bytes in <hub>/blobs, and a link to them in the repo."""
    versions.restore("old")
    root = versions.cache / "models--org--model"
    shutil.rmtree(root / ".cas")
    for number, blob in enumerate(sorted((root / "blobs").iterdir())):
        shared = versions.cache / "blobs/ab" / f"{number:064x}"
        shared.parent.mkdir(parents=True, exist_ok=True)
        blob.rename(shared)
        blob.symlink_to(f"../../blobs/ab/{shared.name}")
    before = read_tree(versions.cache / "blobs")
    versions.check(versions.restore())
    assert read_tree(versions.cache / "blobs") == before


def test_a_cache_without_links_has_its_files_in_snapshots(versions: Versions) -> None:
    versions.restore("old")
    root = versions.cache / "models--org--model"
    for path in list((root / "snapshots").rglob("*")):
        if path.is_symlink():
            real = path.resolve()
            path.unlink()
            real.rename(path)
    versions.check(versions.restore())


def test_what_another_file_of_the_version_holds_is_copied(directory_store: Store, tmp_path: Path) -> None:
    """One repo is there, another one and a plain file share its bytes."""
    first = {"a.bin": noise(200 * KIB, 1)}
    put_model(directory_store, {REPO: first}, model="one")
    put_model(directory_store, {REPO: first, "org/twin": {"b.bin": first["a.bin"] + b"!"}}, {"x/y.bin": first["a.bin"]})
    cas.restore("one", directory_store, cache_dir=tmp_path / "home/hub")
    restored = cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    assert restored.fetched == 8 * KIB + 1, "the last chunk of b.bin"
    check(restored, {"b.bin": first["a.bin"] + b"!"}, "org/twin")
    assert (tmp_path / "home/x/y.bin").read_bytes() == first["a.bin"]


def test_a_plain_file_is_updated_in_place(directory_store: Store, tmp_path: Path) -> None:
    old, new = noise(300 * KIB, 1), b"inserted" + noise(300 * KIB, 1)[64 * KIB :]
    put_model(directory_store, {}, {"torch/x.pth": old, "torch/y.pth": noise(9 * KIB)})
    cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    put_model(directory_store, {}, {"torch/x.pth": old[: 64 * KIB] + new, "torch/y.pth": noise(9 * KIB)})
    restored = cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    assert restored.fetched > 0
    assert restored.reused >= 64 * KIB
    assert (tmp_path / "home/torch/x.pth").read_bytes() == old[: 64 * KIB] + new


def test_part_files_of_another_version_are_reused(versions: Versions) -> None:
    """An update that was killed, and then a newer one."""
    root = versions.cache / "models--org--model"
    (root / ".cas/parts").mkdir(parents=True)
    held = versions.old["model.safetensors"]
    part = root / ".cas/parts" / part_name("f" * 64, "they", "1")
    part.write_bytes(bytes(2000) + held[2000:])
    restored = versions.restore()
    assert restored.reused == 3 * 1280 * KIB, "of four unchanged tensors the first is damaged"
    assert read_tree(snapshot(restored)) == versions.new
    assert part.read_bytes() == bytes(2000) + held[2000:], "it may be somebody's"


def test_a_file_under_download_is_left_alone(versions: Versions) -> None:
    blobs = versions.cache / "models--org--model/blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{'a' * 64}.incomplete").write_bytes(versions.old["model.safetensors"])
    assert versions.restore().reused == 0


# --- Seeds that are named --------------------------------------------------------------------------------------------

SHAPES: dict[str, Callable[[Versions], Path]] = {
    "hub": lambda versions: versions.root / "volume/hf/hub",
    "HF_HOME": lambda versions: versions.root / "volume/hf",
    "repo folder": lambda versions: versions.root / "volume/hf/hub/models--org--model",
    "snapshot": lambda versions: versions.root / "volume/hf/hub/models--org--model/snapshots" / old_commit(versions),
    "blobs": lambda versions: versions.root / "volume/hf/hub/models--org--model/blobs",
    "plain folder": lambda versions: versions.root / "old",
    "above it": lambda versions: versions.root / "volume",
}


@pytest.fixture
def volume(versions: Versions) -> Path:
    """Another HF_HOME, with the old version."""
    versions.restore("old", cache_dir=versions.root / "volume/hf/hub")
    return versions.root / "volume/hf/hub"


def stamped(folder: Path) -> dict[Path, tuple[int, int, int]]:
    return {path: (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize("receipt", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_seed_of_any_shape_is_used_and_not_written_to(
    shape: str, receipt: bool, versions: Versions, volume: Path
) -> None:
    if not receipt:
        shutil.rmtree(volume / "models--org--model/.cas")
    seed = SHAPES[shape](versions)
    before = stamped(volume)
    restored = versions.restore(seeds=[seed])
    assert restored.reused_from == {str(seed): restored.reused}
    versions.check(restored)
    assert stamped(volume) == before


@pytest.mark.parametrize("shape", ["hub", "plain folder"])
def test_a_seed_with_the_very_version_leaves_nothing_to_fetch(shape: str, versions: Versions, reads: list[int]) -> None:
    versions.restore("new", cache_dir=versions.root / "volume/hf/hub")
    shutil.rmtree(versions.root / "volume/hf/hub/models--org--model/.cas")
    seed = {"hub": versions.root / "volume/hf/hub", "plain folder": versions.root / "new"}[shape]
    restored = versions.restore(seeds=[seed])
    assert (restored.fetched, versions.bucket.chunks, restored.reused) == (0, [], restored.total)
    check(restored, versions.new)
    assert (reads == []) == (shape == "hub"), "a blob's name says what it holds, until it is copied"


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
    assert told > 4 * MIB, "the receipt says so"
    shutil.rmtree(cache / "models--org--model/.cas")
    assert cas.restore("tuned", directory_store, cache_dir=cache, dry_run=True).reused == 0
    restored = cas.restore("tuned", directory_store, cache_dir=cache, seeds=[cache])
    assert restored.reused == told
    check(restored, {"voice.safetensors": model(0.4)}, "org/tuned")


def test_the_command_takes_seeds_from_options_and_the_environment(versions: Versions, volume: Path) -> None:
    other = write_tree(versions.root / "other", {"config.json": b"{1}"})
    words = ("--store", versions.store.url, "-v", "restore", "m:new", "--cache-dir", str(versions.cache))
    env = {"CAS_SEEDS": f"{volume}{os.pathsep}{versions.root / 'nowhere'}{os.pathsep}"}
    planned = run_cas(*words, "-n", "--seed", str(other), env=env)
    assert planned.returncode == 0
    assert f", take 3 B from {other}, " in planned.stderr or f", take 3 B from {other};" in planned.stderr
    assert f" MB from {volume}" in planned.stderr
    assert planned.stderr.endswith("; nothing was changed\n")
    assert not versions.cache.exists()
    ran = run_cas(*words, "--seed", str(other), env=env)
    assert ran.returncode == 0
    warning = f"warning: seed {versions.root / 'nowhere'}: {versions.root / 'nowhere'} cannot be read (No such file"
    assert ran.stderr.count(warning) == 1
    assert f" taken from {volume}\n" in ran.stderr
    assert " MB reused (" in ran.stderr
    assert read_tree(Path(ran.stdout.strip())) == versions.new


def test_a_command_that_is_run_gets_seeds_too(versions: Versions, volume: Path) -> None:
    words = ("--store", versions.store.url, "-v", "run", "m:new", "--cache-dir", str(versions.cache))
    ran = run_cas(*words, "--seed", str(volume), "sh", "-c", "echo $CAS_MODEL")
    assert ran.stdout.startswith("m@blake3:"), ran.stderr
    assert f" taken from {volume}\n" in ran.stderr


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
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("modes do not bind root, and there is no setpriv here to make them")
    (blob,) = (path for path in (volume / "models--org--model/blobs").iterdir() if path.stat().st_size > MIB)
    blob.chmod(0)
    shutil.rmtree(volume / "models--org--model/.cas")
    locked = versions.root / "locked"
    locked.mkdir(mode=0)
    command = [*start_words(versions), "--seed", str(volume), "--seed", str(locked)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    for seed, path in ((locked, locked), (volume, blob)):
        assert f"warning: seed {seed}: {path} cannot be read (Permission denied): check its name" in ran.stderr
    assert read_tree(Path(ran.stdout.strip())) == versions.new


def start_words(versions: Versions) -> list[str]:
    return cas_command("--store", versions.store.url, "restore", "m:new", "--cache-dir", str(versions.cache))


def test_whoever_names_a_whole_disk_is_told(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_MOST", 30)
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
    receipt, lists = (json.loads((root / ".cas" / name).read_bytes()) for name in ("verified.json", "chunks.json"))
    file = path.format(root=versions.root)
    (target, *_) = (
        target for target in targets(manifest_of(versions, "new"), cache_dirs(versions.cache)) if target.size > MIB
    )
    lie = [target.content, target.size, 0 if "\0" in file else (root / file).stat().st_mtime_ns]
    receipt["files"] = {file: lie}
    lists["contents"] = {target.content: [[chunk.digest, chunk.size] for chunk in target.chunks]}
    (root / ".cas/verified.json").write_text(json.dumps(receipt))
    (root / ".cas/chunks.json").write_text(json.dumps(lists))
    restored = versions.restore(seeds=[volume])
    check(restored, versions.new)


def manifest_of(versions: Versions, tag: str) -> Manifest:
    return refs.resolve(versions.store, f"m:{tag}").manifest


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def big_file(cache: Path) -> Path:
    """Where the model's bytes lie in a cache."""
    (blob,) = (path for path in cache.glob("models--org--model/blobs/*") if path.stat().st_size > MIB)
    return blob


@pytest.mark.parametrize("receipt", [True, False])
def test_a_flipped_bit_in_a_seed_is_fetched(receipt: bool, versions: Versions) -> None:
    volume = versions.root / "volume"
    versions.restore("new", cache_dir=volume)
    blob = big_file(volume)
    if not receipt:
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


CHANGES: dict[str, Callable[[Path], object]] = {
    "edited": lambda path: flip(path, 2 * MIB),
    "truncated": lambda path: os.truncate(path, 2 * MIB),
    "emptied": lambda path: os.truncate(path, 0),
    "deleted": Path.unlink,
    "another file": lambda path: path.write_bytes(noise(3 * MIB, 7)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_seed_that_changes_after_the_plan_is_fetched(how: str, versions: Versions) -> None:
    versions.restore("old")
    blob = big_file(versions.cache)

    def change(event: Event) -> None:
        if isinstance(event, Phase) and event.name == "fetch":
            CHANGES[how](blob)

    restored = versions.restore(on_event=change)
    assert restored.fetched > versions.added_bytes
    assert restored.fetched + restored.reused + 3 * KIB == restored.total
    assert read_tree(snapshot(restored)) == versions.new


def test_a_seed_that_is_cut_under_the_copy(versions: Versions) -> None:
    """Shorter and shorter while it is read."""
    versions.restore("old")
    blob = big_file(versions.cache)
    stop = threading.Event()

    def cut() -> None:
        size = blob.stat().st_size
        while not stop.is_set() and size > 0:
            size -= 64 * KIB
            os.truncate(blob, max(0, size))

    def begin(event: Event) -> None:
        if isinstance(event, Phase) and event.name == "fetch":
            cutting.start()

    cutting = threading.Thread(target=cut)
    restored = versions.restore(on_event=begin)
    stop.set()
    cutting.join()
    assert read_tree(snapshot(restored)) == versions.new


# --- How much is read, and when --------------------------------------------------------------------------------------


def test_what_cannot_match_is_not_read(versions: Versions, reads: list[int]) -> None:
    """Sizes tell: a model of other shapes is told by its header alone."""
    shapes = {f"w{at}": ("F32", (1281 + at, 256)) for at in range(6)}
    write_safetensors(versions.root / "seed/model.safetensors", Weights(shapes, Recipe(3)))
    restored = versions.restore(seeds=[versions.root / "seed"])
    assert (restored.reused, reads) == (0, [])


def test_a_file_that_matches_nothing_is_given_up(
    versions: Versions, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeking, "_PROBE", 2 * MIB)
    monkeypatch.setattr(seeking, "_PROBE_UNLIKELY", 1 * MIB)
    monkeypatch.setattr(seeking, "_VAIN", 3 * MIB)
    seed = versions.root / "seed"
    for at in range(5):
        write_safetensors(seed / f"{at}.safetensors", Weights({**TENSORS, f"{at}": ("F32", (9,))}, Recipe(at + 7)))
    assert versions.restore(seeds=[seed], dry_run=True).reused == 0
    unlikely = 4 * 1280 * KIB
    assert sum(reads) == unlikely, "one tensor of each, until half of what is missing was read in vain"
    reads.clear()
    write_safetensors(seed / "model.safetensors", Weights(TENSORS, Recipe(99)))
    assert versions.restore(seeds=[seed], dry_run=True).reused < KIB, "the header"
    assert sum(reads) <= unlikely + 3 * MIB


def test_a_few_equal_tensors_far_apart_are_found(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is probed lies all over a file; one hit, and all of it is looked at."""
    monkeypatch.setattr(seeking, "_PROBE", 4 * MIB)
    write_tree(versions.root / "seed", {"renamed.bin": versions.old["model.safetensors"]})
    versions.restore("old", cache_dir=versions.root / "unused")
    restored = versions.restore(seeds=[versions.root / "seed"])
    assert restored.fetched <= versions.added_bytes + 3 * KIB


def test_reading_ends_when_nothing_is_missing(versions: Versions, reads: list[int]) -> None:
    for number in range(3):
        write_tree(versions.root / f"seed{number}", versions.new)
    named = [versions.root / f"seed{number}" for number in range(3)]
    restored = versions.restore(seeds=named, limits=Limits(workers=1))
    assert restored.fetched == 0
    assert sum(reads) <= restored.total
    assert list(restored.reused_from) == [str(versions.root / "seed0")]


def test_copies_are_made_while_the_network_stalls(versions: Versions) -> None:
    versions.restore("old")
    exact = versions.restore(dry_run=True).reference
    with slow_store(versions.store, limit=0) as server:
        process = start_cas("--store", server.url, "--json", "restore", exact, "--cache-dir", str(versions.cache))
        until(lambda: server.stalling)
        until(lambda: copied(versions) > 4 * MIB)
        server.released.set()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["fetched"] == versions.added_bytes
    assert not versions.restore().changed


def copied(versions: Versions) -> int:
    parts = versions.cache.glob("models--org--model/.cas/parts/*.part")
    return sum(path.stat().st_blocks * 512 for path in parts)


def test_memory_stays_within_the_budget_together(versions: Versions) -> None:
    versions.restore("old")
    tight = Limits(budget=2 * MIB, requests=4, workers=4)
    versions.check(versions.restore(limits=tight))


def test_a_dry_run_tells_and_changes_nothing(versions: Versions, volume: Path) -> None:
    versions.restore("old")
    before = stamped(versions.root)
    seen: list[Event] = []
    planned = versions.restore(dry_run=True, seeds=[volume], on_event=seen.append)
    assert stamped(versions.root) == before
    done = versions.restore(seeds=[volume])
    assert (planned.fetched, planned.reused, planned.reused_from) == (done.fetched, done.reused, done.reused_from)
    assert not any(isinstance(event, Noted) and "taken from" in event.text for event in seen)


# --- Deaths, full disks, file systems that share ---------------------------------------------------------------------


def test_sigkill_at_any_step_of_an_update(versions: Versions) -> None:
    versions.restore("old", cache_dir=versions.root / "hub")
    whole = versions.root / "whole"
    shutil.copytree(versions.root / "hub", whole, symlinks=True)
    steps = int(die_at(0, versions.store, whole, "m:new").stderr.rpartition("steps ")[2])
    assert steps > 40
    for step in range(3, steps, steps // 12):
        cache = versions.root / str(step)
        shutil.copytree(versions.root / "hub", cache, symlinks=True)
        died = die_at(step, versions.store, cache, "m:new")
        assert died.returncode == -signal.SIGKILL
        check_blobs(cache / "models--org--model")
        restored = versions.restore(cache_dir=cache)
        assert restored.fetched <= versions.added_bytes
        check(restored, versions.new)
        assert read_tree(cache / "models--org--model/snapshots" / old_commit(versions)) == versions.old


def test_a_copy_that_finds_the_disk_full_ends_the_fetches_too(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.restore("old")
    real = os.pwrite

    def refuse(fd: int, data: memoryview, offset: int) -> int:
        if threading.current_thread() in copiers:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data, offset)

    copiers: set[threading.Thread] = set()
    real_copy = Parts.copy

    def copy(self: Parts, *given: Any) -> object:
        copiers.add(threading.current_thread())
        return real_copy(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refuse)
        patched.setattr(Parts, "copy", copy)
        with pytest.raises(DiskFull, match="free some space"):
            versions.restore()
    assert list(versions.cache.glob("models--org--model/.cas/parts/*.part")) == []
    assert read_tree(versions.cache / "models--org--model/snapshots" / old_commit(versions)) == versions.old
    assert read_tree(snapshot(versions.restore())) == versions.new
    assert set(versions.bucket.chunks) <= versions.added, "small files may have been finished"


@pytest.fixture(params=["xfs", "btrfs"])
def sharing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A real file system whose files can share their bytes."""
    maker = shutil.which(f"mkfs.{request.param}")
    if maker is None or os.geteuid() != 0:
        pytest.skip(f"needs mkfs.{request.param} and root")
    image, mount = tmp_path / "image", tmp_path / "mount"
    with image.open("wb") as file:
        file.truncate(320 * MIB)
    mount.mkdir()
    subprocess.run([maker, "-q", str(image)], check=True, capture_output=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, mount], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this root may not mount: {mounted.stderr.decode()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every write to a part file."""
    seen: list[int] = []
    real = os.pwrite

    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        done = real(fd, data, offset)
        seen.append(done)
        return done

    monkeypatch.setattr(os, "pwrite", pwrite)
    return seen


def test_where_files_can_share_bytes_an_update_writes_what_changed(
    sharing: Path, versions: Versions, written: list[int]
) -> None:
    versions.cache = sharing / "hub"
    versions.restore("old")
    written.clear()
    restored = versions.restore()
    assert sum(written) == versions.added_bytes
    assert restored.reused > 4 * MIB
    versions.check(restored)
    check(versions.restore("old"), versions.old)


def test_a_shared_byte_that_is_wrong_is_fetched_over(sharing: Path, versions: Versions) -> None:
    versions.cache = sharing / "hub"
    versions.restore("old")
    blob = big_file(versions.cache)
    before = blob.stat()
    flip(blob, 2 * MIB)
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    restored = versions.restore()
    assert restored.fetched == versions.added_bytes + 1280 * KIB
    assert read_tree(snapshot(restored)) == versions.new
    damaged = blob.read_bytes()
    assert damaged != versions.old["model.safetensors"], "the older version is not ours to heal here"


def test_a_damaged_file_is_healed_by_sharing_what_is_good(
    sharing: Path, versions: Versions, written: list[int]
) -> None:
    versions.cache = sharing / "hub"
    versions.restore("new")
    flip(big_file(versions.cache), 2 * MIB)
    written.clear()
    restored = versions.restore(verify=True)
    assert restored.fetched == sum(written) == 1280 * KIB
    check(restored, versions.new)


@pytest.mark.parametrize("sharing", ["xfs"], indirect=True)
def test_shared_bytes_need_no_room(sharing: Path, tmp_path: Path) -> None:
    big = {f"w{at}": ("F32", (1280, 256)) for at in range(100)}
    files = []
    for changed in (0.0, 0.05):
        write_safetensors(tmp_path / "big", Weights(big, Recipe(0, changed)))
        files.append({"big.safetensors": (tmp_path / "big").read_bytes()})
    versions = Versions(tmp_path, *files)
    versions.cache = sharing / "hub"
    versions.restore("old")
    with (sharing / "ballast").open("wb") as file:
        while folder.free_bytes(sharing) > 40 * MIB:
            file.write(bytes(4 * MIB))
            file.flush()
            os.fsync(file.fileno())
    planned = versions.restore(dry_run=True)
    assert planned.fetched == versions.added_bytes
    versions.check(versions.restore())
    with pytest.raises(DiskFull):
        versions.restore("new", cache_dir=sharing / "elsewhere")


# --- Whatever changes ------------------------------------------------------------------------------------------------


SHAPE = st.tuples(st.sampled_from(["F32", "F16", "BF16"]), st.sampled_from([(700_000,), (9, 11), (1 << 20,), (3,)]))


@settings(max_examples=12)
@given(
    shapes=st.dictionaries(st.sampled_from("abcdef"), SHAPE, min_size=1, max_size=5),
    added=st.dictionaries(st.sampled_from("ghi"), SHAPE, max_size=1),
    changed=st.floats(0, 1),
    note=st.sampled_from([None, "n", "n" * 500]),
    receipt=st.booleans(),
    elsewhere=st.booleans(),
)
def test_whatever_changes_only_that_is_fetched(
    shapes: Shapes, added: Shapes, changed: float, note: str | None, receipt: bool, elsewhere: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_safetensors(root / "1", Weights(shapes, Recipe(0)))
        write_safetensors(root / "2", Weights({**shapes, **added}, Recipe(0, changed)), {"n": note} if note else None)
        old, new = ({"model.safetensors": (root / version).read_bytes()} for version in "12")
        versions = Versions(root, old, new)
        first = root / "first" if elsewhere else versions.cache
        versions.restore("old", cache_dir=first)
        if not receipt:
            shutil.rmtree(first / "models--org--model/.cas")
        versions.check(versions.restore(seeds=[first] if elsewhere else []))
