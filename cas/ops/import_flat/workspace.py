"""The folder in which a cache is rebuilt: marked as ours, and with a record of what has been fetched and verified."""

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
from cas.local.fs import disk_errors
from cas.local.hf_cache import RepoCache, tree_document, tree_entries
from cas.local.locks import Lock

_PRIVATE = ".cas-import"
_SOURCE, _DONE, _LOCK = "source", "done", "lock"


class Link(NamedTuple):
    """A file of a snapshot: its path, and the blob it is to lead to."""

    path: str
    blob: str


class State(NamedTuple):
    """An object as it was when it was fetched."""

    key: str
    size: int
    tag: str


class Place:
    """A work folder. dirs: where its hub cache and its HF_HOME are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dirs = CacheDirs(root / "hub", root)
        self._private = root / _PRIVATE

    @contextlib.contextmanager
    def opened(self, source: str) -> Iterator[None]:
        """Holds the folder for the import of `source`, and makes it.

        Raises InputError when it is somebody else's, CacheError when it cannot be used or another import is at work.
        """
        with disk_errors(self.root):
            strange = self.root.exists() and any(self.root.iterdir()) and not self._private.is_dir()
        if strange:
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
                if mark.exists() and mark.read_text() != source:
                    raise InputError(
                        f"{self.root} belongs to the import of {mark.read_text()}: "
                        f"choose another --cache-dir for {source}"
                    )
                private.write(_SOURCE, source.encode(), private)
                for name in private.names():
                    if name.endswith(".part"):
                        private.remove(name)
                yield
            finally:
                lock.release()

    def part(self, number: int) -> Path:
        """Where the file of that number is until it is whole."""
        return self._private / f"{number}.part"

    def blob(self, folder: str, name: str) -> Path:
        """Where a blob of the repo with that folder lies."""
        return self.dirs.hub.joinpath(folder, *RepoCache.blob_components(name))

    def record(self, entry: Entry, name: str) -> None:
        """Notes that an object has been fetched, and is called `name` by its content."""
        line = json.dumps([entry.key, entry.size, entry.tag, name]) + "\n"
        path = self._private / _DONE
        with disk_errors(path), path.open("a") as file:
            file.write(line)

    def recorded(self) -> dict[State, str]:
        """What has been noted; lines that a kill left half-written do not count."""
        found = {}
        with contextlib.suppress(FileNotFoundError), open(self._private / _DONE) as file:
            for line in file:
                with contextlib.suppress(ValueError):
                    key, size, tag, name = json.loads(line)
                    found[State(key, size, tag)] = name
        return found

    def lay_out(self, repo: RepoCache, commit: str, revision: str, links: Iterable[Link]) -> None:
        """Makes the repo's snapshot, listing and ref as huggingface_hub would, and removes those of earlier imports."""
        for part in ("snapshots", "refs", "trees"):
            with disk_errors(repo.root / part), contextlib.suppress(FileNotFoundError):
                shutil.rmtree(repo.root / part)
        entries = {}
        with Directory.open(self._private) as scratch:
            for path, blob in links:
                entries[path] = (repo.root.joinpath(*repo.blob_components(blob)).stat().st_size, blob)
                *folders, name = repo.snapshot_components(commit, path)
                with Directory.open(repo.root, folders) as folder:
                    folder.symlink(repo.link_to_blob(path, blob), name, scratch)
            documents = {repo.tree_components(commit): tree_document(tree_entries(entries))}
            if revision != commit:
                documents[repo.ref_components(revision)] = commit.encode()
            for (*folders, name), data in documents.items():
                with Directory.open(repo.root, folders) as folder:
                    folder.write(name, data, scratch)

    def keep_plain(self, paths: Iterable[str]) -> None:
        """Removes what an earlier import left in folders of HF_HOME other than `paths`."""
        wanted = {str(self.root / path) for path in paths}
        for folder, _, names in os.walk(self.root / "torch"):
            for name in names:
                if (path := os.path.join(folder, name)) not in wanted:
                    os.unlink(path)
