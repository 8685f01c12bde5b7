"""The version that a reference named when it was first looked at, and its files by their paths."""

from __future__ import annotations

import difflib

from cas import refs
from cas.errors import InputError, NotFoundError
from cas.formats.version_tree import File, tree_of
from cas.refs.reference import Resolved
from cas.store.store import Store


class FileMissing(NotFoundError, FileNotFoundError):
    """A version has no such file, or a store no such version; for callers who look for Python's error, too."""


class IsFolder(InputError, IsADirectoryError):
    """A path names a folder of a version, where a file is needed."""


class Version:
    """The files of one version.

    Attributes:
        exact: the reference that names the version for ever.
        tree: the files by their paths in the version's tree.
    """

    def __init__(self, resolved: Resolved) -> None:
        self.exact = resolved.exact
        self.tree = tree_of(resolved.manifest)
        self.folders = {""} | {path[:at] for path in self.tree for at in range(len(path)) if path[at] == "/"}

    @classmethod
    def find(cls, store: Store, reference: str | Resolved) -> Version:
        """Return the version that a reference names now.

        Raises:
            InputError: this is no reference.
            NotFoundError: the store has no such version.
            IntegrityError: the manifest is damaged.
        """
        return cls(reference if isinstance(reference, Resolved) else refs.resolve(store, reference))

    def file(self, path: str) -> File:
        """Return the file at a path of the tree.

        Raises:
            FileMissing: there is none; the message names paths that are alike.
            IsFolder: the path names a folder.
        """
        if (found := self.tree.get(path)) is not None:
            return found
        within = [name for name, file in self.tree.items() if file.path == path]
        if len(within) == 1:
            return self.tree[within[0]]
        if path.rstrip("/") in self.folders:
            raise IsFolder(f"{path or '/'} is a folder of {self.exact}: name a file in it")
        if within:
            raise FileMissing(f"{path} is a file of several repos of {self.exact}: write {' or '.join(within)}")
        alike = difflib.get_close_matches(path, self.tree, 3, 0.5) or sorted(self.tree)[:3]
        advice = f"there is {', '.join(alike)}" if alike else "it has no files"
        raise FileMissing(f"{self.exact} has no file {path}: {advice} (`cas show` lists them)")
