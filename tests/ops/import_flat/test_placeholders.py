"""`cas import-flat` of what syncs leave that follow no symlinks: empty objects, texts of links, marks, or nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cas import refs
from cas.local.hf_cache import RepoCache
from cas.store.store import open_store
from tests.support.flat import FOLDER, Files, Flat, flatten
from tests.support.hub import FILES
from tests.support.models import REPO

AT = f"{FOLDER}/snapshots/{'d' * 40}"
BLOB = "c" * 64
TO_BLOB = RepoCache.link_to_blob("weights.bin", BLOB).encode()


@pytest.fixture
def flat(s3_url: str, tmp_path: Path) -> Flat:
    """An empty place in a bucket of a real S3 server."""
    return Flat(s3_url.removesuffix("cas") + "models/", str(tmp_path / "store"), tmp_path)


@pytest.fixture
def cache(downloaded: tuple[Path, Path]) -> Path:
    """A hub cache as the real client made it, symlinks and all."""
    return downloaded[1]


def kept_as(cache: Path, how: str) -> dict[str, bytes]:
    """The objects of a sync that follows no symlinks. how: what it made of one."""
    objects = {key: data for key, data in flatten(cache).items() if "/snapshots/" not in key}
    for path in cache.rglob("snapshots/*/**/*"):
        key = f"hub/{path.relative_to(cache).as_posix()}"
        match how:
            case "text" if path.is_symlink():
                objects[key] = os.readlink(path).encode()
            case "text in a file of its own" if path.is_symlink():
                objects[f"{key}.rclonelink"] = os.readlink(path).encode()
            case "empty" if path.is_symlink():
                objects[key] = b""
            case "folders alone" if path.is_dir():
                objects[f"{key}/"] = b""
    return objects


def without(objects: Files, *folders: str) -> dict[str, bytes]:
    return {key: data for key, data in objects.items() if not any(f"/{folder}/" in key for folder in folders)}


def refused(flat: Flat, *told: str, words: tuple[str, ...] = (), code: int = 4) -> None:
    """Imports, and expects one line that says what was told and what to do, and that leaves no store."""
    for more in (("--dry-run",), ()):
        done = flat.run(*words, *more)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        last = done.stderr.splitlines()[-1]
        for text in told:
            assert text in last
        assert "Traceback" not in done.stderr
        assert not Path(flat.store).exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "config.yaml", "a/model.safetensors", "x.PT", "x.pth", "x.ckpt"])
@pytest.mark.parametrize("beside", ["nothing", "blobs"])
def test_an_empty_object_is_no_weights_and_no_config(flat: Flat, name: str, beside: str) -> None:
    empty = {f"{FOLDER}/blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391": b""} if beside == "blobs" else {}
    flat.put({**empty, f"{AT}/{name}": b"", f"{AT}/vocab.txt": b""})
    refused(flat, f"{flat.source}{AT}/{name} is empty", "symlinks followed", f"cas publish --repo {REPO}")


@pytest.mark.parametrize("link", [TO_BLOB, TO_BLOB + b"\n", b"../" + TO_BLOB, b"/root/hub/" + TO_BLOB[6:]])
@pytest.mark.parametrize("name", ["config.yaml", "vocab.txt", "pytorch_model.bin", "model.safetensors"])
def test_the_text_of_a_symlink_is_no_file(flat: Flat, name: str, link: bytes) -> None:
    flat.put({f"{AT}/good.bin": b"\0good", f"{AT}/{name}": link})
    refused(
        flat, f"{flat.source}{AT}/{name} holds the text of a symlink to blob cccc", "symlinks followed", "cas publish"
    )


def test_a_pointer_of_git_lfs_is_no_file(flat: Flat) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"1" * 64 + b"\nsize 5\n"
    flat.put({f"{AT}/pytorch_model.bin": pointer})
    refused(flat, f"{flat.source}{AT}/pytorch_model.bin holds a pointer of Git LFS", "symlinks followed")


@pytest.mark.parametrize("data", [b"", b"../../../blobs/ab/" + BLOB.encode()])
def test_plain_files_are_looked_at_as_well(flat: Flat, data: bytes) -> None:
    flat.put({f"{AT}/a.txt": b"a", "torch/hub/checkpoints/net.pth": data, "torch/hub/empty": b""})
    refused(flat, f"{flat.source}torch/hub/checkpoints/net.pth ", "--no-torch")
    done = flat.run("--no-torch")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("how", "left_out"),
    [
        *((how, folders) for how in ("text", "empty") for folders in (("trees",), ("blobs", "trees"), ("blobs",))),
        ("text in a file of its own", ("trees",)),
        ("text in a file of its own", ("blobs", "trees")),
    ],
)
def test_a_cache_whose_symlinks_were_not_followed(flat: Flat, cache: Path, how: str, left_out: tuple[str, ...]) -> None:
    flat.put(without(kept_as(cache, how), *left_out))
    refused(flat, f"{flat.source}{FOLDER}/snapshots/", "symlinks followed", f"cas publish --repo {REPO}")


def test_links_beside_the_places_of_the_files(flat: Flat, cache: Path) -> None:
    flat.put(without(kept_as(cache, "text in a file of its own"), "blobs"))
    refused(flat, "config.json is missing", code=3)
    refused(flat, ".rclonelink holds the text of a symlink", words=("--partial",))


@pytest.mark.parametrize("how", ["text", "empty", "nothing", "folders alone"])
def test_blobs_and_a_listing_are_all_that_is_needed(flat: Flat, cache: Path, how: str) -> None:
    flat.put(kept_as(cache, how))
    done = flat.run()
    assert done.returncode == 0, done.stderr
    (repo,) = refs.resolve(open_store(flat.store), "m").manifest.repos
    assert {file.path: file.size for file in repo.files} == {path: len(data) for path, data in FILES.items()}


@pytest.mark.parametrize("how", ["nothing", "folders alone"])
@pytest.mark.parametrize(("left_out", "told"), [(("trees",), "listing"), (("blobs",), "missing")])
def test_symlinks_that_were_left_out(flat: Flat, cache: Path, how: str, left_out: tuple[str, ...], told: str) -> None:
    flat.put(without(kept_as(cache, how), *left_out))
    refused(flat, f"{flat.source}{FOLDER}", told, "hub", code=3)


def test_a_snapshot_of_empty_files_alone(flat: Flat) -> None:
    flat.put({f"{AT}/vocab.txt": b"", f"{AT}/merges.txt": b""})
    refused(flat, f"{flat.source}{AT[:-28]}… holds nothing but empty files, merges.txt", "symlinks followed")


def test_marks_of_empty_folders_are_no_files(flat: Flat) -> None:
    flat.put({f"{AT}/sub/": b"", f"{AT}/a.txt": b"a", f"{AT}/__init__.py": b"", "torch/hub/sub/": b""})
    done = flat.run()
    assert done.returncode == 0, done.stderr
    version = refs.resolve(open_store(flat.store), "m").manifest
    assert [file.path for file in version.all_files()] == ["__init__.py", "a.txt"]


def test_a_listing_may_say_that_weights_are_empty(flat: Flat, tmp_path: Path) -> None:
    from cas.local.hf_cache import git_sha1, tree_document, tree_entries

    listing = tree_document(tree_entries({"empty.bin": (0, git_sha1(b"")), "a.txt": (1, git_sha1(b"a"))}))
    flat.put({f"{AT}/empty.bin": b"", f"{AT}/a.txt": b"a", f"{FOLDER}/trees/{'d' * 40}.json": listing})
    done = flat.run()
    assert done.returncode == 0, done.stderr
