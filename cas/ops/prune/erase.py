"""Remove what a plan says of one version, in the reverse order of a restore: refs, listings, links, and last the files.

So whoever follows a ref finds all that it names until the ref is gone. Every directory is opened without following
symlinks. The caller holds the version alone, and the lock of every directory that is written to.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from cas.errors import CacheError
from cas.local.directory import Directory
from cas.local.fs import read_bounded
from cas.local.hf_cache import PRIVATE, RepoCache, tree_document
from cas.local.made_files import MADE_NAME, Components, MadeFiles
from cas.local.small_files import MAX_REF
from cas.local.targets import PART_DIRECTORY
from cas.local.verified import CHUNKS_NAME, STAMPS_NAME, VerifiedFiles
from cas.ops.prune.plan import RepoPlan

_STALE_AFTER = 24 * 3600  # seconds after which a part file belongs to nobody, as for a restore

# Directories of a repo, and files of ours in it, that go with its last version if nothing else is in them.
_FOLDERS = ("refs", "trees", "blobs", "snapshots")  # hub clients take a repo without snapshots for a broken one
_OURS = (STAMPS_NAME, CHUNKS_NAME, MADE_NAME)


def erase_repo(plan: RepoPlan, *, is_last: bool) -> None:
    """Remove what a plan says of one repo.

    Args:
        plan: what to remove.
        is_last: whether no other version of the register has this repo: then its part files belong to nobody.

    Raises:
        CacheError: the cache cannot be written, or a symlink is where a directory belongs.
    """
    cache = plan.cache
    if not os.path.isdir(cache.root):
        return
    # First, as the next steps change the directory by whose time it is told what a killed restore made.
    MadeFiles(cache.root).forget(())
    if not plan.rest:
        _move_refs(cache, plan.commit, plan.instead)
    _shorten_tree(plan)
    for components in plan.links:
        _remove(cache.root, components)
    for components in plan.blobs:
        _remove(cache.root, components)
    _remove_part_files(cache.root, every=is_last)
    # This changes the record's time: a restore that waits for our lock sees by it that it must plan again.
    VerifiedFiles(cache.root).update({}, {})
    MadeFiles(cache.root).forget((*plan.links, *plan.blobs))
    if is_last:
        _remove_empty(cache)


def erase_plain_files(home: Path, paths: tuple[Components, ...]) -> None:
    """Remove plain files.

    Args:
        home: HF_HOME.
        paths: the files, as components below it.

    Raises:
        CacheError: the directory cannot be written, or a symlink is where a directory belongs.
    """
    MadeFiles(home).forget(())
    for components in paths:
        _remove(home, components)
    VerifiedFiles(home).update({}, {})
    MadeFiles(home).forget(paths)


def _move_refs(cache: RepoCache, commit: str, instead: dict[str, str]) -> None:
    """Let refs that name a commit name another one, or remove them: hub clients refuse a ref to nothing."""
    folder = cache.root / "refs"
    for path in sorted(folder.rglob("*")):
        try:
            named = read_bounded(path, MAX_REF).decode(errors="replace").strip()
        except OSError:
            continue  # a directory
        if named != commit:
            continue
        components = path.relative_to(cache.root).parts
        if other := instead.get("/".join(components[1:])):
            with (
                Directory.open(cache.root, components[:-1], create=False) as parent,
                Directory.open(cache.root, PART_DIRECTORY) as scratch,
            ):
                parent.write(path.name, other.encode(), scratch)
        else:
            _remove(cache.root, components)


def _shorten_tree(plan: RepoPlan) -> None:
    """Take what is removed out of the commit's tree listing; without anything left, remove the listing."""
    *parents, name = plan.cache.tree_components(plan.commit)
    listed = plan.cache.tree_listing(plan.commit)
    left = {path: entry for path, entry in listed.items() if path in plan.rest}
    if not left:
        _remove(plan.cache.root, (*parents, name))
    elif left != listed:
        with (
            Directory.open(plan.cache.root, parents, create=False) as parent,
            Directory.open(plan.cache.root, PART_DIRECTORY) as scratch,
        ):
            parent.write(name, tree_document(left), scratch)


def _remove(root: Path, components: Components) -> None:
    """Remove a file or link, and the directories that this leaves empty, but for the topmost one."""
    *parents, name = components
    with contextlib.suppress(FileNotFoundError):
        with Directory.open(root, parents, create=False) as parent:
            parent.remove(name)
        while len(parents) > 1:
            name = parents.pop()
            with Directory.open(root, parents, create=False) as parent:
                if not parent.remove_directory(name):
                    return


def _remove_part_files(root: Path, *, every: bool) -> None:
    with contextlib.suppress(FileNotFoundError), Directory.open(root, PART_DIRECTORY, create=False) as directory:
        for name in directory.names():
            stats = directory.stat(name)
            if stats and (every or time.time() - stats.st_mtime > _STALE_AFTER):
                directory.remove(name)


def _remove_empty(cache: RepoCache) -> None:
    """Remove a repo's directory if nothing but ours is in it."""
    with Directory.open(cache.root) as root:
        if not {PRIVATE, *_FOLDERS}.issuperset(root.names()) or not all(map(root.remove_directory, _FOLDERS)):
            return
        with Directory.open(cache.root, (PRIVATE,), create=False) as private:
            for name in private.names():
                if name in _OURS or name.endswith(".tmp"):
                    private.remove(name)
            private.remove_directory(PART_DIRECTORY[-1])
        root.remove_directory(PRIVATE)
    with contextlib.suppress(CacheError, FileNotFoundError), Directory.open(cache.hub, create=False) as hub:
        hub.remove_directory(cache.name)
