"""`cas diff`: repos and files, what a restore downloads, and how it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cas.formats.digest import named
from cas.formats.manifest import Derived, Derived1, PlainFile
from cas.store.layout import chunk_key
from cas.store.store import Store
from tests.support.by_hand import put, repo, version
from tests.support.in_process import call_cas, cas_json, cas_lines
from tests.support.models import publish_tree, write_tree
from tests.support.processes import on_terminal
from tests.support.safetensors import Tensor, safetensors


def changes(document: dict[str, Any]) -> list[tuple[str, str, str | None, str | None]]:
    """Repo, change, path before and path after of every file that differs."""
    return [
        (
            one["repo_id"],
            file["change"],
            file["before"] and file["before"]["path"],
            file["after"] and file["after"]["path"],
        )
        for one in document["repos"]
        for file in one["files"]
    ]


def test_files_that_came_went_changed_and_moved(store: Store, tmp_path: Path) -> None:
    before = {"same": b"same", "changed": b"old", "removed": b"removed", "old/name": b"moved", "empty.a": b""}
    a = publish_tree(store, write_tree(tmp_path / "a", before)).reference
    after = {"same": b"same", "changed": b"newer", "added": b"added!", "new/name": b"moved", "empty.b": b""}
    b = publish_tree(store, write_tree(tmp_path / "b", after)).reference
    document = cas_json(store, "diff", a, b)
    assert not document["same"]
    assert changes(document) == [
        ("org/model", "added", None, "added"),
        ("org/model", "changed", "changed", "changed"),
        ("org/model", "removed", "empty.a", None),
        ("org/model", "added", None, "empty.b"),
        ("org/model", "renamed", "old/name", "new/name"),
        ("org/model", "removed", "removed", None),
    ]
    assert document["repos"][0]["unchanged"] == 1
    stored = sum(store.bucket.head(chunk_key(digest)).size for digest in new_chunks(store, a, b))
    assert document["download"] == {"chunks": 2, "plain": 11, "stored": stored, "missing": 0}


def new_chunks(store: Store, a: str, b: str) -> set[str]:
    from cas.refs.reference import resolve

    return resolve(store, b).manifest.chunks().keys() - resolve(store, a).manifest.chunks().keys()


@pytest.mark.parametrize("words", [("m", "m"), ("m", "other")])
def test_versions_of_the_same_content_have_no_difference(
    directory_store: Store, tmp_path: Path, words: tuple[str, str]
) -> None:
    tree = write_tree(tmp_path / "t", {"a": b"a"})
    for model in ("m", "other"):
        publish_tree(directory_store, tree, model=model)
    assert cas_lines(directory_store, "diff", *words)[-1] == "no difference"
    assert cas_json(directory_store, "diff", *words)["same"] is True


def test_what_version_1_alone_leaves_to_the_writer_is_no_difference(directory_store: Store) -> None:
    s = directory_store
    one, original = put(s, b"one"), named("f" * 64)
    old = version(
        s,
        [repo("o/r", {"f": one}, refs=("v1", "main"))],
        created="2020-01-01T00:00:00Z",
        derived=Derived1(original, "cast:float16", "where it is cast anyway"),
    )
    new = version(s, [repo("o/r", {"f": one}, refs=("main", "v1"))], derived=Derived(original, "cast:float16"))
    document = cas_json(s, "diff", old, new)
    assert (document["same"], document["other"], document["repos"][0]["change"]) == (True, [], None)
    assert cas_lines(s, "diff", old, new)[-1] == "no difference"
    other = version(s, [repo("o/r", {"f": one}, refs=("main", "v1"))], derived=Derived(original, "cast:bfloat16"))
    assert cas_json(s, "diff", old, other)["other"] == ["derived"]


def test_repos_that_came_and_went_between_different_models(directory_store: Store) -> None:
    s = directory_store
    one, two, big = put(s, b"one"), put(s, b"two"), put(s, b"x" * 5000)
    plain = (PlainFile("torch/x.pth", 3, one),)
    a = version(s, [repo("org/both", {"f": one}), repo("org/gone", {"g": two, "w.bin": big})], files=plain)
    b = version(s, [repo("org/both", {"f": one}, "d" * 40), repo("org/new", {"h": two, "i": put(s, b"3")})], "other")
    document = cas_json(s, "diff", a, b)
    found = {one["repo_id"]: (one["change"], one["unchanged"]) for one in document["repos"]}
    assert found == {
        "org/both": ("changed", 1),
        "org/new": ("added", 0),
        "org/gone": ("removed", 0),
        None: ("changed", 0),
    }
    assert changes(document) == [
        ("org/new", "renamed", "g", "h"),
        ("org/new", "added", None, "i"),
        ("org/gone", "removed", "w.bin", None),
        (None, "removed", "torch/x.pth", None),
    ]
    lines = cas_lines(s, "diff", a, b)
    assert [line for line in lines if "renamed  " in line] == ["├── renamed  org/gone/g -> h  3 B"]
    assert "below HF_HOME" in lines
    assert f"org/both  {'c' * 12} -> {'d' * 12}" in lines
    assert lines[-1].startswith("files: 1 added, 2 removed, 1 renamed; to download: 1 B in 1 chunk, stored as ")


def test_a_repo_at_two_commits_is_compared_commit_by_commit(directory_store: Store) -> None:
    s = directory_store
    one, two, three = (put(s, data) for data in (b"one", b"two", b"three"))
    a = version(s, [repo("o/r", {"f": one}, "1" * 40), repo("o/r", {"f": two}, "2" * 40, refs=())])
    b = version(s, [repo("o/r", {"f": two}, "2" * 40, refs=()), repo("o/r", {"f": three}, "3" * 40)])
    document = cas_json(s, "diff", a, b)
    assert [(one["commit"], one["change"]) for one in document["repos"]] == [
        (["2" * 40, "2" * 40], None),
        (["1" * 40, "3" * 40], "changed"),
        ([None, None], None),
    ]


def test_a_file_cut_otherwise_is_said_to_be_the_same_blob(directory_store: Store) -> None:
    s = directory_store
    one = repo("o/r", {"f": put(s, b"x" * 100 + b"y" * 100, [50])})
    other = repo("o/r", {"f": put(s, b"x" * 100 + b"y" * 100, [90])})
    import msgspec

    same_blob = msgspec.structs.replace(other.files[0], blob=one.files[0].blob)
    b = version(s, [msgspec.structs.replace(other, files=(same_blob,))])
    (file,) = cas_json(s, "diff", version(s, [one]), b)["repos"][0]["files"]
    assert (file["change"], file["note"]) == ("changed", "the same blob, in other chunks")


def test_chunks_that_the_store_lost_are_told(directory_store: Store, tmp_path: Path) -> None:
    a, b = (version(directory_store, [repo("o/r", {"f": put(directory_store, data)})]) for data in (b"a", b"b"))
    for digest in new_chunks(directory_store, a, b):
        (tmp_path / "store" / chunk_key(digest)).unlink()
    done = call_cas("--store", directory_store.url, "--json", "diff", a, b)
    assert '"missing": 1' in done.stdout
    assert "warning: 1 chunks" in done.stderr


def many_tensors(store: Store, count: int) -> tuple[str, str]:
    """Publish two versions with `count` tensors that differ and one that does not, and return their references."""
    versions = []
    for byte in (b"a", b"b"):
        tensors = {f"model.blocks.{n}.attention.to_q.weight": Tensor("U8", (1,), byte) for n in range(count)}
        data = safetensors({**tensors, "same": Tensor("U8", (1,), b"s"), "\x1b[2J\n": Tensor("U8", (1,), byte)})
        versions.append(version(store, [repo("org/model", {"model.safetensors": put(store, data, [8])})]))
    return versions[0], versions[1]


def test_many_tensors_are_summed_up_unless_asked_for(directory_store: Store) -> None:
    a, b = many_tensors(directory_store, 60)
    short, whole = cas_lines(directory_store, "diff", a, b), cas_lines(directory_store, "diff", a, b, "-v")
    assert sum("U8 [1]" in line for line in short) == 39
    assert "    ├── 22 more changed: see them with -v" in short
    assert sum("U8 [1]" in line for line in whole) == 61
    for lines in (short, whole):
        assert "    └── 1 tensor unchanged" in lines
        assert lines[-1].startswith("files: 1 changed; tensors: 61 changed; to download: ")
    assert len(cas_json(directory_store, "diff", a, b)["repos"][0]["files"][0]["tensors"]["changes"]) == 61


def test_a_hostile_name_does_not_reach_the_terminal(directory_store: Store) -> None:
    a, b = many_tensors(directory_store, 2)
    lines = cas_lines(directory_store, "diff", a, b)
    assert any(r"\x1b[2J\n" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize("columns", [1, 7, 40, 70])
def test_lines_fit_the_terminal_and_keep_the_ends_of_names(directory_store: Store, columns: int) -> None:
    a, b = many_tensors(directory_store, 3)
    lines = on_terminal(columns, directory_store, "diff", a, b)
    assert max(map(len, lines)) <= columns
    if columns == 40:
        assert any("…" in line and line.endswith("U8 [1]") for line in lines)
    if columns == 70:
        assert "    ├── changed  model.blocks.1.attention.to_q.weight  U8 [1]" in lines


def test_an_unknown_version_is_not_found(directory_store: Store, tmp_path: Path) -> None:
    publish_tree(directory_store, write_tree(tmp_path / "t", {"a": b"a"}))
    done = call_cas("--store", directory_store.url, "diff", "m", "m:none")
    assert (done.returncode, done.stdout) == (3, "")
