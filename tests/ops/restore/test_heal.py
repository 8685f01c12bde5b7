"""A warm restore touches nothing; a damaged cache is named by verify and healed by fetching only what is damaged."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import cas
from cas.formats.digest import hex_of
from cas.local.hf_cache import RepoCache
from cas.ops.verify import verify
from cas.store.store import Store
from tests.support.hub import HUBS, ask_hub, check_offline
from tests.support.in_process import call_cas
from tests.support.models import COMMIT, KIB, REPO, check, noise, put_model
from tests.support.processes import Mount, bound_by_modes, cas_command

FILES = {"sub/model.bin": noise(300 * KIB, 1), "config.json": b"{}", "copy.json": b"{}", "empty": b""}
PLAIN = {"torch/x.pth": noise(70 * KIB, 2)}


@pytest.fixture
def cache(directory_store: Store, tmp_path: Path) -> Path:
    """A restored hub cache."""
    put_model(directory_store, {REPO: FILES}, PLAIN)
    cas.restore("m", directory_store, cache_dir=tmp_path / "home/hub")
    return tmp_path / "home/hub"


@pytest.fixture
def frozen(mount: Mount, cache: Path) -> Path:
    """The cache on a file system that cannot be written to."""
    home = mount(cache.parent, "--bind", cache.parent)
    subprocess.run(["mount", "-o", "remount,bind,ro", home], check=True)
    return cache


def everything(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def changed(folder: Path, before: dict[Path, tuple[int, int]]) -> set[str]:
    """Return what of a folder is not as it was before, or is new or gone."""
    return {path.relative_to(folder).as_posix() for path, _ in everything(folder).items() ^ before.items()}


def test_a_warm_restore_reads_no_model_byte_and_writes_nothing(
    cache: Path, reads: list[int], directory_store: Store
) -> None:
    before = everything(cache.parent)
    (used,) = cache.glob(".locks/.cas/m@*/lock")
    when_it_was_used = {used.relative_to(cache.parent).as_posix()}
    restored = cas.restore("m", directory_store, cache_dir=cache)
    assert (restored.changed, restored.fetched, reads) == (False, 0, [])
    assert changed(cache.parent, before) == when_it_was_used
    assert not cas.restore("m", directory_store, cache_dir=cache, verify=True).changed
    assert sum(reads) == (300 + 70) * KIB + len(b"{}")
    assert changed(cache.parent, before) == when_it_was_used


def test_a_warm_restore_works_where_nothing_can_be_written(frozen: Path, directory_store: Store) -> None:
    with pytest.raises(OSError, match="Read-only"):
        (frozen / "probe").touch()
    assert not cas.restore("m", directory_store, cache_dir=frozen).changed
    assert not cas.restore("m", directory_store, cache_dir=frozen, verify=True).changed


def test_a_cold_restore_says_where_nothing_can_be_written(frozen: Path, directory_store: Store) -> None:
    put_model(directory_store, {"org/more": {"a": b"1"}}, model="more")
    ran = call_cas("--store", directory_store.url, "restore", "more", "--cache-dir", str(frozen))
    assert ran.returncode == 7
    assert ran.stderr == (
        f"cas: {frozen}/models--org--more cannot be written (Read-only file system): "
        "check its owner and mode, or choose another --cache-dir\n"
    )


@pytest.mark.parametrize("mode", [0o555, 0])
def test_a_cache_dir_that_may_not_be_written_is_told_in_one_line(
    mode: int, directory_store: Store, tmp_path: Path
) -> None:
    put_model(directory_store, {REPO: FILES})
    locked = tmp_path / "locked"
    locked.mkdir(mode=mode)
    command = bound_by_modes(cas_command("--store", directory_store.url, "restore", "m", "--cache-dir", str(locked)))
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 7
    assert ran.stderr == (
        f"cas: {locked}/models--org--model cannot be written (Permission denied): "
        "check its owner and mode, or choose another --cache-dir\n"
    )


def test_a_file_where_the_cache_should_be_is_told_in_one_line(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        ran = call_cas("--store", directory_store.url, "restore", "m", "--cache-dir", str(tmp_path / place))
        assert (ran.returncode, ran.stderr.count("\n")) == (7, 1), ran.stderr
        assert str(tmp_path / "file") in ran.stderr


def blob_of(cache: Path, path: str) -> Path:
    return (RepoCache(cache, "model", REPO).root / "snapshots" / COMMIT / path).resolve()


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_an_edit_that_keeps_size_and_time_passes_until_verify(cache: Path, directory_store: Store) -> None:
    blob = blob_of(cache, "sub/model.bin")
    before = blob.stat()
    flip(blob, 70 * KIB)
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not cas.restore("m", directory_store, cache_dir=cache).changed
    ran = call_cas("--store", directory_store.url, "verify", "m", "--cache-dir", str(cache))
    assert ran.returncode == 4
    assert ran.stdout == f"damaged  {cache}/models--org--model/snapshots/{COMMIT}/sub/model.bin\n"
    restored = cas.restore("m", directory_store, cache_dir=cache, verify=True)
    assert restored.fetched == 64 * KIB
    check(restored, FILES)
    assert verify("m", directory_store, cache_dir=cache).sound


def test_a_file_that_is_written_to_while_it_is_hashed_is_not_believed(
    cache: Path, directory_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = blob_of(cache, "sub/model.bin")
    first = hex_of(blob.read_bytes()[: 64 * KIB])
    os.utime(blob, (1, 1))  # so the record does not vouch for it, and the write has another time

    def write_after_the_hash(data: memoryview) -> str:
        digest = hex_of(data)
        if digest == first:
            with blob.open("r+b") as file:  # in place: other threads are reading the file
                file.write(b"!")
        return digest

    with monkeypatch.context() as patched:
        patched.setattr("cas.local.scan.hex_of", write_after_the_hash)
        restored = cas.restore("m", directory_store, cache_dir=cache)
    assert restored.fetched == 64 * KIB
    check(restored, FILES)


def test_a_file_that_is_written_to_once_it_has_its_name_is_not_believed(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(directory_store, {REPO: FILES})
    real = os.rename

    def rename(old: str, new: str, **where: int) -> None:
        real(old, new, **where)
        blob = tmp_path / "models--org--model/blobs" / new
        if blob.is_file() and blob.stat().st_size:
            flip(blob, -1)
            os.utime(blob, (1, 1))

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", rename)
        cas.restore("m", directory_store, cache_dir=tmp_path)
    restored = cas.restore("m", directory_store, cache_dir=tmp_path)
    assert restored.changed
    check(restored, FILES)


def delete_link(root: Path) -> Path:
    path = root / "snapshots" / COMMIT / "config.json"
    path.unlink()
    return path


def replace_link(root: Path, target: str) -> Path:
    path = delete_link(root)
    path.symlink_to(target)
    return path


def edit_ref(root: Path, text: str) -> Path:
    (root / "refs/main").write_text(text)
    return root / "refs/main"


def blob_damage(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    def damage(root: Path) -> Path:
        path = root / "snapshots" / COMMIT / "sub/model.bin"
        change(path.resolve())
        return path

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], Path], str, int]] = {
    "blob truncated": (blob_damage(lambda blob: os.truncate(blob, 200 * KIB)), "damaged", (300 - 192) * KIB),
    "blob emptied": (blob_damage(lambda blob: os.truncate(blob, 0)), "damaged", 300 * KIB),
    "blob lengthened": (blob_damage(lambda blob: os.truncate(blob, 301 * KIB)), "damaged", 0),
    "blob edited": (blob_damage(lambda blob: flip(blob, 299 * KIB)), "damaged", (300 - 256) * KIB),
    "blob deleted": (blob_damage(Path.unlink), "missing", 300 * KIB),
    "blob a folder": (lambda root: replace_link(root, "../../blobs"), "damaged", 0),
    "link deleted": (delete_link, "missing", 0),
    "link dangling": (lambda root: replace_link(root, "nowhere"), "missing", 0),
    "link astray": (lambda root: replace_link(root, "/etc/passwd"), "damaged", 0),
    "ref with newline": (lambda root: edit_ref(root, COMMIT + "\n"), "damaged", 0),
    "ref nonsense": (lambda root: edit_ref(root, "main"), "damaged", 0),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_verify_names_the_damage_and_restore_heals_it(how: str, cache: Path, directory_store: Store) -> None:
    change, word, fetched = DAMAGES[how]
    path = change(cache / "models--org--model")
    report = verify("m", directory_store, cache_dir=cache)
    assert {"missing": report.missing, "damaged": report.damaged}[word] == (str(path),)
    assert len(report.missing + report.damaged) == 1
    restored = cas.restore("m", directory_store, cache_dir=cache)
    assert restored.fetched == fetched
    check(restored, FILES)
    assert verify("m", directory_store, cache_dir=cache).sound
    assert not cas.restore("m", directory_store, cache_dir=cache).changed


def test_a_link_that_would_break_when_the_cache_is_moved_is_made_relative(cache: Path, directory_store: Store) -> None:
    link = cache / "models--org--model/snapshots" / COMMIT / "config.json"
    text, blob = os.readlink(link), link.resolve()
    link.unlink()
    link.symlink_to(blob)
    assert cas.restore("m", directory_store, cache_dir=cache).fetched == 0
    assert os.readlink(link) == text
    assert not os.path.isabs(text)


def test_a_damaged_plain_file_is_named_and_healed(cache: Path, directory_store: Store) -> None:
    path = cache.parent / "torch/x.pth"
    flip(path, 65 * KIB)
    assert verify("m", directory_store, cache_dir=cache).damaged == (str(path),)
    assert cas.restore("m", directory_store, cache_dir=cache).fetched == 6 * KIB
    assert path.read_bytes() == PLAIN["torch/x.pth"]


def test_the_refs_and_listings_that_clients_need_are_healed(cache: Path, directory_store: Store) -> None:
    root = cache / "models--org--model"
    listing = root / f"trees/{COMMIT}.json"
    right = listing.read_bytes()
    for wrong in (None, b"", b"[]", b'{"format_version": 1, "files": {"config.json": {"size": 1, "blob_id": "x"}}}'):
        (root / "refs/main").unlink()
        listing.unlink()
        if wrong is not None:
            listing.write_bytes(wrong)
        assert cas.restore("m", directory_store, cache_dir=cache).fetched == 0
        assert listing.read_bytes() == right
    check_offline(cache, FILES)


def test_verify_minds_no_ref_that_another_version_moved(cache: Path, directory_store: Store) -> None:
    put_model(directory_store, {REPO: {"config.json": b"{1}"}}, model="newer", commit="d" * 40)
    cas.restore("newer", directory_store, cache_dir=cache)
    assert verify("m", directory_store, cache_dir=cache).sound
    found = ask_hub(HUBS[-1], f"found = tree(snapshot_download({REPO!r}))", cache, HF_HUB_OFFLINE="1")
    assert found == {"config.json": b"{1}".hex()}
    cas.restore("m", directory_store, cache_dir=cache)
    check_offline(cache, FILES)


def test_without_its_receipt_a_cache_is_hashed_and_believed(
    cache: Path, reads: list[int], directory_store: Store
) -> None:
    record = cache / "models--org--model/.cas/verified.json"
    for text in ("", "{", '{"version": 2, "files": {}}', '{"version": 1, "files": {"blobs": 1}}'):
        record.write_text(text)
        reads.clear()
        assert not cas.restore("m", directory_store, cache_dir=cache).changed
        assert sum(reads) == 300 * KIB + len(b"{}")
