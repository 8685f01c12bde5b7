"""What `cas import-flat` does not publish: it says which object is wrong and how, and the store stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.flat import FOLDER, Files, Flat, flatten
from tests.support.hub import FILES
from tests.support.models import REPO
from tests.support.weights import archive, tensors

ONE, TWO = "d" * 40, "e" * 40
AT = f"{FOLDER}/snapshots/{ONE}"


@pytest.fixture
def flat(tmp_path: Path) -> Flat:
    """An empty folder to import from."""
    (tmp_path / "models").mkdir()
    return Flat(str(tmp_path / "models"), str(tmp_path / "store"), tmp_path)


@pytest.fixture
def objects(downloaded: tuple[Path, Path]) -> dict[str, bytes]:
    """A whole repo, as a sync left it."""
    return flatten(downloaded[1])


def refused(flat: Flat, code: int, *told: str, words: tuple[str, ...] = (), model: str | None = "m") -> None:
    """Imports, and expects an error that says what was told and leaves no store."""
    done = flat.run(*words, model=model)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    for text in told:
        assert text in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not Path(flat.store).exists()


def key_of(objects: Files, folder: str, data: bytes) -> str:
    return next(key for key, held in objects.items() if f"/{folder}/" in key and held == data)


@pytest.mark.parametrize("without", ["", "snapshots"])
@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_blob_that_is_not_what_its_name_says(flat: Flat, objects: Files, without: str, how: str) -> None:
    weights = FILES["weights.bin"]
    key = key_of(objects, "blobs", weights)
    held = {name: data for name, data in objects.items() if not without or f"/{without}/" not in name}
    flat.put({**held, key: b"!" + weights[1:] if how == "flipped" else weights[:-1]})
    refused(flat, 4, f"{flat.source}/{key}", "nothing was published")


@pytest.mark.parametrize("left_out", [("/blobs/",), ("/trees/",)])
@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_snapshots_file_that_listing_or_blobs_know_otherwise(
    flat: Flat, objects: Files, left_out: tuple[str, ...], how: str
) -> None:
    weights = FILES["weights.bin"]
    key = key_of(objects, "snapshots", weights)
    held = {name: data for name, data in objects.items() if not any(part in name for part in left_out)}
    flat.put({**held, key: b"!" + weights[1:] if how == "flipped" else weights[:-1]})
    refused(flat, 4, f"{flat.source}/{key}", "nothing was published")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.safetensors", tensors(9000)[:-1]),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n"),
        ("model.safetensors", b"\1"),
        ("model.pt", archive()[:-1]),
    ],
)
@pytest.mark.parametrize("where", [AT, "torch/hub/checkpoints"])
def test_a_file_that_is_cut_short(flat: Flat, where: str, name: str, data: bytes) -> None:
    flat.put({f"{AT}/config.json": b"{}", f"{where}/{name}": data})
    refused(flat, 4, f"{flat.source}/{where}/{name}", "nothing was published")


def test_whole_files_of_these_formats_are_taken(flat: Flat) -> None:
    flat.put({f"{AT}/model.safetensors": tensors(9000), f"{AT}/model.pt": archive(), f"{AT}/empty.txt": b""})
    done = flat.run()
    assert done.returncode == 0, done.stderr


def test_which_of_several_commits_is_asked_for(flat: Flat) -> None:
    flat.put({f"{AT}/a.txt": b"one", f"{FOLDER}/snapshots/{TWO}/a.txt": b"two"})
    refused(flat, 2, "--revision", ONE, TWO)
    done = flat.run("--revision", TWO)
    assert done.returncode == 0, done.stderr
    assert f"{REPO}@{TWO[:12]}" in done.stderr


def test_which_of_several_refs_is_asked_for(flat: Flat) -> None:
    flat.put({f"{AT}/a.txt": b"one", f"{FOLDER}/refs/v1": ONE.encode(), f"{FOLDER}/refs/v2": ONE.encode() + b"\n"})
    refused(flat, 2, "--revision", "v1, v2")
    refused(flat, 3, "no ref v3", words=("--revision", "v3"))
    refused(flat, 3, TWO[:12], words=("--revision", TWO))
    assert flat.run("--revision", "v2").returncode == 0


def test_a_revision_is_of_one_repo(flat: Flat) -> None:
    flat.put({f"{AT}/a.txt": b"one", f"hub/models--other/snapshots/{ONE}/a.txt": b"one"})
    refused(flat, 2, "--repo", words=("--revision", ONE))
    refused(flat, 3, "no/such is not in", "org/model, other", words=("--repo", "no/such"))


@pytest.mark.parametrize("data", [b"", b"main", ONE.encode() + b"0", b"\xff" * 40])
def test_a_ref_that_holds_no_commit(flat: Flat, data: bytes) -> None:
    flat.put({f"{AT}/a.txt": b"one", f"{FOLDER}/refs/main": data})
    refused(flat, 4, f"{flat.source}/{FOLDER}/refs/main", "not a commit")


def test_a_ref_whose_snapshot_was_not_uploaded(flat: Flat) -> None:
    flat.put({f"{AT}/a.txt": b"one", f"{FOLDER}/refs/main": TWO.encode()})
    refused(flat, 3, TWO[:12], "cas publish --repo")


def test_blobs_whose_names_nobody_knows(flat: Flat, objects: Files) -> None:
    flat.put({name: data for name, data in objects.items() if "/blobs/" in name})
    refused(flat, 3, "cas publish --repo")


@pytest.mark.parametrize("files", [{}, {"voices/anna.wav": b"RIFF"}, {"hub/version.txt": b"1"}])
def test_where_no_model_is(flat: Flat, files: Files) -> None:
    flat.put(files)
    refused(flat, 3, flat.source, "nothing")


def test_the_folder_below_is_named_when_source_is_too_high(flat: Flat) -> None:
    flat.put({f"models/{AT}/a.txt": b"one"})
    refused(flat, 3, "models/ in it as SOURCE")


def test_one_repo_in_two_places(flat: Flat) -> None:
    flat.put({f"{AT}/a.txt": b"one", f"{AT.removeprefix('hub/')}/a.txt": b"one"})
    refused(flat, 2, "twice")


def test_files_that_the_listing_names_are_missing(flat: Flat, objects: Files) -> None:
    weights = FILES["weights.bin"]
    gone = {key_of(objects, folder, weights) for folder in ("blobs", "snapshots")}
    flat.put({key: data for key, data in objects.items() if key not in gone})
    refused(flat, 3, "weights.bin is missing", "--partial")
    done = flat.run("--partial")
    assert done.returncode == 0, done.stderr
    assert "warning: " in done.stderr
    assert "weights.bin is missing" in done.stderr


@pytest.mark.parametrize("path", ["con.txt", "a\\b", "A.txt"])
def test_paths_that_no_manifest_may_name(flat: Flat, path: str) -> None:
    flat.put({f"{AT}/a.txt": b"one", f"{AT}/{path}": b"two"})
    refused(flat, 2, f"{flat.source}/{FOLDER}", "cannot be published")


def test_a_folder_that_is_somebody_elses(flat: Flat, tmp_path: Path) -> None:
    flat.put({f"{AT}/a.txt": b"one"})
    work = tmp_path / "work"
    work.mkdir()
    (work / "mine").write_text("mine")
    refused(flat, 2, f"{work} is not empty", words=("--cache-dir", str(work)))
    (work / "mine").unlink()
    assert flat.run("--cache-dir", str(work)).returncode == 0
    other = Flat(str(tmp_path / "other"), str(tmp_path / "store-2"), tmp_path)
    other.put({f"{AT}/a.txt": b"two"})
    refused(other, 2, f"belongs to the import of {flat.source}", words=("--cache-dir", str(work)))


def test_a_token_that_was_uploaded_is_pointed_out(flat: Flat) -> None:
    flat.put({f"{AT}/a.txt": b"one", "token": b"hf_secret"})
    done = flat.run()
    assert done.returncode == 0
    assert "revoke it" in done.stderr
    assert "hf_secret" not in done.stderr


def test_names_are_checked_before_anything_is_read(flat: Flat) -> None:
    refused(flat, 2, "tag", words=("--tag", "a/b"))
    refused(flat, 2, "model", model="a/b")


@pytest.mark.parametrize("words", [(), ("-n",)])
def test_a_model_that_nobody_named(flat: Flat, words: tuple[str, ...]) -> None:
    flat.put({f"{AT}/a.txt": b"one", f"hub/models--SWivid--F5-TTS/snapshots/{ONE}/a.txt": b"one"})
    told = f"{REPO} does not tell: cas import-flat {flat.source} MODEL"
    refused(flat, 2, told, words=("--repo", REPO, *words), model=None)


def test_plain_files_need_a_name_as_well(flat: Flat) -> None:
    flat.put({"torch/hub/a.txt": b"one"})
    refused(flat, 2, "torch/ alone does not tell", model=None)
