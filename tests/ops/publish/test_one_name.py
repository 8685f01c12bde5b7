"""One content, one name: whatever differs between two publishes of the same files, their versions have one digest."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cas
from cas import refs
from cas.formats.digest import hex_of
from cas.host import Limits
from cas.hub.source import RepoSource
from cas.store.layout import VersionId, manifest_key
from cas.store.store import Store
from tests.support.hub import Site
from tests.support.models import REPO, noise, publish_tree, write_tree
from tests.support.processes import run_cas
from tests.support.safetensors import Tensor, normal, safetensors
from tests.support.version_1 import publish_1

_MODEL = safetensors({"w": Tensor("F32", (300_000,), normal(300_000)), "b": Tensor("F32", (7,), normal(7, 1))})
FILES = {
    "model.safetensors": _MODEL,
    "copy of model.safetensors": _MODEL,
    "Z/z.bin": noise(70_000),
    "b.txt": b"b",
    "b-/c.txt": b"c",
    "b/c.txt": b"c",
    "empty": b"",
    "\U0001f917.json": b"{}",
    "\uff5e.json": b"{}",  # before the one above by code points, after it where names are ordered by UTF-16
}
_NAMES = list(FILES)
PARENTS = ("none", "unrelated", "similar", "version 1", "similar of version 1")


@contextmanager
def surroundings(zone: str, umask: int, folder: Path) -> Iterator[None]:
    """A time zone, a umask and a current folder, for as long as the block runs."""
    before = os.environ.get("TZ"), os.umask(umask), Path.cwd()
    os.environ["TZ"] = zone
    time.tzset()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before[2])
        os.umask(before[1])
        del os.environ["TZ"]
        if before[0] is not None:
            os.environ["TZ"] = before[0]
        time.tzset()


def prepare(store: Store, parent: str, tree: Path, scratch: Path) -> None:
    """Publish what the tag names before."""
    other = cas.open_store(str(scratch / "other"))
    if parent == "unrelated":
        publish_tree(store, write_tree(scratch / "unrelated", {"x.bin": noise(1000, 5)}))
    if parent.startswith("similar"):
        similar = Path(shutil.copytree(tree, scratch / "similar"))
        write_tree(similar, {"b.txt": b"another", "Z/z.bin": noise(70_000, 1), "more.txt": b"more"})
        publish_tree(store if parent == "similar" else other, similar)
    if parent == "version 1":
        publish_tree(other, write_tree(scratch / "unrelated", {"x.bin": noise(150_000, 5)}))
    if parent.endswith("version 1"):
        publish_1(store, other)


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the tree, published in the plainest way."""
    folder = tmp_path_factory.mktemp("plain")
    return publish_tree(str(folder / "store"), write_tree(folder / "tree", FILES)).reference


@settings(max_examples=8)
@given(
    order=st.permutations(_NAMES),
    links=st.sets(st.sampled_from(_NAMES)),
    parent=st.sampled_from(PARENTS),
    zone=st.sampled_from(["UTC", "Pacific/Kiritimati", "America/St_Johns"]),
    umask=st.sampled_from([0o000, 0o022, 0o077]),
    at=st.integers(0, 2**31),
    threads=st.integers(1, 4),
    force=st.booleans(),
)
def test_the_same_folder_has_one_name(
    name: str,
    order: list[str],
    links: set[str],
    parent: str,
    zone: str,
    umask: int,
    at: int,
    threads: int,
    force: bool,
) -> None:
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made).resolve()
        with surroundings(zone, umask, scratch):
            tree = scratch / "tree"
            for path in order:
                if path in links:
                    write_tree(scratch / "elsewhere", {path: FILES[path]})
                    (tree / path).parent.mkdir(parents=True, exist_ok=True)
                    (tree / path).symlink_to(scratch / "elsewhere" / path)
                else:
                    write_tree(tree, {path: FILES[path]})
                os.utime(tree / path, (at, at))
            store = cas.open_store(str(scratch / "store"))
            prepare(store, parent, tree, scratch)
            limits = Limits(requests=threads, uploads=threads, workers=threads)
            done = publish_tree(store, Path("tree"), force=force, limits=limits, by=f"anna {at}")
            assert done.reference == name
            assert (done.created, done.moved) == (True, ("latest",))
            again = publish_tree(store, tree, tags=["latest", "other"])
            assert (again.reference, again.created, again.moved) == (name, False, ("other",))


def test_every_kind_of_store_gives_the_same_name(name: str, store: Store, tmp_path: Path) -> None:
    assert publish_tree(store, write_tree(tmp_path / "tree", FILES)).reference == name


def test_another_process_gives_the_same_name(name: str, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", FILES)
    env = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Kathmandu", "CAS_STORE": str(tmp_path / "second")}
    done = run_cas("publish", "m", "--dir", str(tree), "--as", REPO, "--tag", "x", env=env)
    assert done.returncode == 0, done.stderr
    assert refs.resolve(cas.open_store(str(tmp_path / "second")), "m:x").exact == name


def test_a_rebuilt_store_has_the_names_of_the_first(full: Site, directory_store: Store, tmp_path: Path) -> None:
    write_tree(full.cache.parent, {"torch/hub/b.pth": b"b" * 100, "torch/hub/a.pth": b"a" * 100})
    shutil.copytree(full.repo, full.cache / "models--org--another", symlinks=True)
    one, two = RepoSource("org/another", refs=("main", "v1")), RepoSource(REPO)
    first = cas.publish(
        "m", cas.Source((one, two), ("torch/hub/*",)), directory_store, cache_dir=full.cache, download=False
    )
    cas.restore("m", directory_store, cache_dir=tmp_path / "restored" / "hub")
    one = RepoSource("org/another", refs=("v1", "main", "v1"))
    rebuilt = cas.publish(
        "m",
        cas.Source((two, one), ("torch/hub/b.*", "torch/hub/a.*")),
        str(tmp_path / "rebuilt"),
        cache_dir=tmp_path / "restored" / "hub",
        download=False,
    )
    assert rebuilt.reference == first.reference


def test_a_variant_has_one_name(directory_store: Store, tmp_path: Path) -> None:
    tree, found = write_tree(tmp_path / "tree", FILES), set()
    for store in (directory_store, cas.open_store(str(tmp_path / "second"))):
        publish_tree(store, tree)
        found.add(cas.derive("m", store, cast="float16", tags=["fp16"]).reference)
    assert len(found) == 1


def test_content_that_comes_back_gets_its_old_name_back(directory_store: Store, tmp_path: Path) -> None:
    store, tree = directory_store, write_tree(tmp_path / "tree", {"a.txt": b"1"})
    first = publish_tree(store, tree)
    publish_tree(store, write_tree(tree, {"a.txt": b"2"}))
    back = publish_tree(store, write_tree(tree, {"a.txt": b"1"}))
    assert (back.reference, back.created, back.moved) == (first.reference, True, ("latest",))
    assert len(store.digests("m")) == 2


def test_the_name_is_that_of_the_stored_bytes(directory_store: Store, tmp_path: Path) -> None:
    done = publish_tree(directory_store, write_tree(tmp_path / "tree", {"a.txt": b"1"}))
    digest = done.reference[-64:]
    data: Any = directory_store.bucket.get(manifest_key(*VersionId("m", digest)), 4096)
    assert hex_of(bytes(data)) == digest
    assert b"created" not in bytes(data)
