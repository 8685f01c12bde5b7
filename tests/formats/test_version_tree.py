"""The tree of a version's files: one repo's own, or a folder for each repo, and no two files of one path."""

from __future__ import annotations

import pytest

from cas.formats.manifest import Manifest, PlainFile, Repo, RepoFile
from cas.formats.version_tree import names_in_tree, tree_of
from tests.support.models import COMMIT

OTHER = "d" * 40


def repo(name: str, *paths: str, kind: str = "model", commit: str = COMMIT) -> Repo:
    return Repo(name, kind, commit, ("main",), tuple(RepoFile(path, 0, "e" * 40, ()) for path in paths))


def manifest(*repos: Repo, files: tuple[str, ...] = ()) -> Manifest:
    return Manifest(model="m", repos=repos, files=tuple(PlainFile(path, 0, ()) for path in files))


@pytest.mark.parametrize(
    ("version", "paths"),
    [
        (manifest(repo("org/a", "x", "y/z")), ["x", "y/z"]),
        (manifest(repo("org/a", "x"), repo("b", "x")), ["org/a/x", "b/x"]),
        (manifest(repo("org/a", "x"), files=("torch/hub/w.pth",)), ["org/a/x", "torch/hub/w.pth"]),
        (manifest(files=("torch/w",)), ["torch/w"]),
        (manifest(), []),
        (
            manifest(repo("org/a", "x"), repo("org/a", "x", commit=OTHER)),
            [f"model:org/a@{COMMIT}/x", f"model:org/a@{OTHER}/x"],
        ),
        (
            manifest(repo("org/a", "x"), repo("org/a", "x", kind="dataset")),
            [f"model:org/a@{COMMIT}/x", f"dataset:org/a@{COMMIT}/x"],
        ),
        (manifest(repo("a", "b/x"), repo("a/b", "x")), [f"model:a@{COMMIT}/b/x", f"model:a/b@{COMMIT}/x"]),
        (manifest(repo("a", "x"), repo("ab/c", "x")), ["a/x", "ab/c/x"]),
        (manifest(repo("torch", "hub/x"), files=("torch/hub/x",)), [f"model:torch@{COMMIT}/hub/x", "torch/hub/x"]),
    ],
)
def test_paths(version: Manifest, paths: list[str]) -> None:
    assert list(tree_of(version)) == paths


def test_a_file_may_be_named_by_its_path_in_its_repo() -> None:
    tree = tree_of(manifest(repo("org/a", "x/y"), files=("torch/w",)))
    assert names_in_tree(tree) == {"org/a/x/y": {"org/a/x/y", "x/y"}, "torch/w": {"torch/w"}}
