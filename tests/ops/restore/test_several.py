"""Several versions in one restore, and a part of a version: shared chunks once, patterns, refs, receipts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cas
from cas import events, refs
from cas.errors import FormatError, InputError
from cas.store.store import Store
from tests.support.buckets import RecordingBucket
from tests.support.hub import check_offline
from tests.support.in_process import call_cas
from tests.support.models import KIB, REPO, check, noise, put_model, read_tree

BASE = noise(640 * KIB, 1)


@pytest.fixture
def five(directory_store: Store) -> dict[str, dict[str, bytes]]:
    """The files of five models by repo id, which have most of their bytes in common; the store has them as m0 to m4."""
    models = {
        f"org/m{at}": {
            "model.bin": BASE + noise(64 * KIB, 10 + at),
            "config.json": b'{"number": %d}' % at,
            "same": BASE,
        }
        for at in range(5)
    }
    for at, (repo, files) in enumerate(models.items()):
        put_model(directory_store, {repo: files}, model=f"m{at}")
    return models


@pytest.mark.parametrize("into", ["cache", "folder"])
def test_five_models_move_the_bytes_of_their_union(
    into: str, five: dict[str, dict[str, bytes]], directory_store: Store, tmp_path: Path
) -> None:
    names = [f"m{at}" for at in range(5)]
    bucket = RecordingBucket(directory_store.bucket)
    if into == "cache":
        done = cas.restore(names, Store(bucket), cache_dir=tmp_path / "hub")
        for repo, files in five.items():
            check(done, files, repo)
    else:
        done = cas.restore(names, Store(bucket), to=cas.Folder(tmp_path / "folder", "{repo}/{path}"))
        for repo, files in five.items():
            assert read_tree(tmp_path / "folder" / repo) == files
    union = {
        chunk: size for name in names for chunk, size in refs.resolve(directory_store, name).manifest.chunks().items()
    }
    assert sorted(bucket.chunks) == sorted(union), "each once"
    assert done.fetched == sum(union.values())
    stored = sum(path.stat().st_size for path in Path(directory_store.url).glob("chunks/*/*"))
    assert done.wire <= 1.02 * stored
    assert [version.reference for version in done.versions] == done.reference.split(", ")
    assert [version.total for version in done.versions] == [sum(map(len, files.values())) for files in five.values()]


def test_the_command_prints_the_snapshots_of_all(
    five: dict[str, dict[str, bytes]], directory_store: Store, tmp_path: Path
) -> None:
    ran = call_cas("--store", directory_store.url, "restore", "m3", "m1", "m3", "--cache-dir", str(tmp_path / "hub"))
    assert ran.returncode == 0, ran.stderr
    assert [Path(line).parent.parent.name for line in ran.stdout.splitlines()] == [
        "models--org--m3",
        "models--org--m1",
    ]


def test_two_versions_of_a_repo_share_its_blobs_and_the_last_one_has_the_ref(
    directory_store: Store, tmp_path: Path
) -> None:
    old, new = {"a": BASE, "b": b"old"}, {"a": BASE, "b": b"new", "c": BASE}
    for tag, files, commit in (("old", old, "a" * 40), ("new", new, "b" * 40)):
        put_model(directory_store, {REPO: files}, model=tag, commit=commit)
    heard: list[events.Event] = []
    done = cas.restore(["new", "old"], directory_store, cache_dir=tmp_path, on_event=heard.append)
    assert done.fetched == len(BASE) + 6, "the chunks of both once"
    assert read_tree(Path(done.versions[0].snapshots[REPO])) == new
    check(done, old)
    assert [event.text for event in heard if isinstance(event, events.Warned)] == [
        f"{REPO}: main will name {'a' * 12}, of the version that was named last, and not {'b' * 12}"
    ]
    heard.clear()
    assert not cas.restore(["new", "old"], directory_store, cache_dir=tmp_path, on_event=heard.append).changed
    assert not [event for event in heard if isinstance(event, events.Noted)], "no ref is moved to and fro"
    assert (tmp_path / "models--org--model/refs/main").read_text() == "a" * 40


def test_plain_files_that_differ_are_refused(directory_store: Store, tmp_path: Path) -> None:
    for name in ("a", "b"):
        put_model(directory_store, {f"org/{name}": {"x": b"1"}}, {"torch/x": name.encode()}, model=name)
    with pytest.raises(InputError, match=r"different bytes.*torch/x: restore them one after the other"):
        cas.restore(["a", "b"], directory_store, cache_dir=tmp_path / "home/hub")
    assert not (tmp_path / "home").exists()


# A part of a version

FILES = {"model.safetensors": BASE, "model.bin": noise(70 * KIB, 2), "sub/vocab.txt": b"a b", "config.json": b"{}"}


@pytest.mark.parametrize(
    ("include", "exclude", "chosen"),
    [
        (["*.json", "sub/"], [], ["config.json", "sub/vocab.txt"]),
        ([], ["*.bin"], ["config.json", "model.safetensors", "sub/vocab.txt"]),
        (["model*"], ["*.bin", "nothing*"], ["model.safetensors"]),
        (["*.txt"], [], ["sub/vocab.txt"]),
    ],
)
def test_patterns_choose_as_the_hubs_do(
    include: list[str], exclude: list[str], chosen: list[str], directory_store: Store, tmp_path: Path
) -> None:
    put_model(directory_store, {REPO: FILES})
    done = cas.restore("m", directory_store, cache_dir=tmp_path, include=include, exclude=exclude)
    check(done, {path: FILES[path] for path in chosen})
    assert done.total == done.fetched == sum(len(FILES[path]) for path in chosen)
    assert not cas.restore("m", directory_store, cache_dir=tmp_path, include=include, exclude=exclude).changed
    check(cas.restore("m", directory_store, cache_dir=tmp_path), FILES)


def test_clients_find_a_part_offline(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    cas.restore("m", directory_store, cache_dir=tmp_path / "hub", include=["*.json"])
    check_offline(tmp_path / "hub", {"config.json": b"{}"}, versions=("1.33",))


def test_a_repo_of_which_nothing_is_chosen_is_left_alone(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES, "org/other": {"x.onnx": b"1"}})
    done = cas.restore("m", directory_store, cache_dir=tmp_path, include=["*.onnx"])
    assert done.snapshots.keys() == {"org/other"}
    assert not (tmp_path / "models--org--model").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--include", "*.gguf"), "--include '*.gguf' matches no file of m"),
        (("--include", "*.bin", "--include", "*.gguf"), "--include '*.gguf' matches no file of m"),
        (("--exclude", "*"), "leave no file of m"),
    ],
)
def test_patterns_that_choose_nothing_are_refused(
    words: tuple[str, ...], told: str, directory_store: Store, tmp_path: Path
) -> None:
    put_model(directory_store, {REPO: FILES})
    ran = call_cas("--store", directory_store.url, "restore", "m", "--cache-dir", str(tmp_path / "hub"), *words)
    assert ran.returncode == 2
    assert told in ran.stderr
    assert not (tmp_path / "hub").exists()


def test_a_pattern_need_match_in_one_of_the_versions_alone(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    put_model(directory_store, {"org/q": {"q4.gguf": BASE}}, model="q")
    done = cas.restore(["m", "q"], directory_store, to=tmp_path / "f", include=["*.gguf", "*.txt"])
    assert done.files.keys() == {"sub/vocab.txt", "q4.gguf"}
    assert done.fetched == len(BASE) + 3


def test_pickle_files_that_are_left_out_are_not_refused(directory_store: Store, tmp_path: Path) -> None:
    put_model(directory_store, {REPO: FILES})
    with pytest.raises(FormatError, match=r"model\.bin"):
        cas.restore("m", directory_store, cache_dir=tmp_path, refuse_pickle=True)
    cas.restore("m", directory_store, cache_dir=tmp_path, refuse_pickle=True, exclude=["*.bin"])


def test_each_version_gets_a_receipt_with_the_figures_of_all(directory_store: Store, tmp_path: Path) -> None:
    for name in ("a", "b"):
        put_model(directory_store, {f"org/{name}": {"x": BASE, "y": name.encode()}}, model=name)
    words = ("--store", directory_store.url, "restore", "a", "b", "--receipt", "--cache-dir", str(tmp_path / "hub"))
    assert call_cas(*words).returncode == 0
    receipts = [json.loads(path.read_text()) for path in Path(directory_store.url).glob("receipts/*/*/*.json")]
    assert {receipt["model"] for receipt in receipts} == {"a", "b"}
    assert [receipt["bytes"]["total"] for receipt in receipts] == [2 * len(BASE) + 2] * 2
    assert [receipt["bytes"]["fetched"] for receipt in receipts] == [len(BASE) + 2] * 2
