"""What a prune will remove of one version: a value, computed before anything is touched, shown by --dry-run.

A path is removed when restores made it and nothing else needs it: no other version of the register, and no snapshot
link, which another program may have made, that leads to it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from cas.config import CacheDirs
from cas.local.hf_cache import RepoCache
from cas.local.made_files import Components, MadeFiles
from cas.local.register_entry import Entry, EntryRepo, home_text


@dataclass(frozen=True, slots=True)
class RepoPlan:
    """What is removed below one repo's directory, for one commit. Paths are components below that directory.

    Attributes:
        cache: the repo.
        commit: the commit of the version.
        links: paths of the snapshot.
        blobs: its files.
        rest: paths of the snapshot that stay, as they stand in a tree listing; without any, the refs to the commit and
            its tree listing go, too.
        instead: what a ref that names the commit is to name: by ref, the commit of another version.
        freed: bytes of the files among them.
    """

    cache: RepoCache
    commit: str
    links: tuple[Components, ...]
    blobs: tuple[Components, ...]
    rest: frozenset[str]
    instead: dict[str, str]
    freed: int


@dataclass(frozen=True, slots=True)
class VersionPlan:
    """What is removed of one version.

    Attributes:
        entry: the version.
        repos: for each of its repos.
        plain_files: paths of plain files below HF_HOME, as components.
        freed: bytes of all files.
        files: how many files.
    """

    entry: Entry
    repos: tuple[RepoPlan, ...]
    plain_files: tuple[Components, ...]
    freed: int
    files: int


def plan_removal(
    entry: Entry, others: Sequence[Entry], dirs: CacheDirs, before: Sequence[VersionPlan] = ()
) -> VersionPlan:
    """Plan the removal of a version.

    Args:
        entry: the version.
        others: the versions that stay, the one used most recently first.
        dirs: the cache.
        before: removals that were planned and, in a dry run, not executed.
    """
    gone = {(repo.cache.root, path) for plan in before for repo in plan.repos for path in repo.links}
    repos = tuple(_plan_repo(entry.repos, at, others, dirs.hub, gone) for at in range(len(entry.repos)))
    plain: tuple[Components, ...] = ()
    if entry.files and entry.home == home_text(dirs):
        needed = {path for other in others if other.home == entry.home for path in other.files}
        made = MadeFiles(dirs.home)
        paths = (tuple(path.split("/")) for path in sorted(entry.files.keys() - needed))
        plain = tuple(components for components in paths if made.has(components))
    sizes = [_size(dirs.home, components) for components in plain]
    return VersionPlan(
        entry,
        repos,
        plain,
        sum(repo.freed for repo in repos) + sum(sizes),
        sum(len(repo.blobs) for repo in repos) + len(plain),
    )


def _plan_repo(
    repos: Sequence[EntryRepo], at: int, others: Sequence[Entry], hub: Path, gone: Set[tuple[Path, Components]]
) -> RepoPlan:
    """Plan what is removed of `repos[at]`; blobs, which its other commits may share, go with the last of these."""
    repo = repos[at]
    cache = repo.cache(hub)
    made = MadeFiles(cache.root)
    commits = [one for one in repos if _id(one) == _id(repo)]
    same = [other for entry in others for other in entry.repos if _id(other) == _id(repo)]
    links = {one.commit: _removable_links(one, same, cache, made) for one in commits}
    own_links = {path for paths in links.values() for path in paths}
    targets, rest = _other_links(cache, repo.commit, own_links | {path for root, path in gone if root == cache.root})
    blobs: list[Components] = []
    if repo is commits[-1]:
        own = {blob for one in commits for blob, _ in one.files.values()}
        needed = {blob for other in same for blob, _ in other.files.values()}
        paths = (cache.blob_components(blob) for blob in sorted(own - needed - targets))
        blobs = [components for components in paths if made.has(components)]
    files = [path for path in links[repo.commit] if not os.path.islink(cache.root.joinpath(*path))]
    return RepoPlan(
        cache,
        repo.commit,
        tuple(sorted(links[repo.commit])),
        tuple(blobs),
        rest,
        {ref: other.commit for other in reversed(same) for ref in other.refs if _has_snapshot(cache, other.commit)},
        sum(_size(cache.root, components) for components in (*blobs, *files)),
    )


def _removable_links(repo: EntryRepo, same: Sequence[EntryRepo], cache: RepoCache, made: MadeFiles) -> set[Components]:
    """Return the snapshot paths of a version that restores made, and that no version of the same repo needs."""
    needed = {path for other in same if other.commit == repo.commit for path in other.files}
    paths = (cache.snapshot_components(repo.commit, path) for path in repo.files.keys() - needed)
    return {components for components in paths if made.has(components)}


def _id(repo: EntryRepo) -> tuple[str, str]:
    return repo.repo_type, repo.repo_id


def _has_snapshot(cache: RepoCache, commit: str) -> bool:
    return os.path.isdir(cache.root / "snapshots" / commit)


def _other_links(cache: RepoCache, commit: str, removed: Set[Components]) -> tuple[set[str], frozenset[str]]:
    """Return the blobs that snapshot links lead to, and the paths in one commit's snapshot, but for removed links.

    Args:
        cache: the repo.
        commit: the commit.
        removed: the snapshot paths, as components below the repo, that do not count.
    """
    blobs: set[str] = set()
    rest: set[str] = set()
    for components, path in _entries_below(cache.root, ("snapshots",)):
        if components not in removed:
            if os.path.islink(path):
                blobs.add(os.path.basename(os.readlink(path)))
            if components[1] == commit:
                rest.add("/".join(components[2:]))
    return blobs, frozenset(rest)


def _entries_below(root: Path, components: Components) -> Iterator[tuple[Components, str]]:
    """Yield everything but directories below a directory, whose symlinks are not followed, with its path."""
    pending = [components]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root.joinpath(*folder)) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((*folder, entry.name))
                    else:
                        yield (*folder, entry.name), entry.path
        except OSError:
            continue


def _size(root: Path, components: Iterable[str]) -> int:
    """Return the bytes that removing a file frees: none if it has another name, or is no regular file."""
    try:
        stats = os.lstat(root.joinpath(*components))
    except OSError:
        return 0
    return stats.st_size if stat.S_ISREG(stats.st_mode) and stats.st_nlink == 1 else 0
