"""Publishing from a cache that changes or is broken: downloads under way, edited files, damaged and dangling blobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import cas
from cas import refs
from cas.errors import CacheError, FormatError, IntegrityError
from cas.local import fs
from cas.store import lookup
from cas.store.layout import chunk_key
from cas.store.store import Store, open_store
from tests.support.hub import FILES, Site
from tests.support.models import REPO, publish_tree, read_tree, snapshot, write_tree
from tests.support.processes import start_cas

DOWNLOAD = "import huggingface_hub, sys; huggingface_hub.snapshot_download(sys.argv[1])"


def begin_download(
    site: Site, bytes_per_second: int, words: Sequence[str] = ("-c", DOWNLOAD, REPO)
) -> subprocess.Popen[bytes]:
    """Start a huggingface_hub client, and return it while it downloads weights.bin and has all other files."""
    site.hub.bytes_per_second = bytes_per_second
    process = subprocess.Popen([sys.executable, *words], env={**os.environ, **site.variables()})
    for _ in range(1000):
        if list(site.repo.glob("blobs/*.incomplete")) and len(list(site.repo.glob("snapshots/*/*"))) == len(FILES) - 1:
            return process
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        break
    process.kill()
    raise AssertionError("the download never got under way")


def from_cache(site: Site, store: Store | str, **options: Any) -> cas.Published:
    source = cas.Source.from_repos([REPO])
    return cas.publish("m", source, store, cache_dir=site.cache, download=False, **options)


def weights(site: Site) -> Path:
    """The path of the blob of weights.bin."""
    return next(site.repo.glob("snapshots/*/weights.bin")).resolve()


def assert_nothing_published(store: Store) -> None:
    assert [entry.key for entry in store.bucket.list("") if entry.key.startswith(("manifests", "refs"))] == []


def test_a_publish_waits_for_a_download_that_is_under_way(site: Site) -> None:
    with begin_download(site, bytes_per_second=100_000) as download:
        publish = start_cas("publish", "m", "--repo", REPO, "--no-download", env=site.variables())
        assert publish.stderr
        assert f"{REPO} is being downloaded" in publish.stderr.readline()
        site.hub.bytes_per_second = None
        _, told = publish.communicate()
    assert download.returncode == 0
    assert publish.returncode == 0, told
    files = [file.path for file in refs.resolve(open_store(str(site.store)), "m").manifest.all_files()]
    assert files == sorted(FILES)


def test_a_download_that_was_broken_off_is_an_error_and_can_be_finished(site: Site) -> None:
    with begin_download(site, bytes_per_second=100_000) as download:
        download.kill()
    done = site.cas("publish", "m", "--repo", REPO, "--no-download")
    assert done.returncode == 7, done.stderr
    assert "was broken off: finish it with `hf download`" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not site.store.exists()
    site.hub.bytes_per_second = None
    done = site.cas("publish", "m", "--repo", REPO)
    assert done.returncode == 0, done.stderr
    # The killed client's unfinished blob is still there, and stops no publish of the finished download.
    assert list(site.repo.glob("blobs/*.incomplete"))
    assert from_cache(site, str(site.store)).created is False


def test_ctrl_c_does_not_wait_for_the_files_under_way(site: Site) -> None:
    with begin_download(site, bytes_per_second=10_000, words=["-m", "cas", "publish", "m", "--repo", REPO]) as publish:
        publish.send_signal(signal.SIGINT)
        assert publish.wait(10) == 130
    assert not site.store.exists()
    site.hub.bytes_per_second = None
    done = site.cas("publish", "m", "--repo", REPO)
    assert done.returncode == 0, done.stderr


def test_an_unfinished_blob_of_another_revision_stops_no_publish(full: Site, directory_store: Store) -> None:
    (full.repo / "blobs" / f"{'a' * 64}.incomplete").write_bytes(b"half")
    assert from_cache(full, directory_store).created


def test_without_a_listing_any_broken_download_may_be_of_this_snapshot(full: Site, directory_store: Store) -> None:
    (full.repo / "blobs" / f"{'a' * 64}.incomplete").write_bytes(b"half")
    for tree in (full.repo / "trees").iterdir():
        tree.unlink()
    with pytest.raises(CacheError, match="was broken off"):
        from_cache(full, directory_store)


@pytest.mark.parametrize("name", ["weights.bin", "config.json"])
def test_a_blob_that_is_not_what_its_name_says_is_never_published(site: Site, name: str) -> None:
    site.hub.corrupt.add(name)  # huggingface_hub compares sizes only
    done = site.cas("publish", "m", "--repo", REPO)
    assert done.returncode == 4, done.stderr
    assert "it is damaged; remove it and download it again" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert_nothing_published(open_store(str(site.store)))


def test_a_damaged_blob_next_to_an_older_version_moves_no_tag(full: Site, directory_store: Store) -> None:
    first = from_cache(full, directory_store)
    path = weights(full)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(IntegrityError, match="its content is"):
        from_cache(full, directory_store)
    assert refs.resolve(directory_store, "m").exact == first.reference


def test_a_known_blob_that_was_damaged_later_is_not_uploaded_again(full: Site, directory_store: Store) -> None:
    first = from_cache(full, directory_store)
    path = weights(full)
    damaged = bytearray(path.read_bytes())
    damaged[5] ^= 1
    path.write_bytes(damaged)
    assert from_cache(full, directory_store).reference == first.reference  # no file was read
    (file,) = (file for file in refs.resolve(directory_store, "m").manifest.all_files() if file.path == "weights.bin")
    directory_store.bucket.delete(chunk_key(file.chunks[0].digest))
    with pytest.raises(CacheError, match="--force"):
        from_cache(full, directory_store)
    with pytest.raises(IntegrityError, match="download it again"):
        from_cache(full, directory_store, force=True)


def test_a_dangling_symlink_is_one_clear_line(full: Site) -> None:
    path = weights(full)
    path.unlink()
    done = full.cas("publish", "m", "--repo", REPO, "--no-download")
    assert done.returncode == 7, done.stderr
    assert "weights.bin points to" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    healed = full.cas("publish", "m", "--repo", REPO)
    assert healed.returncode == 0, healed.stderr


Writer = Callable[[Path], object]
WRITERS: dict[str, Writer] = {
    "edited": lambda path: path.write_bytes(b"x" * path.stat().st_size),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "shorter": lambda path: os.truncate(path, 10),
    "removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", WRITERS)
def test_a_file_that_changes_while_it_is_hashed(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": b"w" * 9_000_000})

    def changing(fd: int, view: memoryview, offset: int) -> int:
        done = fs.read_at(fd, view, offset)
        if offset == 0:
            WRITERS[change](tree / "w.bin")
        return done

    monkeypatch.setattr("cas.ops.publish.file_reader.read_at", changing)
    with pytest.raises(CacheError, match=r"w.bin changed while it was read: publish again"):
        publish_tree(directory_store, tree)
    assert_nothing_published(directory_store)


@pytest.mark.parametrize("change", WRITERS)
def test_a_file_that_changes_before_a_chunk_that_the_store_lost_is_sent_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": b"w" * 9_000_000})
    first = publish_tree(store, tree)
    for digest in refs.resolve(store, "m").manifest.chunks():
        store.bucket.delete(chunk_key(digest))
    stored_chunks = lookup.stored_chunks

    def changing(*words: Any) -> set[str]:
        WRITERS[change](tree / "w.bin")
        return stored_chunks(*words)

    with monkeypatch.context() as patched:
        patched.setattr(lookup, "stored_chunks", changing)
        if change == "longer":  # the bytes that were hashed are still there
            assert publish_tree(store, tree).uploaded == 9_000_000
        else:
            with pytest.raises(CacheError, match="changed after it was hashed"):
                publish_tree(store, tree)
    write_tree(tree, {"w.bin": b"w" * 9_000_000})
    assert publish_tree(store, tree).reference == first.reference
    assert read_tree(snapshot(cas.restore("m", store, cache_dir=tmp_path / "hub"))) == read_tree(tree)


def test_a_file_that_grows_while_it_is_hashed_and_whose_time_is_set_back(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": b"w" * 1000})
    before = (tree / "w.bin").stat()

    def changing(fd: int, view: memoryview, offset: int) -> int:
        done = fs.read_at(fd, view, offset)
        (tree / "w.bin").write_bytes(b"w" * 1000 + b"more")
        os.utime(tree / "w.bin", ns=(before.st_atime_ns, before.st_mtime_ns))
        return done

    monkeypatch.setattr("cas.ops.publish.file_reader.read_at", changing)
    with pytest.raises(CacheError, match=r"w.bin changed while it was read: publish again"):
        publish_tree(directory_store, tree)
    assert_nothing_published(directory_store)


def test_nothing_is_written_into_a_store_of_a_newer_version(directory_store: Store, tmp_path: Path) -> None:
    newer = b'{"format":"cas","version":2}'
    write_tree(Path(directory_store.url), {"format.json": newer})
    for option in ("force", "dry_run", "download"):
        with pytest.raises(FormatError, match="upgrade"):
            publish_tree(directory_store, write_tree(tmp_path / "tree", {"w.bin": b"w"}), **{option: True})
    assert read_tree(Path(directory_store.url)) == {"format.json": newer}
