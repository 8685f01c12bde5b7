"""`cas import-flat` of a part of a repo: complete is what holds all that is wanted, whatever else a listing names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from cas import refs
from cas.formats.manifest import Manifest
from cas.store.store import open_store
from tests.ops.publish.test_source import SHIPPED
from tests.support.flat import FOLDER, Files, Flat, flatten
from tests.support.hub import FILES, Site
from tests.support.models import REPO, write_tree
from tests.support.processes import run_cas
from tools.servers.hub import Hub

AT = f"{FOLDER}/snapshots/{'d' * 40}"
WANTED = ("config.json", "onnx/", "weights.bin")
SOURCE = f'[[repo]]\nid = "{REPO}"\ninclude = {json.dumps(WANTED)}\n'
KEPT = {"config.json", "onnx/deep/model.onnx", "weights.bin"}
PARTS = ("--repo", REPO, *(word for pattern in WANTED for word in ("--include", pattern)))


@dataclass
class Partial:
    """What a publish of some files downloaded, flattened, and the version that it published."""

    objects: dict[str, bytes]
    version: Manifest


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory, downloaded: tuple[Path, Path]) -> Partial:
    home = tmp_path_factory.mktemp("partial")
    (home / "source.toml").write_text(SOURCE)
    with Hub(downloaded[0]) as hub:
        done = Site(hub, home / "hub", home / "store").cas("publish", "m", "--source", str(home / "source.toml"))
    assert done.returncode == 0, done.stderr
    objects = flatten(home / "hub")
    (listing,) = (data for key, data in objects.items() if "/trees/" in key)
    assert json.loads(listing)["files"].keys() == FILES.keys(), "the client lists what it did not download"
    return Partial(objects, refs.resolve(open_store(str(home / "store")), "m").manifest)


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
    (tmp_path / "models").mkdir()
    return Flat(str(tmp_path / "models"), str(tmp_path / "store"), tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The source file by which the files were chosen."""
    path = tmp_path / "source.toml"
    path.write_text(SOURCE)
    return path


def published(flat: Flat, model: str = "m") -> Manifest:
    return refs.resolve(open_store(flat.store), model).manifest


def refused(flat: Flat, code: int, *told: str, words: tuple[str, ...]) -> None:
    done = flat.run(*words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    for text in told:
        assert text in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not Path(flat.store).exists()


def gone(objects: Files, data: bytes) -> dict[str, bytes]:
    """Without a file, by name and by content."""
    return {key: held for key, held in objects.items() if held != data}


@pytest.mark.parametrize("how", ["--source", "--include"])
def test_what_some_patterns_downloaded_is_whole_by_them(flat: Flat, partial: Partial, source: Path, how: str) -> None:
    flat.put(partial.objects)
    refused(flat, 3, "empty.txt is missing", "(2 in all)", "--source", "--include", "--partial", words=())
    done = flat.run(*(("--source", str(source)) if how == "--source" else PARTS))
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert published(flat).repos == partial.version.repos


@pytest.mark.parametrize("how", ["--source", "--include"])
@pytest.mark.parametrize("listed", [True, False])
def test_what_is_wanted_and_missing_is_named(
    flat: Flat, partial: Partial, source: Path, how: str, listed: bool
) -> None:
    objects = gone(partial.objects, FILES["weights.bin"])
    flat.put({key: data for key, data in objects.items() if listed or "/trees/" not in key})
    words = ("--source", str(source)) if how == "--source" else PARTS
    refused(
        flat,
        3,
        f"{flat.source}{'/' * (flat.source[-1] != '/')}{FOLDER}: of the files that are wanted, weights.bin is missing",
        "(1 in all)",
        f"cas publish --repo {REPO}",
        words=words,
    )
    done = flat.run(*words, "--partial")
    assert done.returncode == 0, done.stderr
    assert "warning: " in done.stderr
    assert "weights.bin is missing" in done.stderr
    assert {file.path for file in published(flat).repos[0].files} == KEPT - {"weights.bin"}


def test_only_what_is_wanted_is_taken_and_looked_at(folder: Flat, downloaded: tuple[Path, Path], source: Path) -> None:
    folder.put({key: data[:1] if data == FILES["vocab.txt"] else data for key, data in flatten(downloaded[1]).items()})
    refused(folder, 4, "has 1 bytes where the listing says 4", words=())
    done = folder.run("--source", str(source))
    assert done.returncode == 0, done.stderr
    assert {file.path for file in published(folder).repos[0].files} == KEPT


def test_nothing_of_what_is_wanted_is_there(folder: Flat) -> None:
    folder.put({f"{AT}/a.txt": b"a"})
    for words in ((), ("--partial",)):
        refused(folder, 3, f"{folder.source}/{FOLDER}", "wanted", "cas publish", words=(*PARTS, *words))


def test_f5_tts_by_the_source_file_that_comes_along(flat: Flat, tmp_path: Path) -> None:
    write_tree(
        tmp_path / "root/SWivid/F5-TTS",
        {"F5TTS_v1_Base/model_1250000.safetensors": b"\0" * 9, "F5TTS_v1_Base/vocab.txt": b"a\n", "F5TTS_Base/x": b"x"},
    )
    write_tree(tmp_path / "root/charactr/vocos-mel-24khz", {"config.yaml": b"a: 1\n", "pytorch_model.bin": b"\0v"})
    env = {"CAS_STORE": str(tmp_path / "other"), "HF_HUB_CACHE": str(tmp_path / "hub")}
    with Hub(tmp_path / "root") as hub:
        first = run_cas("publish", "f5-tts", "--source", str(SHIPPED), env={**env, "HF_ENDPOINT": hub.url})
    assert first.returncode == 0, first.stderr
    flat.put({**flatten(tmp_path / "hub"), "torch/hub/net.pth": b"\0net"})
    done = flat.run("--source", str(SHIPPED), model=None)
    assert done.returncode == 0, done.stderr
    assert "ignored torch (1 object)" in done.stderr
    there = refs.resolve(open_store(str(tmp_path / "other")), "f5-tts").manifest
    assert published(flat, "f5-tts").repos == there.repos


def test_a_source_file_names_types_plain_files_and_refs(folder: Flat, source: Path) -> None:
    folder.put(
        {
            f"hub/datasets--org--model/snapshots/{'d' * 40}/a.csv": b"a",
            f"{AT}/a.txt": b"a",
            "torch/hub/a.pth": b"\0a",
            "torch/hub/b.pth": b"\0b",
        }
    )
    source.write_text(
        f'files = ["torch/hub/a.*"]\n[[repo]]\nid = "{REPO}"\ntype = "dataset"\nrevision = "{"d" * 40}"\n'
        'refs = ["main", "v1"]\n'
    )
    done = folder.run("--source", str(source))
    assert done.returncode == 0, done.stderr
    version = published(folder)
    assert [(repo.repo_type, repo.refs) for repo in version.repos] == [("dataset", ("main", "v1"))]
    assert [file.path for file in version.files] == ["torch/hub/a.pth"]
    assert "ignored torch (1 object)" in done.stderr
    source.write_text('files = ["torch/hub/b.pth"]\n')
    assert folder.run("--source", str(source), model="plain").returncode == 0
    assert [file.path for file in published(folder, "plain").all_files()] == ["torch/hub/b.pth"]


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ('files = ["torch/hub/c.pth"]', 3, "has no file torch/hub/c.pth: sync again"),
        ('[[repo]]\nid = "no/such"', 3, "no/such is not in"),
        (f'[[repo]]\nid = "{REPO}"\nrevision = "v2"', 3, "has no ref v2"),
        (f'[[repo]]\nid = "{REPO}"\n[[repo]]\nid = "{REPO}"\nrevision = "v1"', 2, f"{REPO} is selected twice"),
        (f'[[repo]]\nid = "{REPO}"\nrepos = 1', 2, "source.toml"),
    ],
)
def test_a_source_file_that_does_not_fit(folder: Flat, source: Path, text: str, code: int, told: str) -> None:
    folder.put({f"{AT}/a.txt": b"a", f"{FOLDER}/refs/v1": b"d" * 40, "torch/hub/a.pth": b"\0a"})
    source.write_text(text)
    refused(folder, code, told, words=("--source", str(source)))


def test_main_is_the_only_commit_where_no_refs_came_along(folder: Flat, source: Path) -> None:
    folder.put({f"{AT}/a.txt": b"a"})
    source.write_text(f'[[repo]]\nid = "{REPO}"\n')
    assert folder.run("--source", str(source)).returncode == 0
    assert published(folder).repos[0].refs == ("main",)


@pytest.mark.parametrize("more", [("--repo", REPO), ("--repo", REPO, "--include", "*"), ("--revision", "main")])
def test_a_source_file_goes_alone(folder: Flat, source: Path, more: tuple[str, ...]) -> None:
    refused(folder, 2, "without --source", words=("--source", str(source), *more))


def test_patterns_go_with_a_repo(folder: Flat) -> None:
    refused(folder, 2, "--include goes with --repo", words=("--include", "*"))


def test_a_source_file_can_exclude(downloaded: tuple[Path, Path], folder: Flat, tmp_path: Path) -> None:
    folder.put(flatten(downloaded[1]))
    (tmp_path / "source.toml").write_text(f'[[repo]]\nid = "{REPO}"\nexclude = ["*.txt", "onnx/"]\n')
    ran = folder.run("--source", str(tmp_path / "source.toml"))
    assert ran.returncode == 0, ran.stderr
    (repo,) = refs.resolve(open_store(folder.store), "m").manifest.repos
    assert {file.path for file in repo.files} == {"config.json", "weights.bin"}


def test_a_sync_that_gained_a_repo_is_imported_and_says_so(downloaded: tuple[Path, Path], folder: Flat) -> None:
    first = flatten(downloaded[1])
    folder.put(first)
    assert folder.run().returncode == 0
    folder.put({key.replace("models--org--model", "models--org--second"): data for key, data in first.items()})
    ran = folder.run()
    assert ran.returncode == 0
    assert f"warning: m:latest held {REPO}; it is replaced by {REPO}, org/second" in ran.stderr
