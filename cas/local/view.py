"""A view: a hub cache of one version alone, in which `main` names this version whatever else is restored beside it.

    <hub>/.locks/.cas/<version>/view/hub/models--org--name/blobs         -> the repo's blobs in the hub cache
                                                           snapshots/<commit>/…   links to those blobs
                                                           refs/…                 files: the version's own
                                                           trees/<commit>.json    a file: what the version consists of
                                         models--other, .locks           -> the same in the hub cache
                                view/torch/…                             hard links to the version's plain files

A view takes no space but for its links. What the version does not have itself (other repos, other commits and refs of
its repos) is linked to as it is in the hub cache, so a program finds all that it found there. It is made in a
directory of another name and renamed, so it is there as a whole or not at all; one that differs from what it should be
is mended entry by entry, each by a rename. What other programs put into a view stays.

A file system without symlinks has no views: commands use the hub cache itself there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Set
from pathlib import Path
from typing import NamedTuple

from cas.config import VIEW, CacheDirs
from cas.errors import NO_PERMISSION, CacheError, DiskFull
from cas.formats.paths import PLAIN_FILE_FOLDER
from cas.local.directory import Directory, LinksUnsupported
from cas.local.hf_cache import tree_document, tree_entries
from cas.local.register import Register
from cas.local.register_entry import Entry, EntryRepo

_FOLDER, _HUB = VIEW
_STEPS_UP = len((*Register.components("m@blake3:" + "0" * 64), *VIEW))  # from view/hub to the hub cache

Components = tuple[str, ...]


class NoView(Exception):
    """A view cannot be made here; the text says why."""


class Link(NamedTuple):
    """A symlink.

    Attributes:
        text: what it says.
        own: whether it is to something of the version: then another program's file of its name is replaced.
    """

    text: str
    own: bool = True


class HardLink(NamedTuple):
    """A hard link to a plain file; a symlink where that is on another file system.

    Attributes:
        home: HF_HOME.
        components: the file's path below it.
    """

    home: Path
    components: Components


class _Shared(NamedTuple):
    """A directory of the cache, and how links to its entries begin."""

    folder: Path
    text: str


Entries = dict[str, Link | HardLink | bytes]
"""What belongs into one directory of a view, by name, but for directories; bytes are the content of a file."""

Directories = dict[Components, Entries]
"""The directories of a view, as components below `view`, each behind those that it lies in."""


class View:
    """The view of one version in a hub cache."""

    def __init__(self, dirs: CacheDirs, entry: Entry) -> None:
        """Name the view; nothing is read or made.

        Args:
            dirs: the cache.
            entry: what the register has of the version.
        """
        self._dirs, self._entry = dirs, entry
        self._folder = Register.components(entry.reference)

    @property
    def hub(self) -> Path:
        """The view's hub cache: what HF_HUB_CACHE is to name."""
        return self._dirs.hub.joinpath(*self._folder, *VIEW)

    @property
    def torch(self) -> Path | None:
        """What TORCH_HOME is to name; None for a version without plain files."""
        return self.hub.parent / PLAIN_FILE_FOLDER if self._entry.files else None

    def prepare(self) -> None:
        """Make the view, or mend it where it differs; nothing is written where it is as it should be.

        Raises:
            NoView: the file system has no symlinks, is full, or cannot be written.
            CacheError: something is in the way: a symlink or a file where a directory belongs.
        """
        try:
            wanted = self._wanted()
            with Directory.open(self._dirs.hub, self._folder) as folder:
                if folder.stat(_FOLDER) is None:
                    self._make(folder, wanted)
                self._fill(folder, _FOLDER, wanted)
        except (LinksUnsupported, DiskFull) as error:
            raise NoView(str(error)) from error
        except CacheError as error:
            if isinstance(cause := error.__cause__, OSError) and cause.errno in NO_PERMISSION:
                raise NoView(str(error)) from error
            raise

    def remove(self) -> bool:
        """Remove what we put into the view; return whether nothing is left of it.

        Raises:
            CacheError: the cache cannot be written.
        """
        own = {(*components, name) for components, entries in self._own().items() for name in entries}
        try:
            with Directory.open(self._dirs.hub, self._folder, create=False) as folder:
                if folder.stat(_FOLDER) is not None:
                    self._clear((), own)
                return folder.remove_directory(_FOLDER)
        except FileNotFoundError:
            return True

    def _make(self, folder: Directory, wanted: Directories) -> None:
        temporary = f"{os.urandom(8).hex()}.tmp"
        try:
            self._fill(folder, temporary, wanted)
            try:
                folder.rename(temporary, folder, _FOLDER)
            except CacheError:
                if folder.stat(_FOLDER) is None:  # otherwise another process has made it meanwhile
                    raise
        finally:
            folder.remove_tree(temporary)

    def _fill(self, scratch: Directory, top: str, wanted: Directories) -> None:
        for components, entries in wanted.items():
            shared = self._shared(components)
            with self._open(top, *components) as directory:
                if shared:
                    for name in directory.names():
                        if name not in entries and directory.readlink(name) == f"{shared.text}/{name}":
                            directory.remove(name)  # what it led to is gone, or is the version's own now
                for name, entry in entries.items():
                    _put(directory, name, entry, scratch)

    def _open(self, *components: str) -> Directory:
        """Open a directory below the version's; making what is there already would double the calls of a warm start."""
        path = (*self._folder, *components)
        try:
            return Directory.open(self._dirs.hub, path, create=False)
        except FileNotFoundError:
            return Directory.open(self._dirs.hub, path)

    def _clear(self, components: Components, own: Set[Components]) -> None:
        with Directory.open(self._dirs.hub, (*self._folder, _FOLDER, *components), create=False) as directory:
            for name in directory.names():
                path = (*components, name)
                if (stats := directory.stat(name)) and stat.S_ISDIR(stats.st_mode):
                    self._clear(path, own)
                    directory.remove_directory(name)
                elif path in own or _leads_out(directory.readlink(name), len(components)):
                    directory.remove(name)

    def _wanted(self) -> Directories:
        """Return the version's own entries, and links to what else the cache has beside them."""
        wanted = self._own()
        for components, entries in wanted.items():
            if shared := self._shared(components):
                for name in _names(shared.folder):
                    if (*components, name) not in wanted:
                        entries.setdefault(name, Link(f"{shared.text}/{name}", own=False))
        return wanted

    def _shared(self, components: Components) -> _Shared | None:
        """Return the directory of the cache whose other entries a directory of the view shows; None for none.

        Repos, commits and refs of other versions are shown. Other files of the version's commit are not, as a client
        may prefer them to the version's.
        """
        top, *below = components
        if top == PLAIN_FILE_FOLDER:
            folder = self._dirs.home.joinpath(*components)
            return _Shared(folder, str(folder))
        if not below or below[1:] == ["snapshots"] or below[1:2] in (["refs"], ["trees"]):
            return _Shared(self._dirs.hub.joinpath(*below), "/".join((*[".."] * (_STEPS_UP + len(below)), *below)))
        return None

    def _own(self) -> Directories:
        wanted: Directories = {(_HUB,): {}}
        for repo in self._entry.repos:
            self._add_repo(wanted, repo)
        for path in self._entry.files:
            components = tuple(path.split("/"))
            _directory(wanted, components[:-1])[components[-1]] = HardLink(self._dirs.home, components)
        return wanted

    def _add_repo(self, wanted: Directories, repo: EntryRepo) -> None:
        cache = repo.cache(self._dirs.hub)
        top = (_HUB, cache.name)
        up = "/".join((*[".."] * (_STEPS_UP + 1), cache.name))
        _directory(wanted, top)["blobs"] = Link(f"{up}/blobs")
        blobs = frozenset(_names(cache.root / "blobs"))
        for path, (blob, _) in repo.files.items():
            *parents, name = components = cache.snapshot_components(repo.commit, path)
            text = cache.link_to_blob(path, blob)
            if blob not in blobs:
                # A cache that was copied without its symlinks has the file at its snapshot path, and no blob.
                text = "/".join((*[".."] * (len(components) - 1), up, *components))
            _directory(wanted, (*top, *parents))[name] = Link(text)
        for ref in repo.refs:
            *parents, name = cache.ref_components(ref)
            _directory(wanted, (*top, *parents))[name] = repo.commit.encode()
        *parents, name = cache.tree_components(repo.commit)
        files = {path: (size, blob) for path, (blob, size) in repo.files.items()}
        _directory(wanted, (*top, *parents))[name] = tree_document(tree_entries(files))


def _directory(wanted: Directories, components: Components) -> Entries:
    """Return the entries of a directory, which is added, behind those that it lies in, if it is not there."""
    for depth in range(1, len(components)):
        wanted.setdefault(components[:depth], {})
    return wanted.setdefault(components, {})


def _put(directory: Directory, name: str, entry: Link | HardLink | bytes, scratch: Directory) -> None:
    """Make an entry, unless it is there."""
    if isinstance(entry, bytes):
        if directory.read(name, len(entry)) != entry:
            directory.write(name, entry, scratch, durable=False)
    elif isinstance(entry, Link):
        found = directory.readlink(name)
        if found != entry.text and (entry.own or found is not None or directory.stat(name) is None):
            directory.symlink(entry.text, name, scratch)
    else:
        path = entry.home.joinpath(*entry.components)
        if _is_same(directory.stat(name), path) or directory.readlink(name) == str(path):
            return
        try:
            with Directory.open(entry.home, entry.components[:-1], create=False) as source:
                directory.hardlink(source, entry.components[-1], name, scratch)
        except LinksUnsupported:
            directory.symlink(str(path), name, scratch)


def _leads_out(text: str | None, depth: int) -> bool:
    """Return whether a symlink is one of ours to what the cache has: others' links lead to what is in the view.

    Args:
        text: what it says; None for no symlink.
        depth: how many directories below `view` it lies.
    """
    return text is not None and (text.startswith("/") or text.split("/")[: depth + 1] == [".."] * (depth + 1))


def _is_same(stats: os.stat_result | None, path: Path) -> bool:
    try:
        return stats is not None and os.path.samestat(stats, os.lstat(path))
    except OSError:
        return False


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
