"""`cas import-flat`: what a flat sync left behind becomes a version like any other."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import cas
from cas import refs
from cas.formats.manifest import Manifest
from cas.local.hf_cache import git_sha1
from cas.store.store import open_store
from tests.support.flat import FOLDER, Flat, flatten
from tests.support.hub import FILES, HUBS, check_offline
from tests.support.models import REPO, read_tree, snapshot
from tools.bench import measure

MIB = 1024 * 1024
TORCH = {"torch/hub/checkpoints/ä net.pth": b"\x80\x02 a pickle", "torch/hub/trusted_list": b"org_repo\n"}
LITTER = {
    f"{FOLDER}/.no_exist/{'a' * 40}/added_tokens.json": b"",
    f"{FOLDER}/blobs/{'b' * 64}.incomplete": b"half of a",
    f"hub/.locks/models--org--model/{'b' * 64}.lock": b"",
    f"hub/blobs/ab/ab{'c' * 62}": b"shared",
    "hub/version.txt": b"1",
    "torch/hub/checkpoints/net.pth.0123.partial": b"half",
    "voices/anna/voice.wav": b"RIFF",
    "output/1.wav": b"RIFF",
    "notes.txt": b"mine",
}


@pytest.fixture(params=["folder", "s3"])
def flat(request: pytest.FixtureRequest, tmp_path: Path) -> Flat:
    """An empty place in a folder, then in a bucket of a real S3 server."""
    source = str(tmp_path / "models")
    if request.param == "s3":
        source = request.getfixturevalue("s3_url").removesuffix("cas") + "models/"
    return Flat(source, str(tmp_path / "store"), tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Flat:
    """An empty place in a folder, for what does not depend on where it is."""
    return Flat(str(tmp_path / "models"), str(tmp_path / "store"), tmp_path)


def published(flat: Flat) -> Manifest:
    return refs.resolve(open_store(flat.store), "m").manifest


def blobs_of(cache: Path) -> dict[str, str]:
    (found,) = cache.glob("models--*/snapshots/*")
    return {path: os.path.basename(os.readlink(found / path)) for path in FILES}


@pytest.mark.parametrize("without", ["", "blobs", "snapshots"])
def test_a_synced_cache_becomes_the_version_that_was_downloaded(
    flat: Flat, downloaded: tuple[Path, Path], without: str, tmp_path: Path
) -> None:
    _, cache = downloaded
    flat.put({**flatten(cache, without=without), **TORCH, **LITTER})
    before = flat.objects()
    done = flat.run("--tag", "v1", "--tag", "latest", "--by", "ann", HF_HOME=str(tmp_path / "elsewhere"))
    assert done.returncode == 0, done.stderr
    assert flat.objects() == before
    version = published(flat)
    assert done.stdout.strip() == refs.resolve(open_store(flat.store), "m:v1").exact
    (repo,) = version.repos
    (head,) = cache.glob("models--*/refs/main")
    assert (repo.repo_id, repo.commit, repo.refs) == (REPO, head.read_text(), ("main",))
    assert {file.path: file.blob for file in repo.files} == blobs_of(cache)
    moved = refs.log_of(open_store(flat.store), refs.parse_reference("m:v1")).current()
    assert moved and moved.by == "ann"
    for name in ("voices", "output", "notes.txt"):
        assert f"ignored {name} " in done.stderr

    restored = cas.restore("m", flat.store, cache_dir=tmp_path / "new/hub")
    assert read_tree(snapshot(restored)) == FILES
    assert read_tree(tmp_path / "new/torch") == {key.removeprefix("torch/"): data for key, data in TORCH.items()}
    check_offline(tmp_path / "new/hub", FILES, versions=HUBS)
    assert not (tmp_path / "user").exists()


@pytest.mark.parametrize("without", ["", "blobs"])
def test_names_are_those_of_the_hub_without_its_listing(
    folder: Flat, downloaded: tuple[Path, Path], without: str
) -> None:
    folder.put({key: data for key, data in flatten(downloaded[1], without=without).items() if "/trees/" not in key})
    done = folder.run()
    assert done.returncode == 0, done.stderr
    names = {file.path: file.blob for file in published(folder).repos[0].files}
    if without:
        text = ("config.json", "empty.txt", "vocab.txt")
        assert {path: names[path] for path in text} == {path: git_sha1(FILES[path]) for path in text}
        assert len(names["weights.bin"]) == 64
    else:
        assert names == blobs_of(downloaded[1])


def test_a_cache_with_its_symlinks_is_read_as_well(downloaded: tuple[Path, Path], tmp_path: Path) -> None:
    flat = Flat(str(downloaded[1]), str(tmp_path / "store"), tmp_path)
    done = flat.run()
    assert done.returncode == 0, done.stderr
    assert {file.path: file.blob for file in published(flat).repos[0].files} == blobs_of(downloaded[1])


def test_repos_are_chosen_and_torch_left_out(folder: Flat, downloaded: tuple[Path, Path]) -> None:
    other = f"hub/datasets--one/snapshots/{'d' * 40}/data.csv"
    folder.put({**flatten(downloaded[1]), **TORCH, other: b"a,b\n"})
    assert folder.run().returncode == 0
    both = published(folder)
    assert [(repo.repo_type, repo.repo_id, repo.refs) for repo in both.repos] == [
        ("dataset", "one", ("main",)),
        ("model", REPO, ("main",)),
    ]
    assert [file.path for file in both.files] == sorted(TORCH)
    assert folder.run("--repo", "one", "--no-torch").returncode == 0
    assert [repo.repo_id for repo in published(folder).repos] == ["one"]
    assert published(folder).files == ()


def test_a_dry_run_fetches_and_writes_nothing(folder: Flat, downloaded: tuple[Path, Path], tmp_path: Path) -> None:
    folder.put({**flatten(downloaded[1]), **TORCH})
    done = folder.run("--json", "-n", "--cache-dir", str(tmp_path / "work"))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["published"] is None
    (repo,) = said["imported"]["repos"]
    assert repo["files"] == {path: len(data) for path, data in FILES.items()}
    assert said["imported"]["files"] == {path: len(data) for path, data in TORCH.items()}
    assert not (tmp_path / "work").exists()
    assert not Path(folder.store).exists()


def test_the_model_is_called_f5_tts_without_a_name(flat: Flat) -> None:
    at = f"snapshots/{'d' * 40}"
    flat.put(
        {
            f"hub/models--SWivid--F5-TTS/{at}/F5TTS_v1_Base/vocab.txt": b"a\n",
            f"hub/models--charactr--vocos-mel-24khz/{at}/config.yaml": b"a: 1\n",
        }
    )
    planned = flat.run("-n", model=None)
    assert planned.returncode == 0, planned.stderr
    assert "would publish f5-tts" in planned.stderr
    done = flat.run(model=None)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == refs.resolve(open_store(flat.store), "f5-tts").exact
    renamed = flat.run("--json", model="my-voice")
    assert json.loads(renamed.stdout)["model"] == "my-voice"
    assert refs.resolve(open_store(flat.store), "my-voice:latest")


def test_a_second_run_fetches_only_what_is_not_there_whole(
    flat: Flat, downloaded: tuple[Path, Path], tmp_path: Path
) -> None:
    flat.put({**flatten(downloaded[1], without="blobs"), **TORCH})
    work = ("--cache-dir", str(tmp_path / "work"))
    assert flat.run(*work).returncode == 0
    first = published(flat)
    files = [path for path in (tmp_path / "work").rglob("*") if path.is_file() and not path.is_symlink()]
    kept = {path: path.stat().st_ino for path in files if "blobs" in path.parts or "checkpoints" in path.parts}
    (weights,) = (path for path in kept if path.stat().st_size == len(FILES["weights.bin"]))
    with weights.open("r+b") as file:
        file.write(b"!")
    (name,) = (key for key in TORCH if "net" in key)
    flat.put({name: b"\x80\x02 a PICKLE"})
    assert flat.run(*work).returncode == 0
    fetched = {path for path, inode in kept.items() if path.stat().st_ino != inode}
    assert fetched == {weights, tmp_path / "work" / name}
    assert published(flat).repos == first.repos
    assert published(flat).files != first.files


def test_what_is_gone_from_the_source_is_gone_from_a_kept_cache(folder: Flat, tmp_path: Path) -> None:
    at = f"{FOLDER}/snapshots/{'d' * 40}"
    folder.put({f"{at}/a.txt": b"a", f"{at}/b.txt": b"b", **TORCH})
    work = ("--cache-dir", str(tmp_path / "work"))
    assert folder.run(*work).returncode == 0
    Path(folder.source, at, "b.txt").unlink()
    Path(folder.source, "torch/hub/trusted_list").unlink()
    assert folder.run(*work).returncode == 0
    version = published(folder)
    assert [file.path for file in version.all_files()] == ["a.txt", "torch/hub/checkpoints/ä net.pth"]


def test_marks_of_folders_are_no_files(s3_url: str, tmp_path: Path) -> None:
    flat = Flat(s3_url.removesuffix("cas") + "models/", str(tmp_path / "store"), tmp_path)
    at = f"{FOLDER}/snapshots/{'d' * 40}"
    flat.put({"hub/": b"", f"{FOLDER}/snapshots/": b"", f"{at}/sub/": b"", f"{at}/sub/a.txt": b"a", "torch/": b""})
    assert flat.run().returncode == 0
    assert [file.path for file in published(flat).all_files()] == ["sub/a.txt"]


def test_an_object_larger_than_what_may_be_held_is_imported_in_pieces(s3_url: str, tmp_path: Path) -> None:
    import boto3

    size = 300 * MIB
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
        file.write(len(header).to_bytes(8, "little") + header)
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    bucket = s3_url.split("/")[2]
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    client.upload_file(str(path), bucket, f"models/{FOLDER}/snapshots/{'d' * 40}/{path.name}")
    path.unlink()
    command = [sys.executable, "-m", "cas", "import-flat", f"s3://{bucket}/models", "m"]
    ran = measure.run(command, {**os.environ, "CAS_STORE": str(tmp_path / "store")})
    assert ran.peak < 300 * MIB
    assert refs.resolve(open_store(str(tmp_path / "store")), "m").manifest.plain_size > size
