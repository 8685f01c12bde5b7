"""An update fetches what changed: the rest is taken from older snapshots and from whatever else the cache holds."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

import cas
from cas.ops.restore.plan import part_file_name
from cas.store.store import Store
from tests.ops.restore.versions import MIB, TENSORS, Versions, model, old_commit
from tests.support.hub import HUBS, check_offline, start_hub
from tests.support.models import KIB, REPO, check, noise, put_model, read_tree, snapshot, write_tree
from tools.models.safetensors import write_safetensors
from tools.models.torchzip import write_torch_zip
from tools.models.weights import Recipe, Shapes, Weights
from tools.servers.hub import Hub


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


@pytest.mark.parametrize("lost", ["record", "lists", "times"])
def test_without_its_receipt_an_older_snapshot_is_hashed(lost: str, versions: Versions, reads: list[int]) -> None:
    versions.restore("old")
    root = versions.cache / "models--org--model"
    if lost == "times":
        for blob in (root / "blobs").iterdir():
            os.utime(blob)
    else:
        (root / ".cas" / {"record": "verified.json", "lists": "chunks.json"}[lost]).write_bytes(b'{"version": 2}')
    restored = versions.restore()
    assert sum(reads) > 4 * MIB
    versions.check(restored)


def test_a_longer_header_moves_everything_and_costs_nothing(tmp_path: Path) -> None:
    versions = Versions(tmp_path, {"m.safetensors": model()}, {"m.safetensors": model(note="x" * 1000)})
    for record in (True, False):
        versions.restore("old")
        if not record:
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
    put_model(
        directory_store, {REPO: first, "org/twin": {"b.bin": first["a.bin"] + b"!"}}, {"torch/y.bin": first["a.bin"]}
    )
    cas.restore("one", directory_store, cache_dir=tmp_path / "home/hub")
    restored = cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    assert restored.fetched == 8 * KIB + 1, "the last chunk of b.bin"
    check(restored, {"b.bin": first["a.bin"] + b"!"}, "org/twin")
    assert (tmp_path / "home/torch/y.bin").read_bytes() == first["a.bin"]


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
    part = root / ".cas/parts" / part_file_name("f" * 64, "they", "1")
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


SHAPE = st.tuples(st.sampled_from(["F32", "F16", "BF16"]), st.sampled_from([(700_000,), (9, 11), (1 << 20,), (3,)]))


@settings(max_examples=12)
@given(
    shapes=st.dictionaries(st.sampled_from("abcdef"), SHAPE, min_size=1, max_size=5),
    added=st.dictionaries(st.sampled_from("ghi"), SHAPE, max_size=1),
    changed=st.floats(0, 1),
    note=st.sampled_from([None, "n", "n" * 500]),
    record=st.booleans(),
    elsewhere=st.booleans(),
)
def test_whatever_changes_only_that_is_fetched(
    shapes: Shapes, added: Shapes, changed: float, note: str | None, record: bool, elsewhere: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_safetensors(root / "1", Weights(shapes, Recipe(0)))
        write_safetensors(root / "2", Weights({**shapes, **added}, Recipe(0, changed)), {"n": note} if note else None)
        old, new = ({"model.safetensors": (root / version).read_bytes()} for version in "12")
        versions = Versions(root, old, new)
        first = root / "first" if elsewhere else versions.cache
        versions.restore("old", cache_dir=first)
        if not record:
            shutil.rmtree(first / "models--org--model/.cas")
        versions.check(versions.restore(seeds=[first] if elsewhere else []))
