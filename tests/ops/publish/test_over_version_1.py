"""Publishing over a tag that names a version with a manifest of version 1: equal content stays as it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import cas
from cas import refs
from cas.formats.manifest import Derived1, Manifest1
from cas.hub.source import RepoSource
from cas.ops.derive.check import check
from cas.refs.reflog import UNSET
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.hub import Site
from tests.support.models import REPO, noise, publish_tree, read_tree, snapshot, write_tree
from tests.support.safetensors import Tensor, normal, publish_file, safetensors
from tests.support.version_1 import CUT, publish_1
from tools.golden import MODEL, ROOT

FILES = {"a.txt": b"a", "b/weights.bin": noise(2 * CUT + 500), "b/copy.bin": noise(2 * CUT + 500), "empty.txt": b""}


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """A store for the content of versions that are stored as version 1."""
    return cas.open_store(str(tmp_path / "other"))


def objects(store: Store) -> dict[str, Any]:
    return {entry.key: (entry.size, entry.modified) for entry in store.bucket.list("")}


def from_hub(site: Site, store: Store, **options: Any) -> cas.Published:
    source = cas.Source((RepoSource(REPO),), files=("torch/*",))
    return cas.publish("m", source, store, cache_dir=site.cache, download=False, **options)


@pytest.fixture
def home(full: Site, tmp_path: Path) -> Site:
    """A hub cache with the repo, and a plain file below its HF_HOME."""
    write_tree(full.cache.parent, {"torch/hub/plain.pth": noise(CUT + 1, 2)})
    return full


def test_a_folder_of_equal_content_is_read_once_and_moves_nothing(
    directory_store: Store, other: Store, tmp_path: Path, reads: list[int]
) -> None:
    store, tree = directory_store, write_tree(tmp_path / "tree", FILES)
    digest = publish_1(store, other, publish_tree(other, tree).reference)
    before = objects(store)
    reads.clear()
    done = publish_tree(store, tree, expect=UNSET)
    assert (done.created, done.moved, done.uploaded_chunks, done.wire) == (False, (), 0, 0)
    assert (done.reference, done.total) == (f"m@blake3:{digest}", sum(map(len, FILES.values())))
    assert objects(store) == before
    assert sum(reads) == done.total
    assert publish_tree(store, tree, dry_run=True).created is False
    assert publish_tree(store, tree, tags=["latest", "v1"]).moved == ("v1",)
    assert isinstance(refs.resolve(store, "m:v1").manifest, Manifest1)


def test_a_hub_cache_of_equal_content_is_not_read_but_for_plain_files(
    home: Site, directory_store: Store, other: Store, reads: list[int]
) -> None:
    from_hub(home, other)
    digest = publish_1(directory_store, other)
    before = objects(directory_store)
    reads.clear()
    done = from_hub(home, directory_store)
    assert (done.reference, done.created, done.moved) == (f"m@blake3:{digest}", False, ())
    assert objects(directory_store) == before
    assert sum(reads) == CUT + 1, "a plain file has no blob whose name would vouch for it"


def test_a_lost_chunk_is_sent_again_as_version_1_has_it(
    home: Site, directory_store: Store, other: Store, tmp_path: Path
) -> None:
    store = directory_store
    from_hub(home, other)
    publish_1(store, other)
    largest = max(refs.resolve(store, "m").manifest.all_files(), key=lambda file: file.size)
    store.bucket.delete(chunk_key(largest.chunks[1].digest))
    healed = from_hub(home, store)
    assert (healed.created, healed.uploaded_chunks, healed.uploaded) == (False, 1, CUT)
    cas.restore("m", store, cache_dir=tmp_path / "restored" / "hub")


@pytest.mark.parametrize("change", ["a byte", "a file more", "a file less", "a path", "a plain file"])
def test_other_content_is_cut_by_the_rules_of_version_2(
    directory_store: Store, other: Store, tmp_path: Path, change: str
) -> None:
    home, tree = tmp_path / "home", write_tree(tmp_path / "tree", FILES)
    write_tree(home, {"torch/hub/plain.pth": noise(CUT + 1, 2)})
    source = cas.Source(folder=cas.Source.from_folder(tree, REPO).folder, files=("torch/*",))

    def publish(store: Store) -> cas.Published:
        return cas.publish("m", source, store, cache_dir=home / "hub", download=False)

    publish(other)
    old = publish_1(directory_store, other)
    weights = bytearray(FILES["b/weights.bin"])
    weights[-1] ^= 1
    if change == "a byte":
        write_tree(tree, {"b/weights.bin": bytes(weights)})
    elif change == "a file more":
        write_tree(tree, {"c.txt": b"c"})
    elif change == "a file less":
        (tree / "empty.txt").unlink()
    elif change == "a path":
        (tree / "a.txt").rename(tree / "A.txt")
    else:
        write_tree(home, {"torch/hub/plain.pth": noise(CUT + 1, 3)})
    done = publish(directory_store)
    assert (done.created, done.moved) == (True, ("latest",))
    assert done.reference == publish(cas.open_store(str(tmp_path / "empty"))).reference, "one content, one name"
    assert directory_store.digests("m") == [old, done.reference[-64:]] or len(directory_store.digests("m")) == 2
    assert read_tree(snapshot(cas.restore("m", directory_store, cache_dir=tmp_path / "restored" / "hub"))) == read_tree(
        tree
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"annotations": {"note": "of a later release"}},
        {"derived": Derived1("blake3:" + "a" * 64, "cast:float16", "as it says")},
        {"files": ()},
        {"repos": ()},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_the_manifest_says_beside_the_files_counts(
    home: Site, directory_store: Store, other: Store, fields: dict[str, Any]
) -> None:
    new = from_hub(home, other).reference
    publish_1(directory_store, other, **fields)
    done = from_hub(home, directory_store, replace=True)
    assert (done.created, done.moved, done.reference) == (True, ("latest",), new)


def test_a_forced_publish_makes_a_version_2(home: Site, directory_store: Store, other: Store) -> None:
    new = from_hub(home, other)
    publish_1(directory_store, other)
    done = from_hub(home, directory_store, force=True)
    assert (done.reference, done.created, done.uploaded) == (new.reference, True, new.uploaded)


def test_the_golden_store_stays_what_it_is_when_its_content_is_published(tmp_path: Path) -> None:
    store = cas.open_store(str(shutil.copytree(ROOT / "v1" / "store", tmp_path / "store")))
    named = refs.resolve(store, MODEL).exact
    cas.restore(MODEL, store, cache_dir=tmp_path / "home" / "hub")
    source = cas.Source((RepoSource("other/vocoder", revision="v1.0"), RepoSource("org/tiny")), files=("torch/*",))
    before = objects(store)
    done = cas.publish(MODEL, source, store, cache_dir=tmp_path / "home" / "hub", download=False)
    assert (done.reference, done.created, done.moved) == (named, False, ())
    assert objects(store) == before


def test_a_variant_of_a_version_1_with_repos_in_another_order_is_proven(
    directory_store: Store, other: Store, tmp_path: Path
) -> None:
    repos = []
    for number, name in enumerate(("org/a", "org/b")):
        model = safetensors({"w": Tensor("F32", (400,), normal(400, number))})
        tree = write_tree(tmp_path / name, {"model.safetensors": model})
        cas.publish(name[-1], cas.Source.from_folder(tree, name), other)
        cas.restore(name[-1], other, cache_dir=tmp_path / "home" / "hub")
        repos.append(RepoSource(name))
    cas.publish("m", cas.Source(tuple(repos)), other, cache_dir=tmp_path / "home" / "hub", download=False)
    publish_1(directory_store, other)
    assert [repo.repo_id for repo in refs.resolve(directory_store, "m").manifest.repos] == ["org/b", "org/a"]
    first = cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    again = cas.derive("m", directory_store, cast="float16", tags=["fp16"])
    assert first.cast == again.cast == ("org/a/model.safetensors", "org/b/model.safetensors")
    assert (again.reference, again.total, again.created) == (first.reference, first.total, False)
    assert check("m:fp16", directory_store).proof == first.proof


def test_the_chunk_lists_of_a_variant_of_version_1_are_not_taken_over(
    directory_store: Store, other: Store, tmp_path: Path
) -> None:
    # The variant's manifest is of version 2, and names the chunks of files that stayed as they were.
    model = safetensors({"w": Tensor("F32", (400,), normal(400))})
    publish_file(other, tmp_path / "src", model, **{"carried.bin": FILES["b/weights.bin"]})
    publish_1(directory_store, other)
    cas.derive("m", directory_store, cast="float16", tags=["latest"])
    variant = refs.resolve(directory_store, "m").manifest
    assert variant.version == 2
    (carried,) = (file for file in variant.all_files() if file.path == "carried.bin")
    assert len(carried.chunks) == 3
    home = tmp_path / "home"
    cas.restore("m", directory_store, cache_dir=home / "hub")
    source = cas.Source((RepoSource("org/model"),))
    over = cas.publish("m", source, directory_store, cache_dir=home / "hub", download=False)
    alone = cas.publish("m", source, other, tags=["new"], cache_dir=home / "hub", download=False)
    assert over.reference == alone.reference, "one content, one name"
