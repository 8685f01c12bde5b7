"""An entry of the register: what restores have put into a hub cache of one version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cas.config import CacheDirs
from cas.errors import FormatError
from cas.formats.manifest import Blob, Commit, Manifest, RepoId, RepoType, Size
from cas.formats.paths import check_path, check_plain_path
from cas.formats.typed_json import JsonFormat
from cas.local.hf_cache import RepoCache
from cas.local.targets import content_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}@[0-9a-f]{64}")


class EntryRepo(msgspec.Struct, frozen=True):
    """What a version consists of in one repo.

    Attributes:
        repo_type: `model`, `dataset` or `space`.
        repo_id: as on the hub.
        commit: 40 hex.
        refs: the hub refs that name the commit.
        files: blob and size in bytes of each file, by its path in the snapshot.
    """

    repo_type: RepoType
    repo_id: RepoId
    commit: Commit
    refs: tuple[str, ...]
    files: dict[str, tuple[Blob, Size]]

    def cache(self, hub: Path) -> RepoCache:
        """Return the repo's directory in a hub cache."""
        return RepoCache(hub, self.repo_type, self.repo_id)


class Entry(msgspec.Struct, frozen=True):
    """A version that restores have put into a hub cache, all of it or the parts that were asked for.

    Attributes:
        version: of the format.
        reference: names the version for ever: `model@blake3:<64 hex>`.
        home: HF_HOME, which the plain files are relative to, as `home_text` writes it; empty without plain files.
        repos: its repos.
        files: the content of each plain file (64 hex), by its path.
    """

    version: int
    reference: str
    home: str
    repos: tuple[EntryRepo, ...]
    files: dict[str, str]

    @property
    def model(self) -> str:
        """The version's model."""
        return self.reference.partition("@")[0]

    @property
    def short(self) -> str:
        """The reference as messages show it: with the first 12 digits of the digest."""
        model, _, digest = self.reference.partition("@blake3:")
        return f"{model}@{digest[:12]}"


_FORMAT = JsonFormat[Entry](Entry)


def entry_of(reference: str, manifest: Manifest, dirs: CacheDirs) -> Entry:
    """Return the entry of a version that a restore puts into a cache.

    Args:
        reference: names the version for ever.
        manifest: what is restored of it.
        dirs: the cache.
    """
    return Entry(
        version=1,
        reference=reference,
        home=home_text(dirs) if manifest.files else "",
        repos=tuple(
            EntryRepo(
                repo.repo_type,
                repo.repo_id,
                repo.commit,
                repo.refs,
                {file.path: (file.blob, file.size) for file in repo.files},
            )
            for repo in manifest.repos
        ),
        files={file.path: content_of(file) for file in manifest.files},
    )


def home_text(dirs: CacheDirs) -> str:
    """Return HF_HOME as entries have it: JSON has no way to write bytes of a path that are no UTF-8."""
    return str(dirs.home).encode(errors="backslashreplace").decode()


def is_name(name: str) -> bool:
    """Return whether a version's directory in a register may have this name."""
    return _NAME.fullmatch(name) is not None


def name_of(reference: str) -> str:
    """Return the name of a version's directory in a register: `model@<64 hex>`.

    Raises:
        FormatError: the reference does not name a version for ever.
    """
    name = reference.replace("@blake3:", "@", 1)
    if not is_name(name):
        raise FormatError(f"{reference!a} names no version: write model@blake3:<64 hex>")
    return name


def encode(entry: Entry) -> bytes:
    """Return the bytes of an entry."""
    return _FORMAT.encode(entry)


def decode(data: bytes | None) -> Entry | None:
    """Return the entry that some bytes encode; None when they are no entry, or name what no entry may name."""
    if data is None:
        return None
    try:
        entry = _FORMAT.decode(data)
        for path in _paths(entry):
            check_path(path)
        for path in entry.files:
            check_plain_path(path)
        name_of(entry.reference)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, FormatError):
        return None
    return entry if entry.version == 1 else None


def _paths(entry: Entry) -> Iterator[str]:
    for repo in entry.repos:
        yield from repo.refs
        yield from repo.files
    yield from entry.files


def merged(before: Entry, now: Entry) -> Entry:
    """Return an entry with what both have: parts of a version may have been restored one after the other."""
    repos = {(repo.repo_type, repo.repo_id, repo.commit): repo for repo in before.repos}
    for repo in now.repos:
        known = repos.get(key := (repo.repo_type, repo.repo_id, repo.commit))
        repos[key] = msgspec.structs.replace(repo, files={**(known.files if known else {}), **repo.files})
    home, files = now.home or before.home, {**before.files, **now.files}
    return msgspec.structs.replace(now, home=home, repos=tuple(repos.values()), files=files)
