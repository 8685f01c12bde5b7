"""Finds out which repos and files differ between two manifests, by their chunk lists alone: no chunk is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from cas.formats.manifest import ChunkRef, Manifest, PlainFile, Repo, RepoFile

Change: TypeAlias = Literal["added", "removed", "changed", "renamed"]
AnyFile: TypeAlias = RepoFile | PlainFile


class LocatedFile(NamedTuple):
    """A file and where it belongs.

    Attributes:
        repo: the id of its repo; empty for a file below HF_HOME.
        file: the file.
    """

    repo: str
    file: AnyFile


@dataclass(frozen=True, slots=True)
class FilePair:
    """A file that differs.

    Attributes:
        change: what happened to the file.
        before: the file in the first version; None when it was added.
        after: the file in the second version; None when it was removed.
    """

    change: Change
    before: LocatedFile | None
    after: LocatedFile | None


@dataclass(frozen=True, slots=True)
class RepoPair:
    """A repo in two versions, or the files below HF_HOME, for which `before` and `after` are both None.

    Attributes:
        before: the repo in the first version; None when it was added.
        after: the repo in the second version; None when it was removed.
        files: the files that differ, ordered by path.
        unchanged: how many files are the same.
    """

    before: Repo | None
    after: Repo | None
    files: tuple[FilePair, ...]
    unchanged: int

    @property
    def change(self) -> Change | None:
        """What happened to the repo; None when it is the same."""
        if (self.before is None) != (self.after is None):
            return "added" if self.before is None else "removed"
        if self.files or (self.before and self.after and _heading(self.before) != _heading(self.after)):
            return "changed"
        return None


def pair(before: Manifest, after: Manifest) -> list[RepoPair]:
    """Return every repo of two versions with the files that differ, and the files below HF_HOME last.

    A file is the same when it consists of the same chunks. A file is renamed when it was removed, and a file of its
    content was added at another path.
    """
    sides: list[tuple[Repo | None, Repo | None, _Differences]] = [
        *((old, new, _files(old, new)) for old, new in _repos(before.repos, after.repos)),
        (None, None, _by_path("", before.files, after.files)),
    ]
    removed = [file for _, _, found in sides for file in found.removed]
    added = [file for _, _, found in sides for file in found.added]
    origins = _renamed(removed, added)
    renamed = {_key(file) for file in origins.values()}
    pairs = []
    for old, new, found in sides:
        files = [
            *(FilePair("removed", file, None) for file in found.removed if _key(file) not in renamed),
            *found.changed,
            *(_arrived(file, origins.get(_key(file))) for file in found.added),
        ]
        files.sort(key=lambda changed: (changed.after or changed.before or _NOWHERE).file.path)
        pairs.append(RepoPair(old, new, tuple(files), found.unchanged))
    return pairs


class _Differences(NamedTuple):
    """What differs between the files of a repo by path; `unchanged` counts the files that are the same."""

    removed: list[LocatedFile]
    added: list[LocatedFile]
    changed: list[FilePair]
    unchanged: int


_NOWHERE = LocatedFile("", PlainFile("", 0, ()))


def _heading(repo: Repo) -> tuple[object, ...]:
    return repo.commit, frozenset(repo.refs)  # which a manifest of version 1 lists in any order


def _repos(before: Sequence[Repo], after: Sequence[Repo]) -> Iterator[tuple[Repo | None, Repo | None]]:
    """Pair the repos of the same name. Of a repo with several commits, those at the same commit are paired first."""
    left = list(before)
    partners: dict[int, Repo] = {}
    for same_commit in (True, False):
        for number, new in enumerate(after):
            same_name = (repo for repo in left if _name(repo) == _name(new))
            old = next((repo for repo in same_name if not same_commit or repo.commit == new.commit), None)
            if number not in partners and old is not None:
                partners[number] = old
                left.remove(old)
    yield from ((partners.get(number), new) for number, new in enumerate(after))
    yield from ((old, None) for old in left)


def _name(repo: Repo) -> tuple[str, str]:
    return repo.repo_type, repo.repo_id


def _files(before: Repo | None, after: Repo | None) -> _Differences:
    either = before or after
    assert either is not None, "a pair has a side"
    return _by_path(either.repo_id, before.files if before else (), after.files if after else ())


def _by_path(repo: str, before: Iterable[AnyFile], after: Iterable[AnyFile]) -> _Differences:
    old = {file.path: file for file in before}
    new = {file.path: file for file in after}
    both = old.keys() & new.keys()
    changed = [
        FilePair("changed", LocatedFile(repo, old[path]), LocatedFile(repo, new[path]))
        for path in sorted(both)
        if old[path].chunks != new[path].chunks
    ]
    removed = [LocatedFile(repo, file) for path, file in old.items() if path not in both]
    added = [LocatedFile(repo, file) for path, file in new.items() if path not in both]
    return _Differences(removed, added, changed, len(both) - len(changed))


def _renamed(removed: Sequence[LocatedFile], added: Sequence[LocatedFile]) -> dict[_FileKey, LocatedFile]:
    """Return the earlier location of each added file that was renamed. A file of the same base name is preferred."""
    free: dict[tuple[ChunkRef, ...], list[LocatedFile]] = {}
    for located in removed:
        if located.file.size:  # all empty files have the same content: that tells nothing
            free.setdefault(located.file.chunks, []).append(located)
    found = {}
    for same_name in (True, False):
        for located in added:
            same_content = free.get(located.file.chunks, [])
            old = next((file for file in same_content if not same_name or _base(file) == _base(located)), None)
            if _key(located) not in found and old is not None:
                found[_key(located)] = old
                same_content.remove(old)
    return found


_FileKey: TypeAlias = tuple[str, str, int]


def _key(located: LocatedFile) -> _FileKey:
    # The path alone is not enough: a version may hold a repo at two commits, with a file of that path in both.
    return located.repo, located.file.path, id(located.file)


def _base(located: LocatedFile) -> str:
    return located.file.path.rpartition("/")[2]


def _arrived(located: LocatedFile, origin: LocatedFile | None) -> FilePair:
    return FilePair("renamed" if origin else "added", origin, located)
