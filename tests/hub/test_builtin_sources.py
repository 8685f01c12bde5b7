"""The sources that come with this program: their names, what they take, and `--source` with a name or a path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cas
from cas.errors import InputError
from cas.hub.builtin_sources import builtin_sources, source_path
from cas.refs.reference import resolve
from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.models import noise, write_tree

NAMES = ["e2-tts", "f5-tts", "f5-tts-v0", "fine-tune", "vocos"]
VOICE = {
    "model_last.pt": noise(5_000, 1),
    "vocab.txt": b"a\n",
    "config.yaml": b"model: 1\n",
    "vocos/config.yaml": b"a: 1\n",
    "vocos/pytorch_model.bin": noise(3_000, 2),
}
AROUND = {"samples/one.wav": b"RIFF", "README.md": b"mine", "runs/events.out": b"x", ".hydra/overrides.yaml": b"x"}


def test_every_source_is_listed_with_what_it_is_for_and_how_it_is_published() -> None:
    done = call_cas("sources")
    header, *rows = done.stdout.splitlines()
    assert (done.returncode, header.split()) == (0, ["SOURCE", "WHAT", "COMMAND"])
    assert sorted(row.split()[0] for row in rows) == NAMES
    documents = json.loads(call_cas("sources", "--json").stdout)
    for document in documents:
        assert document["description"] and not document["description"].endswith(":")
        assert document["command"].startswith("cas publish ") and f"--source {document['name']}" in document["command"]
        assert bool(document["repos"]) != bool(document["layout"])
    (f5,) = (document for document in documents if document["name"] == "f5-tts")
    assert [repo["id"] for repo in f5["repos"]] == ["SWivid/F5-TTS", "charactr/vocos-mel-24khz"]


def test_a_named_source_is_printed_as_it_can_be_saved(tmp_path: Path) -> None:
    for source in builtin_sources():
        mine = tmp_path / "mine.toml"
        mine.write_text(call_cas("sources", source.name).stdout)
        assert cas.Source.from_file(mine) == source.read()
    done = call_cas("sources", "f6-tts")
    assert (done.returncode, done.stdout) == (2, "")
    assert "choose one of e2-tts, " in done.stderr


def test_a_file_of_that_name_wins_and_a_folder_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vocos").mkdir()
    assert cas.Source.from_file(source_path("vocos")).repos[0].repo_id == "charactr/vocos-mel-24khz"
    (tmp_path / "f5-tts").write_text("[[repo]]\nid = 'org/mine'\n")
    assert cas.Source.from_file(source_path("f5-tts")).repos[0].repo_id == "org/mine"
    with pytest.raises(InputError, match=r"no source file none\.toml, .* lists e2-tts, f5-tts"):
        source_path("none.toml")


def test_the_layout_of_a_fine_tune_takes_what_a_worker_loads(directory_store: Store, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "ckpts", {**VOICE, **AROUND})
    words = ["publish", "my-voice", "--source", "fine-tune", "--dir", str(folder), "--as", "my-org/my-voice"]
    done = call_cas(*words, env={"CAS_STORE": directory_store.url})
    assert done.returncode == 0, done.stderr
    (repo,) = resolve(directory_store, "my-voice").manifest.repos
    assert [file.path for file in repo.files] == sorted(VOICE)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--source", "fine-tune"], "add --dir DIR --as ORG/NAME"),
        (["--source", "fine-tune", "--repo", "a/b"], "add --dir DIR --as ORG/NAME"),
        (["--source", "fine-tune", "--dir", "."], "--dir and --as go together"),
        (
            ["--source", "fine-tune", "--dir", "none", "--as", "a/b"],
            "has none of the files of the layout: *.safetensors",
        ),
        (["--source", "f5-tts", "--dir", ".", "--as", "a/b"], "one of --source NAME"),
        (["--source", "f5-tts", "--include", "*"], "has its own patterns"),
    ],
)
def test_calls_that_a_layout_does_not_go_with(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path / "none", AROUND)
    done = call_cas("publish", "m", *words, env={"CAS_STORE": str(tmp_path / "store")})
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "store").exists()


def test_an_import_has_no_folder_for_a_layout(tmp_path: Path) -> None:
    done = call_cas("import-flat", str(tmp_path), "m", "--source", "fine-tune", env={"CAS_STORE": str(tmp_path / "s")})
    assert done.returncode == 2
    assert "is for `cas publish --dir`" in done.stderr
