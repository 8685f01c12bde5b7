"""The workspace of an import: the folder in which a cache is rebuilt, marked as ours, with a record of what is done.

Below `.cas-import/` in it lie the URL of the source (`source`), a line for each verified file (`done`), a lock, and
part files (`<number>.part`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from cas.bucket import Entry
from cas.config import CacheDirs
from cas.errors import CacheError, InputError
from cas.local.directory import Directory
from cas.local.fs import disk_errors, read_bounded, write_all
from cas.local.hf_cache import RepoCache, is_blob, tree_document, tree_entries
from cas.local.locks import Lock

_PRIVATE = ".cas-import"
_SOURCE, _DONE, _LOCK = "source", "done", "lock"
_PART_SUFFIX = ".part"
_MAX_SOURCE, _MAX_DONE = 64 * 1024, 64 * 1024 * 1024  # bytes of the largest such files that are read


class SnapshotLink(NamedTuple):
    """A file of a snapshot.

    Attributes:
        path: relative to the repo.
        blob: the name of the blob that the file's symlink points to.
    """

    path: str
    blob: str


class FetchedObject(NamedTuple):
    """An object as it was when it was fetched.

    Attributes:
        key: relative to the source.
        size: in bytes.
        tag: changes whenever the object is written; empty if the server gives none.
    """

    key: str
    size: int
    tag: str


class Workspace:
    """The folder of an import.

    Attributes:
        root: the folder.
        dirs: the hub cache and the HF_HOME in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dirs = CacheDirs(root / "hub", root)
        self._private = root / _PRIVATE

    @contextlib.contextmanager
    def claimed(self, source: str) -> Iterator[None]:
        """Make the folder if it is missing, and lock it for the import of `source` (a URL) during a `with` block.

        Raises:
            InputError: the folder holds other things, or the import of another source.
            CacheError: the folder cannot be used, or another import is at work in it.
        """
        with disk_errors(self.root):
            is_foreign = self.root.exists() and any(self.root.iterdir()) and not self._private.is_dir()
        if is_foreign:
            raise InputError(
                f"{self.root} is not empty: name a new folder as --cache-dir, which the import keeps for itself"
            )
        with Directory.open(self.root, (_PRIVATE,)) as private:
            lock = Lock(self._private / _LOCK)
            if lock.try_acquire() is False:
                raise CacheError(
                    f"another import is at work in {self.root}: wait for it, or choose another --cache-dir"
                )
            try:
                mark = self._private / _SOURCE
                claimed_by = source
                with contextlib.suppress(FileNotFoundError), _reading_errors(mark):
                    claimed_by = read_bounded(mark, _MAX_SOURCE).decode(errors="surrogateescape")
                if claimed_by != source:
                    shown = claimed_by if claimed_by.isprintable() else ascii(claimed_by[:100])
                    raise InputError(
                        f"{self.root} belongs to the import of {shown}: choose another --cache-dir for {source}"
                    )
                private.write(_SOURCE, source.encode(errors="surrogateescape"), private)
                for name in private.names():
                    if name.endswith(_PART_SUFFIX):
                        private.remove(name)
                yield
            finally:
                lock.release()

    def part_file(self, number: int) -> Path:
        """Return the path at which a file is filled. number: tells the files of one import apart."""
        return self._private / f"{number}{_PART_SUFFIX}"

    def blob_path(self, folder: str, name: str) -> Path:
        """Return the path of the blob `name` of the repo whose folder in the hub cache is `folder`."""
        return self.dirs.hub.joinpath(folder, *RepoCache.blob_components(name))

    def record(self, entry: Entry, name: str) -> None:
        """Record that an object has been fetched and verified, and that its content is called `name`."""
        line = json.dumps([entry.key, entry.size, entry.tag, name]) + "\n"
        with (
            Directory.open(self.root, (_PRIVATE,)) as private,
            private.file(_DONE, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as fd,
        ):
            write_all(fd, line.encode())

    def recorded(self) -> dict[FetchedObject, str]:
        """Return the name of each recorded object's content. A line that a kill left half-written does not count."""
        names = {}
        path = self._private / _DONE
        with contextlib.suppress(FileNotFoundError), _reading_errors(path):
            for line in read_bounded(path, _MAX_DONE).splitlines():
                with contextlib.suppress(ValueError, TypeError, RecursionError):
                    key, size, tag, name = json.loads(line)
                    if is_blob(name):
                        names[FetchedObject(key, size, tag)] = name
        return names

    def write_snapshot(self, repo: RepoCache, commit: str, revision: str, links: Iterable[SnapshotLink]) -> None:
        """Write a repo's snapshot, tree listing and ref as huggingface_hub would, instead of those of earlier imports.

        Args:
            repo: the repo's folder in the workspace, whose blobs are there.
            commit: 40 hex digits.
            revision: the ref to write; the commit itself for none.
            links: the files of the snapshot.
        """
        for name in ("snapshots", "refs", "trees"):
            with disk_errors(repo.root / name), contextlib.suppress(FileNotFoundError):
                shutil.rmtree(repo.root / name)
        entries = {}
        with Directory.open(self._private) as scratch:
            for path, blob in links:
                entries[path] = (repo.root.joinpath(*repo.blob_components(blob)).stat().st_size, blob)
                *folders, name = repo.snapshot_components(commit, path)
                with Directory.open(repo.root, folders) as directory:
                    directory.symlink(repo.link_to_blob(path, blob), name, scratch)
            documents = {repo.tree_components(commit): tree_document(tree_entries(entries))}
            if revision != commit:
                documents[repo.ref_components(revision)] = commit.encode()
            for (*folders, name), data in documents.items():
                with Directory.open(repo.root, folders) as directory:
                    directory.write(name, data, scratch)

    def remove_other_plain_files(self, paths: Iterable[str]) -> None:
        """Remove the plain files of earlier imports, other than those at `paths` (below HF_HOME)."""
        wanted = {str(self.root / path) for path in paths}
        for folder, _, names in os.walk(self.root / "torch"):
            for name in names:
                if (path := os.path.join(folder, name)) not in wanted:
                    os.unlink(path)


@contextlib.contextmanager
def _reading_errors(path: Path) -> Iterator[None]:
    with disk_errors(path, lambda words: f"{path} cannot be read ({words}): remove it, or choose another --cache-dir"):
        yield
