"""Which repos and files differ between two manifests, told by their chunks alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from cas.formats.manifest import ChunkRef, Manifest, PlainFile, Repo, RepoFile

Change: TypeAlias = Literal["added", "removed", "changed", "renamed"]
AnyFile: TypeAlias = RepoFile | PlainFile


class Place(NamedTuple):
    """A file where it is. repo: its id, empty for a file below HF_HOME."""

    repo: str
    file: AnyFile


@dataclass(frozen=True, slots=True)
class FilePair:
    """A file that differs: before and after, None on the side that has it not."""

    change: Change
    before: Place | None
    after: Place | None


@dataclass(frozen=True, slots=True)
class RepoPair:
    """A repo in both versions, or in one; both None: the files below HF_HOME. unchanged: files that are the same."""

    before: Repo | None
    after: Repo | None
    files: tuple[FilePair, ...]
    unchanged: int

    @property
    def change(self) -> Change | None:
        """What happened to it, None when it is the same."""
        if (self.before is None) != (self.after is None):
            return "added" if self.before is None else "removed"
        if self.files or (self.before and self.after and _heading(self.before) != _heading(self.after)):
            return "changed"
        return None


def pair(before: Manifest, after: Manifest) -> list[RepoPair]:
    """Every repo of two versions with the files that differ, those below HF_HOME last.

    A file is the same when it consists of the same chunks; a removed one whose content was added at another path is
    renamed.
    """
    sides = [
        *((old, new, *_files(old, new)) for old, new in _repos(before.repos, after.repos)),
        (None, None, *_by_path("", before.files, after.files)),
    ]
    removed = [place for *_, gone, _, _, _ in sides for place in gone]
    added = [place for *_, new, _, _ in sides for place in new]
    origins = _renamed(removed, added)
    moved = {_at(place) for place in origins.values()}
    pairs = []
    for old, new, gone, come, changed, unchanged in sides:
        files = [
            *(FilePair("removed", place, None) for place in gone if _at(place) not in moved),
            *changed,
            *(_arrived(place, origins.get(_at(place))) for place in come),
        ]
        files.sort(key=lambda one: (one.after or one.before or _NOWHERE).file.path)
        pairs.append(RepoPair(old, new, tuple(files), unchanged))
    return pairs


_Sides: TypeAlias = tuple[list[Place], list[Place], list[FilePair], int]
_NOWHERE = Place("", PlainFile("", 0, ()))


def _heading(repo: Repo) -> tuple[object, ...]:
    return repo.commit, repo.refs


def _repos(before: Sequence[Repo], after: Sequence[Repo]) -> Iterator[tuple[Repo | None, Repo | None]]:
    """Repos of the same name together; where one came at several commits, those at the same commit first."""
    left = list(before)
    partners: dict[int, Repo] = {}
    for same_commit in (True, False):
        for number, new in enumerate(after):
            alike = (one for one in left if _name(one) == _name(new))
            old = next((one for one in alike if not same_commit or one.commit == new.commit), None)
            if number not in partners and old is not None:
                partners[number] = old
                left.remove(old)
    yield from ((partners.get(number), new) for number, new in enumerate(after))
    yield from ((old, None) for old in left)


def _name(repo: Repo) -> tuple[str, str]:
    return repo.repo_type, repo.repo_id


def _files(before: Repo | None, after: Repo | None) -> _Sides:
    either = before or after
    assert either is not None, "a pair has a side"
    return _by_path(either.repo_id, before.files if before else (), after.files if after else ())


def _by_path(repo: str, before: Iterable[AnyFile], after: Iterable[AnyFile]) -> _Sides:
    """Files that went, that came, that changed, and how many are the same."""
    old = {file.path: file for file in before}
    new = {file.path: file for file in after}
    both = old.keys() & new.keys()
    changed = [
        FilePair("changed", Place(repo, old[path]), Place(repo, new[path]))
        for path in sorted(both)
        if old[path].chunks != new[path].chunks
    ]
    gone = [Place(repo, file) for path, file in old.items() if path not in both]
    come = [Place(repo, file) for path, file in new.items() if path not in both]
    return gone, come, changed, len(both) - len(changed)


def _renamed(removed: Sequence[Place], added: Sequence[Place]) -> dict[_At, Place]:
    """Where each file that came was before, if it was: under the same file name rather than another."""
    free: dict[tuple[ChunkRef, ...], list[Place]] = {}
    for place in removed:
        if place.file.size:  # empty files are all alike
            free.setdefault(place.file.chunks, []).append(place)
    found = {}
    for same_name in (True, False):
        for place in added:
            candidates = free.get(place.file.chunks, [])
            old = next((one for one in candidates if not same_name or _base(one) == _base(place)), None)
            if _at(place) not in found and old is not None:
                found[_at(place)] = old
                candidates.remove(old)
    return found


_At: TypeAlias = tuple[str, str, int]


def _at(place: Place) -> _At:
    # A repo may come at two commits with a file of the same path in both.
    return place.repo, place.file.path, id(place.file)


def _base(place: Place) -> str:
    return place.file.path.rpartition("/")[2]


def _arrived(place: Place, origin: Place | None) -> FilePair:
    return FilePair("renamed" if origin else "added", origin, place)
