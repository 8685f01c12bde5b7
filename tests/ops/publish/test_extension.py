"""A publish that extends a version: what it had of the commit stays, as long as the store still has it."""

from __future__ import annotations

from pathlib import Path

import pytest

import cas
from cas.config import CacheDirs
from cas.errors import ChunkMissing
from cas.formats.manifest import Manifest
from cas.local.hf_cache import RepoCache, git_sha1
from cas.refs.reference import resolve
from cas.store import layout
from cas.store.store import Store
from tests.support.models import COMMIT, REPO, write_tree


def put_file(hub: Path, path: str, data: bytes) -> None:
    """Put one file into a hub cache, as a download does."""
    cache = RepoCache(hub, "model", REPO)
    blob = git_sha1(data)
    write_tree(cache.root, {f"blobs/{blob}": data})
    link = cache.root.joinpath(*cache.snapshot_components(COMMIT, path))
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(cache.link_to_blob(path, blob))


def publish(store: Store, hub: Path, **options: object) -> Manifest:
    source = cas.Source.from_repos([f"{REPO}@{COMMIT}"])
    cas.publish("m", source, store, cache_dir=CacheDirs(hub, hub), download=False, **options)  # type: ignore[arg-type]
    version = resolve(store, "m")
    return store.get_manifest("m", version.digest)


def test_files_of_the_commit_stay_and_the_annotations_are_the_last(directory_store: Store, tmp_path: Path) -> None:
    put_file(tmp_path / "1", "b.txt", b"b")
    put_file(tmp_path / "1", "a/a.txt", b"a")
    put_file(tmp_path / "2", "c.txt", b"c")
    put_file(tmp_path / "2", "b.txt", b"b")
    first = publish(directory_store, tmp_path / "1", extend=True, annotations={"x": "1", "y": "1"})
    second = publish(directory_store, tmp_path / "2", extend=True, annotations={"x": "2"})
    assert (first.annotations, second.annotations) == ({"x": "1", "y": "1"}, {"x": "2"})
    assert [file.path for file in second.repos[0].files] == ["a/a.txt", "b.txt", "c.txt"]
    assert second.repos[0].files[0] == first.repos[0].files[0]
    alone = publish(directory_store, tmp_path / "2")
    assert [file.path for file in alone.repos[0].files] == ["b.txt", "c.txt"]


def test_a_file_whose_chunks_are_lost_is_not_promised_again(directory_store: Store, tmp_path: Path) -> None:
    put_file(tmp_path / "1", "a.txt", b"a")
    put_file(tmp_path / "2", "b.txt", b"b")
    first = publish(directory_store, tmp_path / "1", extend=True)
    directory_store.bucket.delete(layout.chunk_key(first.repos[0].files[0].chunks[0].digest))
    with pytest.raises(ChunkMissing):
        publish(directory_store, tmp_path / "2", extend=True)
    assert resolve(directory_store, "m").digest == directory_store.put_manifest(first)
