"""Where a model comes from: source files, folders, plain files below HF_HOME."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import cas
from cas import events, refs
from cas.errors import CacheError, InputError
from cas.formats.manifest import Manifest
from cas.store.store import Store
from tests.support.hub import Site
from tests.support.in_process import call_cas
from tests.support.models import REPO, publish_tree, read_tree, snapshot, write_tree
from tools.models.f5tts import MODEL_FILE, VOCOS_FOLDER
from tools.models.safetensors import trained_like
from tools.models.torchzip import write_torch_zip
from tools.models.weights import Recipe, Weights

SHIPPED = Path(__file__).parents[3] / "manifests/sources/f5-tts.toml"

GOOD = """
files = ["torch/hub/*.pth"]
[[repo]]
id = "org/model"
type = "model"
revision = "main"
include = ["*.txt"]
refs = ["main", "v1"]
"""


def published(store: Store) -> Manifest:
    return refs.resolve(store, "m").manifest


def test_a_source_file_says_all_a_source_can(full: Site, directory_store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source.toml"
    source.write_text(GOOD)
    home = write_tree(tmp_path / "hf", {"torch/hub/x.pth": b"x" * 9, "torch/hub/y.txt": b"y", "other/z.pth": b"z"})
    os.environ["HF_HOME"] = str(home)
    cas.publish("m", cas.Source.from_file(source), directory_store, cache_dir=full.cache, download=False)
    found = published(directory_store)
    assert [file.path for file in found.repos[0].files] == ["empty.txt", "vocab.txt"]
    assert found.repos[0].refs == ("main", "v1")
    assert [file.path for file in found.files] == ["torch/hub/x.pth"]
    os.environ["HF_HOME"] = str(tmp_path / "elsewhere")
    cas.restore("m", directory_store)
    assert (tmp_path / "elsewhere/torch/hub/x.pth").read_bytes() == b"x" * 9


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "Expected '='"),
        ("", "names neither"),
        ("repo = 3", "Expected `array`"),
        ("[[repo]]\nrevision = 'x'", "missing required field `id`"),
        ("[[repo]]\nid = 'org/m'\nrevison = 'x'", "unknown field `revison`"),
        ("[[repo]]\nid = 7", "Expected `str`, got `int`"),
        ("[[repo]]\nid = 'a b'", "regex"),
        ("[[repo]]\nid = 'org/a--b'", "'--'"),
        ("[[repo]]\nid = 'org/m'\ntype = 'movie'", "regex"),
        ("[[repo]]\nid = 'org/m'\ninclude = '*.txt'", "Expected `array`"),
        ("[[repo]]\nid = 'org/m'\nrevision = '../x'", "branch, tag or commit"),
        ("[[repo]]\nid = 'org/m'\nrefs = ['a\\\\b']", "branch, tag or commit"),
        ("files = ['../x/*']", "begin with a folder"),
        ("files = ['/etc/passwd']", "begin with a folder"),
        ("files = ['tor*/x']", "begin with a folder"),
        ("files = ['a/../../x']", "begin with a folder"),
        ("files = ['nltk_data/*']", "torch/ alone"),
        ("files = ['Torch/hub/*']", "torch/ alone"),
        ("files = ['modules/x.py']", "torch/ alone"),
        ("files = ['.ssh/*']", "torch/ alone"),
        ("files = ['torch']", "torch/ alone"),
        ("files = ['torch/.netrc']", "leading dot"),
        ("files = ['torch/hub/../../.ssh/*']", "leading dot"),
        ("models = 1", "unknown field `models`"),
        ("layout = ['*.pt']\n[[repo]]\nid = 'org/m'", "a layout, which goes without [[repo]] and files"),
    ],
)
def test_a_bad_source_file_is_told_with_its_name_and_reason(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "source.toml"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        cas.Source.from_file(path)
    assert str(path) in str(raised.value)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_source_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\xff")
    for name, told in (("none.toml", "No such file"), ("", "Is a directory"), ("latin.toml", "utf-8")):
        with pytest.raises(InputError, match=told):
            cas.Source.from_file(tmp_path / name)


@pytest.mark.parametrize("pattern", ["*", "hub/*", ".bashrc", "../*", "accelerate/*.yaml", "torch/.x", "\uff54orch/*"])
def test_patterns_of_a_caller_are_refused_as_those_of_a_file(
    pattern: str, directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path / "home", {"torch/x.pth": b"x", ".bashrc": b"mine", "accelerate/a.yaml": b"mine"})
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with pytest.raises(InputError, match="torch/ alone"):
        cas.publish("m", cas.Source(files=("torch/*", pattern)), directory_store)


def test_a_wildcard_matches_no_plain_file_with_a_leading_dot(
    directory_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"torch/hub/x.pth": b"x", "torch/hub/.DS_Store": b"n", "torch/hub/a_main/.github/x.yml": b"x"}
    write_tree(tmp_path / "home", files)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    seen: list[events.Event] = []
    cas.publish("m", cas.Source(files=("torch/*",)), directory_store, on_event=seen.append)
    assert [file.path for file in published(directory_store).files] == ["torch/hub/x.pth"]
    (warning,) = [event.text for event in seen if isinstance(event, events.Warned)]
    assert warning.startswith("torch/hub/.DS_Store in ")
    assert "2 in all" in warning
    (tmp_path / "home/torch/hub/x.pth").unlink()
    with pytest.raises(InputError, match="matches no file"):
        cas.publish("m", cas.Source(files=("torch/*",)), directory_store)


def test_the_shipped_source_publishes_f5_tts_and_nothing_else(site: Site, tmp_path: Path) -> None:
    shapes = {"layer.weight": ("F32", (64, 1000)), "layer.bias": ("F32", (64,))}
    model = site.hub.root / MODEL_FILE
    trained_like(shapes, model, seed=1)
    write_tree(model.parent, {"vocab.txt": b"a\n", "model_1.safetensors": b"not wanted"})
    vocos = site.hub.root / VOCOS_FOLDER
    write_tree(vocos, {"config.yaml": b"a: 1\n", "README.md": b"not wanted"})
    write_torch_zip(vocos / "pytorch_model.bin", Weights(shapes, Recipe(2)))
    done = site.cas("publish", "f5-tts", "--source", "f5-tts")
    assert done.returncode == 0, done.stderr
    assert site.cas("publish", "f5-tts", "--source", str(SHIPPED)).stdout == done.stdout, "the same source by its path"
    restored = cas.restore("f5-tts", str(site.store), cache_dir=tmp_path / "other")
    assert {repo: sorted(read_tree(Path(path))) for repo, path in restored.snapshots.items()} == {
        "SWivid/F5-TTS": ["F5TTS_v1_Base/model_1250000.safetensors", "F5TTS_v1_Base/vocab.txt"],
        "charactr/vocos-mel-24khz": ["config.yaml", "pytorch_model.bin"],
    }
    found = Path(restored.snapshots["SWivid/F5-TTS"], "F5TTS_v1_Base/model_1250000.safetensors")
    assert found.read_bytes() == model.read_bytes()


def test_a_folder_is_published_under_the_repo_it_is_given(directory_store: Store, tmp_path: Path) -> None:
    files = {"w.bin": b"w" * 100, "sub/a.txt": b"a", ".git/HEAD": b"x", ".cache/huggingface/x": b"x", ".hidden": b"h"}
    folder = write_tree(tmp_path / "weights", files)
    (folder / "link.bin").symlink_to("w.bin")
    publish_tree(directory_store, folder)
    first = published(directory_store).repos[0]
    wanted = {".hidden": b"h", "link.bin": b"w" * 100, "sub/a.txt": b"a", "w.bin": b"w" * 100}
    assert (first.repo_id, first.refs) == (REPO, ("main",))
    assert read_tree(snapshot(cas.restore("m", directory_store, cache_dir=tmp_path / "hub"))) == wanted
    write_tree(folder, {"sub/a.txt": b"b"})
    publish_tree(directory_store, folder)
    second = published(directory_store).repos[0]
    assert second.commit != first.commit
    write_tree(folder, {"sub/a.txt": b"a"})
    publish_tree(directory_store, folder)
    assert published(directory_store).repos[0] == first


def test_linked_folders_are_part_of_a_folder(directory_store: Store, tmp_path: Path) -> None:
    write_tree(tmp_path / "elsewhere", {"w.bin": b"w"})
    folder = write_tree(tmp_path / "weights", {"a": b"a"})
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    publish_tree(directory_store, folder)
    restored = cas.restore("m", directory_store, cache_dir=tmp_path / "cache")
    assert read_tree(snapshot(restored)) == {"a": b"a", "linked/w.bin": b"w"}


def test_a_folder_linked_into_itself_is_refused(directory_store: Store, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "weights", {"sub/a": b"a"})
    (folder / "sub/loop").symlink_to(folder)
    with pytest.raises(CacheError, match=r"loop points to .*: remove the link"):
        publish_tree(directory_store, folder)


@pytest.mark.parametrize(
    ("name", "told"), [("a:b", "contains ':'"), ("trailing.", "whose end Windows drops"), ("nul.txt", "device name")]
)
def test_a_file_name_that_no_reader_accepts_is_a_wrong_call(
    directory_store: Store, tmp_path: Path, name: str, told: str
) -> None:
    folder = write_tree(tmp_path / "weights", {name: b"x", "good.txt": b"y"})
    with pytest.raises(InputError, match=told) as raised:
        publish_tree(directory_store, folder)
    assert "--include" in str(raised.value)
    cas.publish("m", cas.Source.from_folder(folder, REPO, ["good*"]), directory_store)


def test_a_folder_with_nothing_to_publish(directory_store: Store, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no files to publish"):
        publish_tree(directory_store, tmp_path / "none")
    with pytest.raises(InputError, match="is not a directory"):
        publish_tree(directory_store, tmp_path / "absent")
    (tmp_path / "none/dangling").symlink_to("nowhere")
    with pytest.raises(CacheError, match="is no file"):
        publish_tree(directory_store, tmp_path / "none")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--repo", "a/b", "--dir", "."],
        ["--dir", "."],
        ["--as", "a/b"],
        ["--source", "x", "--include", "y"],
        ["--source", "x", "--repo", "a/b"],
        ["--dir", ".", "--as", "a/b", "--tag", "no tag"],
        ["--dir", ".", "--as", "a b"],
    ],
)
def test_calls_that_contradict_themselves(words: list[str], tmp_path: Path) -> None:
    done = call_cas("publish", "m", *words, env={"CAS_STORE": str(tmp_path / "store")})
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_shared_blobs_of_huggingface_hub_are_read_where_they_really_lie(full: Site, directory_store: Store) -> None:
    blobs = [path for path in (full.repo / "blobs").iterdir() if path.stat().st_size > 1000]
    for number, blob in enumerate(blobs):
        shared = full.cache / "blobs" / f"{number:02x}" / ("e" * 64)
        shared.parent.mkdir(parents=True)
        shutil.move(blob, shared)
        blob.symlink_to(shared)
    assert blobs
    cas.publish("m", cas.Source.from_repos([REPO]), directory_store, cache_dir=full.cache, download=False)
    restored = cas.restore("m", directory_store, cache_dir=full.cache.parent / "other")
    assert read_tree(snapshot(restored)) == read_tree(next((full.repo / "snapshots").iterdir()))
