"""One tree of a version's files, by which they are named where no cache is: `cas.open_file`, `cas://`, `load_tensors`.

A version of one repo and nothing else is that repo's tree. Otherwise each repo is a folder named by its id, and plain
files keep their paths below HF_HOME (`torch/...`). A repo whose id would not tell it from another folder of the
tree is named `type:id@commit`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cas.formats.manifest import Manifest, PlainFile, Repo, RepoFile
from cas.formats.paths import PLAIN_FILE_FOLDER

File = RepoFile | PlainFile


def tree_of(manifest: Manifest) -> dict[str, File]:
    """Return the files of a version by their paths in its tree, in the manifest's order."""
    if len(manifest.repos) == 1 and not manifest.files:
        return {file.path: file for file in manifest.repos[0].files}
    return dict(_all_paths(manifest))


def names_in_tree(tree: Mapping[str, File]) -> dict[str, set[str]]:
    """Return the names that people may give each file, by its path in the tree: that path, and its path in its repo."""
    return {path: {path, file.path} for path, file in tree.items()}


def _all_paths(manifest: Manifest) -> Iterator[tuple[str, File]]:
    for repo in manifest.repos:
        others = [other.repo_id for other in manifest.repos if other is not repo]
        if manifest.files:
            others.append(PLAIN_FILE_FOLDER)
        folder = repo.repo_id if not any(_meet(repo.repo_id, other) for other in others) else _whole_name(repo)
        for file in repo.files:
            yield f"{folder}/{file.path}", file
    for plain_file in manifest.files:
        yield plain_file.path, plain_file


def _meet(one: str, other: str) -> bool:
    """Whether one folder is the other, or lies in it."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _whole_name(repo: Repo) -> str:
    return f"{repo.repo_type}:{repo.repo_id}@{repo.commit}"
