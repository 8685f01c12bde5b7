"""Where a model comes from: repos of a hub with file patterns, plain files, or a folder of private weights."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from cas.config import expand_user
from cas.errors import FormatError, InputError
from cas.formats import paths
from cas.formats.manifest import REPO_PATTERN, RepoId
from cas.local.fs import read_bounded
from cas.local.hf_cache import files_below, is_commit

_MAX_SIZE = 1024 * 1024  # bytes of the largest source file that is read


class RepoSource(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"repo_id": "id", "repo_type": "type"}
):
    """One repo of a hub.

    Attributes:
        repo_id: `ORG/NAME`, or a name alone.
        repo_type: model, dataset or space.
        revision: a branch, a tag or a commit.
        include: glob patterns of the files to take; empty for all.
        refs: the refs that a restore writes; None for those of `restored_refs`.
        exclude: glob patterns of files to leave out, whatever `include` says.
    """

    repo_id: RepoId
    repo_type: Annotated[str, Meta(pattern="^(model|dataset|space)$")] = "model"
    revision: str = "main"
    include: tuple[str, ...] = ()
    refs: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()

    def restored_refs(self) -> tuple[str, ...]:
        """Return the refs that a restore writes: the branch or tag that was asked for, `main` for a bare commit.

        Clients that name no revision ask for main. Offline, they find a pinned commit only by that name.
        """
        if self.refs is not None:
            return self.refs
        return ("main",) if is_commit(self.revision) else (self.revision,)


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    repo: tuple[RepoSource, ...] = ()
    files: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """What to publish.

    Attributes:
        repos: repos of a hub.
        files: glob patterns of plain files below HF_HOME, all of them in `torch/` (TORCH_HOME content).
        folder: a folder of private weights, and the repo that it is published as, with the patterns of its files.
        layout: glob patterns of the files of a folder, for `of_folder`; such a source names nothing else.
    """

    repos: tuple[RepoSource, ...] = ()
    files: tuple[str, ...] = ()
    folder: tuple[Path, RepoSource] | None = None
    layout: tuple[str, ...] = ()

    @classmethod
    def from_file(cls, path: str | Path) -> Source:
        """Read a source from a TOML file, such as manifests/sources/f5-tts.toml. Raise InputError if it is invalid."""
        try:
            document = msgspec.convert(tomllib.loads(read_bounded(Path(path), _MAX_SIZE).decode()), _Document)
            for repo in document.repo:
                _check_repo(repo)
            for pattern in document.files:
                check_plain_pattern(pattern)
        except OSError as error:
            raise InputError(f"source {path} cannot be read: {error.strerror}") from None
        except RecursionError:
            raise InputError(f"source {path}: its values are nested too deep") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError, InputError) as error:
            raise InputError(f"source {path}: {error}") from None
        if document.layout and (document.repo or document.files):
            raise InputError(f"source {path} has a layout, which goes without [[repo]] and files")
        if not document.repo and not document.files and not document.layout:
            raise InputError(f"source {path} names neither a [[repo]] nor files")
        return cls(document.repo, document.files, layout=document.layout)

    @classmethod
    def from_repos(cls, repos: Iterable[str], include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Source:
        """Make a source of texts `ORG/NAME[@REVISION]`. Raise InputError if one of them is not of that form."""
        return cls(tuple(_parse_repo(text, include, exclude) for text in repos))

    @classmethod
    def from_folder(
        cls, folder: str | Path, repo_id: str, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> Source:
        """Make a source of a folder that is published as the repo `repo_id`. Raise InputError if it is no folder."""
        path = expand_user(folder)
        if not path.is_dir():
            raise InputError(f"{path} is not a directory: name the folder that holds the weights")
        return cls(folder=(path, _parse_repo(repo_id, include, exclude)))

    def of_folder(self, folder: str | Path, repo_id: str) -> Source:
        """Make a source of the files of a folder that the layout's patterns match; a pattern may match none.

        Raises:
            InputError: it is no folder, or no pattern matches any of its files.
        """
        whole = self.from_folder(folder, repo_id)
        assert whole.folder
        path, _ = whole.folder
        names = [file.path for file in files_below(path)]
        used = [pattern for pattern in self.layout if paths.match_patterns(names, [pattern])[0]]
        if not used:
            raise InputError(f"{path} has none of the files of the layout: {', '.join(self.layout)}")
        return self.from_folder(folder, repo_id, used)


def _parse_repo(text: str, include: Sequence[str], exclude: Sequence[str]) -> RepoSource:
    repo_id, at, revision = text.partition("@")
    if not re.fullmatch(REPO_PATTERN.strip("^$"), repo_id) or (at and not revision):
        raise InputError(f"{text!r} is not a repo: write ORG/NAME or ORG/NAME@REVISION")
    return _check_repo(RepoSource(repo_id, revision=revision or "main", include=tuple(include), exclude=tuple(exclude)))


def _check_repo(repo: RepoSource) -> RepoSource:
    """Return `repo`. Raise InputError if no hub can have it, or no reader of a manifest would accept it."""
    if ".." in repo.repo_id or "--" in repo.repo_id:
        raise InputError(f"repo id {repo.repo_id!r} contains '..' or '--', which no hub allows")
    for name in (repo.revision, *repo.restored_refs()):
        try:
            paths.check_path(name)
        except FormatError:
            raise InputError(f"{name!r} is not the name of a branch, tag or commit of {repo.repo_id}") from None
    return repo


def check_plain_pattern(pattern: str) -> None:
    """Raise InputError unless a pattern names only files that a version may have outside its repos."""
    top, slash, rest = pattern.partition("/")
    if not slash or top != paths.PLAIN_FILE_FOLDER or paths.is_hidden(rest):
        raise InputError(
            f"files pattern {pattern!r}: begin with a folder that a version may have in HF_HOME, which is torch/ "
            "alone, such as torch/hub/*.pth; names with a leading dot cannot be published"
        )


def matching(files: Iterable[str], include: Sequence[str], where: str, exclude: Sequence[str] = ()) -> set[str]:
    """Select paths by patterns.

    Args:
        files: the paths.
        include: glob patterns; empty to select all paths.
        where: names the repo or folder in the error.
        exclude: glob patterns of paths to leave out.

    Returns:
        The paths that at least one pattern of `include` matches, and none of `exclude`.

    Raises:
        InputError: a pattern of `include` matches no path, or `exclude` leaves none.
    """
    files = set(files)
    found, unmatched = paths.match_patterns(files, include) if include else (files, [])
    if unmatched:
        raise InputError(f"pattern {unmatched[0]!r} matches no file of {where}")
    left = found - paths.match_patterns(found, exclude)[0]
    if found and not left:
        raise InputError(f"the patterns to exclude ({', '.join(exclude)}) leave no file of {where}")
    return left
