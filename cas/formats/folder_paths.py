"""Where a file of a version goes below a folder of the user: in the layouts of `cas restore --to` and `cas attest`."""

from __future__ import annotations

from cas.formats.manifest import PlainFile, Repo, RepoFile

LAYOUTS = ("{path}", "{repo}/{path}", "{name}")
"""Where a file goes below the folder: under its path in its repo, under the repo's id and that, or under its name."""

_PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}


def path_in_folder(file: RepoFile | PlainFile, repo: Repo | None, layout: str) -> str:
    """Return the path of a file below the folder.

    Args:
        file: the file.
        repo: its repo; None for a plain file, whose path is relative to HF_HOME.
        layout: one of LAYOUTS.
    """
    if layout == "{name}":
        return file.path.rpartition("/")[2]
    return full_path(file, repo) if layout == "{repo}/{path}" else file.path


def full_path(file: RepoFile | PlainFile, repo: Repo | None) -> str:
    """Return the path of a file below the name of its repo, as in a hub's URLs; that of a plain file alone."""
    return f"{repo_path(repo)}/{file.path}" if repo else file.path


def repo_path(repo: Repo) -> str:
    """Return a repo's id after `datasets/` or `spaces/` for these, as in a hub's URLs."""
    return f"{_PREFIXES[repo.repo_type]}{repo.repo_id}"
