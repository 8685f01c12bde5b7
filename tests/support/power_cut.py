"""A model of a disk whose power may fail: what of a directory store certainly survives, at each moment of some work.

The model hears of every fsync, link, rename and deletion in the store, and takes down two views of the disk after each:

    live      every name as it is now; a file that was never synced is empty
    synced    of each folder the names that it had when it was synced last, if its own name is synced

A file system may write out folders of itself, in any order. So after a power cut each folder is as it is live or as it
is synced, and the worst of both is what a check assumes.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cas.bucket.directory import durable
from cas.bucket.directory.bucket import DirectoryBucket
from cas.formats.digest import hex_of
from cas.formats.frame import Decoder
from cas.formats.manifest import parse
from cas.store import layout

Names = Mapping[str, bytes]
"""Key of an object -> its bytes."""


class Moment(NamedTuple):
    """The disk after a step of the work.

    Attributes:
        step: what was done, and to which path below the store.
        live: the objects that are there now.
        synced: the objects that no power cut can take away any more.
    """

    step: str
    live: Names
    synced: Names


class PowerCuts:
    """Takes down the moments of whatever this process writes into a store, from its making on.

    Attributes:
        moments: each with what would be on the disk after a power cut.
        on_step: called after each step, while no other is done.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hear of all that is done below `root`, the store, which need not exist; what exists is on the disk."""
        self._root = str(root)
        self._guard = threading.RLock()
        self._data: dict[tuple[int, int], bytes] = {}
        self._folders: dict[str, dict[str, tuple[int, int]]] = {}
        self.moments: list[Moment] = []
        self.on_step: Callable[[str], None] = lambda step: None
        for kind in ("link", "rename"):
            monkeypatch.setattr(os, kind, self._heard(kind, getattr(os, kind), lambda _, path: path))
        monkeypatch.setattr(durable, "_sync", self._heard("fsync", durable._sync, self._path_of))
        deleted = self._heard("delete", DirectoryBucket.delete, lambda bucket, key: os.path.join(bucket.url, key))
        monkeypatch.setattr(DirectoryBucket, "delete", deleted)
        if root.exists():
            for folder, _, files in os.walk(root):
                for name in files:
                    self._data[_identity(os.path.join(folder, name))] = Path(folder, name).read_bytes()
                self._folders[folder] = _names(folder)
            self._folders[os.path.dirname(self._root)] = _names(os.path.dirname(self._root))

    def check(self) -> None:
        """Fail if there was a moment after which a ref names, or a manifest needs, what a power cut takes away."""
        assert self.moments
        for moment in self.moments:
            both = {key: data for key, data in moment.live.items() if moment.synced.get(key) == data}
            for refs in (moment.live, moment.synced):
                for ref, version in named(refs).items():
                    assert whole(both, version), f"after {moment.step}: {ref} names what is lost"
            for key in moment.live | moment.synced:
                if (version := layout.version_id(key)) is not None:
                    assert whole({**both, key: (moment.live | moment.synced)[key]}, version), f"after {moment.step}"

    def kept(self) -> dict[str, str]:
        """Return the version (64 hex) that each ref names after a power cut now, whichever folders were written out."""
        live, synced = self._live(), self._synced()
        assert named(live) == named(synced), "a move that was acknowledged is not durable"
        both = {key: data for key, data in live.items() if synced.get(key) == data}
        for ref, version in named(both).items():
            assert whole(both, version), f"{ref} names what is lost"
        return {ref: version.digest for ref, version in named(both).items()}

    @staticmethod
    def named_at(moment: Moment, ref: str = "tags/m/latest") -> str:
        """Return the version (64 hex) that a ref names after a power cut at a moment."""
        return named(moment.synced)[ref].digest

    def _heard(self, kind: str, call: Callable[..., Any], path: Callable[..., str]) -> Callable[..., Any]:
        def heard(*args: Any, **kwargs: Any) -> Any:
            with self._guard:
                where = path(*args)
                result = call(*args, **kwargs)
                if not where.startswith(os.path.dirname(self._root)):
                    return result
                if kind == "fsync" and os.path.isdir(where):
                    self._folders[where] = _names(where)
                elif kind == "fsync":
                    self._data[_identity(where)] = Path(where).read_bytes()
                step = f"{kind} {os.path.relpath(where, self._root)}"
                self.moments.append(Moment(step, self._live(), self._synced()))
                self.on_step(step)
                return result

        return heard

    def _live(self) -> Names:
        found = (os.path.join(folder, name) for folder, _, names in os.walk(self._root) for name in names)
        return {self._key(path): self._data.get(_identity(path), b"") for path in found if "#" not in path}

    def _synced(self) -> Names:
        return dict(self._below(self._root)) if self._is_named(self._root) else {}

    def _below(self, folder: str) -> Iterator[tuple[str, bytes]]:
        for name, identity in self._folders.get(folder, {}).items():
            path = os.path.join(folder, name)
            if identity[1]:
                if "#" not in name:
                    yield self._key(path), self._data.get(identity, b"")
            else:
                yield from self._below(path)

    def _is_named(self, folder: str) -> bool:
        return os.path.basename(folder) in self._folders.get(os.path.dirname(folder), {})

    def _key(self, path: str) -> str:
        return os.path.relpath(path, self._root)

    @staticmethod
    def _path_of(descriptor: int, _: object) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")


def named(objects: Names) -> dict[str, layout.VersionId]:
    """Return the version that each ref names in a store of these objects; an entry of no bytes names an absent one."""
    last: dict[str, bytes] = {}
    for key in sorted(objects):
        if layout.ref_entry(key):
            last[os.path.dirname(key).removeprefix("refs/")] = objects[key]
    found = {}
    for ref, data in last.items():
        digest = json.loads(data)["manifest"] if data else f"blake3:{0:064}"
        if digest is not None:
            kind, first, second = ref.split("/")
            found[ref] = layout.VersionId(first if kind == "tags" else second, digest.removeprefix("blake3:"))
    return found


def whole(objects: Names, version: layout.VersionId) -> bool:
    """Whether a store of these objects has a version's manifest and all chunks, unharmed."""
    data = objects.get(layout.manifest_key(*version), b"")
    if hex_of(data) != version.digest:
        return False
    decoder = Decoder()
    chunks = parse(data).chunks()
    frames = {digest: objects.get(layout.chunk_key(digest), b"") for digest in chunks}
    return all(frame and hex_of(decoder.decode(frame, chunks[digest])) == digest for digest, frame in frames.items())


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_ino, 0 if os.path.isdir(path) else status.st_mtime_ns


def _names(folder: str) -> dict[str, tuple[int, int]]:
    return {name: _identity(os.path.join(folder, name)) for name in os.listdir(folder)}
