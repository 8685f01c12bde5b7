"""The layout of Hugging Face's cache on disk: where its blobs, snapshots, refs, tree listings and locks lie.

    <hub>/models--<org>--<name>/blobs/<etag>                  content; the etag is a sha256 or a git sha1
                                snapshots/<commit>/<path>     symlinks to ../../blobs/<etag>
                                refs/<branch>                 a commit, without a newline
                                trees/<commit>.json           what the commit consists of (hub >= 1.33)
                                .cas/…                        ours: part files and the record of verified files
    <hub>/.locks/models--<org>--<name>/<etag>.lock

Sources: huggingface_hub 0.36, 1.33 and 2.4 (file_download.py, _snapshot_download.py, _tree_cache.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cas.errors import CacheError, NotFoundError
from cas.formats.digest import Buffer
from cas.local.fs import is_file, read_bounded
from cas.local.small_files import MAX_REF, MAX_TREE, MAX_TREE_DEPTH, is_shallow

PRIVATE = ".cas"
"""Our directory inside a repo's: it is removed together with the repo, and huggingface_hub's scan ignores it."""

_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TREE_VERSION = 1


class SnapshotFile(NamedTuple):
    """A file as it was when its folder was listed.

    Attributes:
        path: relative to the listed folder, with slashes.
        real: where its bytes lie, after every symlink.
        blob: its etag; None when the cache does not tell, and outside a hub cache.
        size: in bytes.
        mtime_ns: time of its last modification, in nanoseconds.
    """

    path: str
    real: Path
    blob: str | None
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class RepoCache:
    """One repo's directory in a hub cache.

    Attributes:
        hub: the cache (HF_HUB_CACHE).
        repo_type: `model`, `dataset` or `space`.
        repo_id: as on the hub, such as `SWivid/F5-TTS`.
    """

    hub: Path
    repo_type: str
    repo_id: str

    @property
    def name(self) -> str:
        """The name of the repo's directory, such as `models--SWivid--F5-TTS`."""
        return f"{self.repo_type}s--{self.repo_id.replace('/', '--')}"

    @property
    def root(self) -> Path:
        """The path of the repo's directory."""
        return self.hub / self.name

    @staticmethod
    def blob_components(blob: str) -> tuple[str, ...]:
        """Return the path of a blob below the repo's directory, as components."""
        return ("blobs", blob)

    @staticmethod
    def snapshot_components(commit: str, path: str) -> tuple[str, ...]:
        """Return the path of a snapshot's file below the repo's directory, as components."""
        return ("snapshots", commit, *path.split("/"))

    @staticmethod
    def ref_components(ref: str) -> tuple[str, ...]:
        """Return the path of a ref below the repo's directory, as components."""
        return ("refs", *ref.split("/"))

    @staticmethod
    def tree_components(commit: str) -> tuple[str, ...]:
        """Return the path of a commit's tree listing below the repo's directory, as components."""
        return ("trees", f"{commit}.json")

    @staticmethod
    def link_to_blob(path: str, blob: str) -> str:
        """Return the text of the symlink at a snapshot's `path`: relative, so that the cache can be moved."""
        return "/".join([".."] * (path.count("/") + 2) + ["blobs", blob])

    def blob_lock(self, blob: str) -> Path:
        """Return the path of the file that huggingface_hub locks while it downloads this blob."""
        return self.hub / ".locks" / self.name / f"{blob}.lock"

    def restore_lock(self) -> Path:
        """Return the path of the file that a restore locks while it works on this repo."""
        return self.hub / ".locks" / self.name / "cas.lock"

    def commit_of(self, revision: str) -> str:
        """Return the commit (40 hex) that `revision`, a ref or a commit, names in this cache.

        Raises:
            NotFoundError: the cache has no such ref.
            CacheError: the ref's file cannot be read, or holds something else than a commit.
        """
        if is_commit(revision):
            return revision
        ref = self.root.joinpath(*self.ref_components(revision))
        try:
            commit = read_bounded(ref, MAX_REF).decode(errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(
                f"{self.repo_id}@{revision} is not in the hub cache {self.hub}: "
                "download it first, or leave out --no-download"
            ) from None
        except OSError as error:
            raise CacheError(
                f"{ref} cannot be read ({error.strerror}): remove it, and download the repo again"
            ) from error
        if not is_commit(commit):
            raise CacheError(f"{ref} holds {commit!r:.60}, not a commit: download the repo again")
        return commit

    def snapshot_files(self, commit: str) -> list[SnapshotFile]:
        """Return the files of a snapshot, ordered by path.

        Raises:
            NotFoundError: the cache has no snapshot of this commit.
            CacheError: a symlink in it dangles.
        """
        folder = self.root / "snapshots" / commit
        if not folder.is_dir():
            raise NotFoundError(f"{self.repo_id}@{commit[:12]} is not in the hub cache {self.hub}: download it first")
        etags = etags_of(self.tree_listing(commit))
        return [
            file._replace(blob=self._etag(folder / file.path) or etags.get(file.path)) for file in files_below(folder)
        ]

    def unfinished_blobs(self) -> list[str]:
        """Return the etags of blobs whose download has begun and not ended."""
        folder = self.root / "blobs"
        names = os.listdir(folder) if folder.is_dir() else []
        return sorted({name.split(".")[0] for name in names if name.endswith(".incomplete")})

    def tree_listing(self, commit: str) -> dict[str, object]:
        """Return the entries of the commit's tree listing by path; empty when it is absent or cannot be read."""
        try:
            return tree_files(read_bounded(self.root.joinpath(*self.tree_components(commit)), MAX_TREE))
        except OSError:
            return {}

    @staticmethod
    def _etag(path: Path) -> str | None:
        """Return the etag in a snapshot's symlink: its first hop, as a blob may itself link to a shared blob."""
        name = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
        return name if _BLOB.fullmatch(name) else None


def is_commit(text: str) -> bool:
    """Return whether `text` is a commit's full name: 40 hex digits."""
    return _COMMIT.fullmatch(text) is not None


def names_commit(ref: Path) -> bool:
    """Return whether a ref's file holds a commit alone: huggingface_hub takes a newline as part of the commit."""
    try:
        return is_commit(read_bounded(ref, MAX_REF).decode())
    except (OSError, UnicodeDecodeError):
        return False


def is_blob(name: str) -> bool:
    """Return whether a blob's name is a hash of its content: a sha256 or a git sha1."""
    return _BLOB.fullmatch(name) is not None


def tree_files(document: Buffer) -> dict[str, object]:
    """Return the entries of a tree listing by path; empty when it cannot be read."""
    try:
        tree = json.loads(bytes(document))
        files = tree["files"] if tree["format_version"] == _TREE_VERSION else {}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    # What is read is written again with other entries, and writing has less room for nesting than reading.
    return files if isinstance(files, dict) and is_shallow(files, MAX_TREE_DEPTH) else {}


def etags_of(listed: Mapping[str, object]) -> dict[str, str]:
    """Return the etag of each file by path, as far as the entries of a tree listing name one."""
    found = {}
    for path, entry in listed.items():
        if isinstance(entry, dict):
            etag = entry.get("lfs_sha256") or entry.get("blob_id")
            if isinstance(etag, str) and _BLOB.fullmatch(etag):
                found[path] = etag
    return found


def tree_entries(files: Mapping[str, tuple[int, str]]) -> dict[str, dict[str, object]]:
    """Return the entries of a tree listing for `files` (size in bytes and etag, by path)."""
    entries: dict[str, dict[str, object]] = {}
    for path, (size, etag) in files.items():
        if len(etag) == 64:
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{etag}\nsize {size}\n".encode()
            entries[path] = {"size": size, "blob_id": git_sha1(pointer), "lfs_sha256": etag, "lfs_size": size}
        else:
            entries[path] = {"size": size, "blob_id": etag}
    return entries


def tree_document(entries: Mapping[str, object]) -> bytes:
    """Return the bytes of a tree listing with these entries (by path).

    Offline, huggingface_hub refuses a snapshot by commit that has no listing, or whose listing names a file that is
    absent.
    """
    return json.dumps({"format_version": _TREE_VERSION, "files": dict(sorted(entries.items()))}, indent=1).encode()


def files_below(folder: Path, skip: Iterable[str] = ()) -> list[SnapshotFile]:
    """List every file below `folder`, ordered by relative path, and stat each once; no `blob` is filled in.

    A symlinked folder counts as a folder.

    Args:
        folder: where to begin.
        skip: what to leave out at any depth, in letters of either case: names, or relative paths such as `a/b`.

    Raises:
        CacheError: a symlink dangles or leads in a circle, or a file is no regular file.
    """
    skipped = tuple(f"/{path}" for path in skip)
    found: list[SnapshotFile] = []
    ancestors = {str(folder): frozenset({os.path.realpath(folder)})}
    for parent, folders, names in os.walk(folder, followlinks=True):
        relative = os.path.relpath(parent, folder)
        prefix = "" if relative == "." else f"{relative}/"
        folders[:] = sorted(name for name in folders if not f"/{prefix}{name}".lower().endswith(skipped))
        for name in folders:
            path = os.path.join(parent, name)
            real = os.path.realpath(path)
            if real in ancestors[parent]:
                raise CacheError(f"{path} points to {real}, a folder it lies in: remove the link")
            ancestors[path] = ancestors[parent] | {real}
        for name in names:
            if f"/{prefix}{name}".lower().endswith(skipped):
                continue
            path = os.path.join(parent, name)
            real = os.path.realpath(path)
            status = _regular_file(real)
            if status is None:
                raise CacheError(f"{path} points to {real}, which is no file: remove it, or bring its content back")
            found.append(SnapshotFile(prefix + name, Path(real), None, status.st_size, status.st_mtime_ns))
    return sorted(found)


def _regular_file(path: str) -> os.stat_result | None:
    """Return the stat of a regular file; None for anything else, and for what cannot be stat'ed."""
    try:
        stats = os.stat(path)
    except OSError:
        return None
    return stats if is_file(stats) else None


def blob_hash(blob: str, size: int) -> hashlib._Hash:
    """Return the hash object to feed a blob's bytes to; its hexdigest is the blob's name if the blob is undamaged.

    Args:
        blob: the name; 64 hex are a sha256, 40 hex a git sha1.
        size: of the blob in bytes, which git's sha1 includes.
    """
    if len(blob) == 64:
        return hashlib.sha256()
    running = hashlib.sha1(usedforsecurity=False)
    running.update(b"blob %d\0" % size)
    return running


def git_sha1(data: bytes) -> str:
    """Return the name that git gives a file's content: 40 hex."""
    running = blob_hash("0" * 40, len(data))
    running.update(data)
    return running.hexdigest()
