"""A folder of the user's that a restore fills with files, in a layout that other programs than a hub's clients know."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from cas.config import expand_user
from cas.errors import FormatError, InputError
from cas.formats import paths
from cas.formats.folder_paths import LAYOUTS, full_path, path_in_folder, repo_path
from cas.formats.manifest import Manifest, PlainFile, Repo, RepoFile
from cas.local.folder_record import is_private
from cas.local.fs import check_name_encoding
from cas.local.targets import Target, content_of

LINKS = ("hardlink", "reflink")


@dataclass(frozen=True, slots=True)
class Folder:
    """Where a restore puts files, and how.

    Attributes:
        path: the folder, which is made if it is missing.
        layout: one of LAYOUTS. `{repo}` is a repo's id, after `datasets/` or `spaces/` for these, as in a hub's URLs.
            A file of no repo has its path alone.
        link: `hardlink` or `reflink` to restore into the cache, and make the folder's files links to, or clones of,
            those in the cache; None to write real files.
        delete: remove what earlier restores made in the folder and this one does not name.
    """

    path: Path | str
    layout: str = LAYOUTS[0]
    link: str | None = None
    delete: bool = False


def checked(to: Folder | str | Path) -> Folder:
    """Return the folder that a user names, with its absolute path.

    Args:
        to: the folder, or its path alone.

    Raises:
        InputError: the path names something else than a folder, or there is no such layout or kind of link.
    """
    folder = to if isinstance(to, Folder) else Folder(to)
    if folder.layout not in LAYOUTS:
        raise InputError(f"layout {folder.layout!a} is none of {', '.join(LAYOUTS)}")
    if folder.link not in (None, *LINKS):
        raise InputError(f"link {folder.link!a} is none of {', '.join(LINKS)}")
    if not str(folder.path):
        raise InputError("--to names no folder")
    path = Path(os.path.abspath(expand_user(folder.path)))
    if os.path.lexists(path) and not path.is_dir():
        raise InputError(f"{path} is no folder: choose another --to")
    return replace(folder, path=path)


class Placed(NamedTuple):
    """A file of a version, and its target in a folder.

    Attributes:
        target: the target.
        file: the file.
        repo: its repo; None for a plain file.
    """

    target: Target
    file: RepoFile | PlainFile
    repo: Repo | None


def arrange(manifests: Sequence[Manifest], folder: Folder) -> list[Placed]:
    """Return the target of each file of versions in a folder; files of one path and the same bytes have one target.

    Raises:
        InputError: two files with different bytes would have one path, or a path would mean something to us or to git,
            or this process could not give a file its name.
    """
    check_name_encoding(file.path for manifest in manifests for file in manifest.all_files())
    placed: dict[str, Placed] = {}
    for file, repo in (pair for manifest in manifests for pair in _files_of(manifest)):
        path = path_in_folder(file, repo, folder.layout)
        if is_private(path):
            raise InputError(
                f"file {file.path!a} of {_name(repo)} would be {path!a} in {folder.path}, where a record of ours or "
                f"git's own files lie: leave it out with --exclude {file.path!a}"
            )
        target = Target(
            Path(folder.path),
            tuple(path.split("/")),
            (),
            file.size,
            file.chunks,
            content_of(file),
            None,
            in_folder=True,
        )
        first = placed.setdefault(path, Placed(target, file, repo))
        if first.target.content != target.content:
            of_one_repo = full_path(first.file, first.repo) == full_path(file, repo)
            raise InputError(
                f"{path!a} in {folder.path} would be both {first.file.path!a} of {_name(first.repo)} and "
                f"{file.path!a} of {_name(repo)}, which differ: {_advice(folder, of_one_repo=of_one_repo)}"
            )
    try:
        paths.check_tree(placed)
    except FormatError as error:
        reason = str(error).removesuffix(": refusing the manifest")
        raise InputError(f"in {folder.path}, {reason}: {_advice(folder)}") from None
    return list(placed.values())


def _files_of(manifest: Manifest) -> Iterator[tuple[RepoFile | PlainFile, Repo | None]]:
    for repo in manifest.repos:
        for file in repo.files:
            yield file, repo
    for plain_file in manifest.files:
        yield plain_file, None


def _name(repo: Repo | None) -> str:
    return f"{repo_path(repo)}@{repo.commit[:12]}" if repo else "no repo"


def _advice(folder: Folder, *, of_one_repo: bool = False) -> str:
    """Say what to do about files that exclude each other.

    Args:
        folder: the folder.
        of_one_repo: whether they are two versions of one file of one repo, which no layout keeps apart.
    """
    no_layout = of_one_repo or folder.layout == "{repo}/{path}"
    other = "" if no_layout else "give each repo a folder with --layout '{repo}/{path}', or "
    return f"{other}leave one of them out with --exclude, or restore it into another folder"
