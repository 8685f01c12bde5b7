"""What a plain sync left behind: which objects belong to which repo of a hub cache, and what lies beside them.

A sync uploads what a symlink points to, so every file of a snapshot is a full copy of its blob:

    hub/models--<org>--<name>/snapshots/<commit>/<path>    the files by name
                              blobs/<etag>                 the same bytes by content; some syncs left one of the two out
                              refs/<branch>                a commit
                              trees/<commit>.json          what the commit consists of (huggingface_hub >= 1.33)
    torch/…                                                TORCH_HOME
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cas.bucket import Bucket, Entry
from cas.errors import InputError, NotFoundError
from cas.formats.manifest import REPO_PATTERN
from cas.local.hf_cache import is_commit

_REPO = re.compile(r"(model|dataset|space)s--(.+)")
_REPO_ID = re.compile(REPO_PATTERN)
_UNFINISHED = (".incomplete", ".partial", ".lock", ".tmp")
_HUB, _PLAIN = "hub", "torch"


@dataclass(slots=True)
class FoundRepo:
    """One repo's objects. folder: where they lie. The rest: by etag, by commit and path, by ref, by commit."""

    folder: str
    repo_type: str
    repo_id: str
    blobs: dict[str, Entry] = field(default_factory=dict)
    snapshots: dict[str, dict[str, Entry]] = field(default_factory=dict)
    refs: dict[str, Entry] = field(default_factory=dict)
    trees: dict[str, Entry] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)

    def take(self, parts: tuple[str, ...], entry: Entry) -> None:
        """Files an object under what its path below the folder says; what no rebuilt cache needs is left out."""
        match parts:
            case ("blobs", name) if name.endswith(_UNFINISHED):
                self.unfinished.add(name.split(".")[0])
            case ("blobs", name):
                self.blobs[name] = entry
            case ("snapshots", commit, *path) if path and is_commit(commit):
                self.snapshots.setdefault(commit, {})["/".join(path)] = entry
            case ("refs", *name) if name:
                self.refs["/".join(name)] = entry
            case ("trees", name) if is_commit(name.removesuffix(".json")):
                self.trees[name.removesuffix(".json")] = entry


@dataclass(frozen=True, slots=True)
class Found:
    """A listing, sorted out. plain: files by their paths below HF_HOME. ignored: how many objects, by first folder."""

    repos: tuple[FoundRepo, ...]
    plain: dict[str, Entry]
    ignored: dict[str, int]


def find(bucket: Bucket) -> Found:
    """Everything below the bucket's prefix; raises NotFoundError for no model, InputError for a repo twice."""
    entries = _files(bucket.list(""))
    repos: dict[tuple[str, str], FoundRepo] = {}
    plain: dict[str, Entry] = {}
    ignored: Counter[str] = Counter()
    for entry in entries:
        parts = tuple(entry.key.split("/"))
        at = 1 if parts[0] == _HUB and len(parts) > 1 else 0
        if repo := _repo_of(parts, at):
            known = repos.setdefault((repo.repo_type, repo.repo_id), repo)
            if known.folder != repo.folder:
                raise InputError(
                    f"{repo.repo_id} is in {bucket.url} twice, as {known.folder} and as {repo.folder}: "
                    "name the folder above the right one as SOURCE"
                )
            known.take(parts[at + 1 :], entry)
        elif parts[0] == _PLAIN and len(parts) > 1:
            if not entry.key.endswith(_UNFINISHED):
                plain[entry.key] = entry
        elif not at:
            ignored[parts[0]] += 1
    if not repos and not plain:
        raise NotFoundError(f"nothing in {bucket.url} can be imported: {_advice(entries)}")
    return Found(tuple(repos[key] for key in sorted(repos)), plain, dict(sorted(ignored.items())))


def _files(entries: list[Entry]) -> list[Entry]:
    """Without the empty objects by which some tools mark folders."""
    folders = {entry.key.rsplit("/", depth)[0] for entry in entries for depth in range(1, entry.key.count("/") + 1)}
    return [entry for entry in entries if entry.size or entry.key not in folders]


def _repo_of(parts: tuple[str, ...], at: int) -> FoundRepo | None:
    matched = _REPO.fullmatch(parts[at]) if len(parts) > at + 1 else None
    if matched is None:
        return None
    repo_id = matched[2].replace("--", "/")
    if not _REPO_ID.fullmatch(repo_id):
        return None
    return FoundRepo("/".join(parts[: at + 1]), matched[1], repo_id)


def _advice(entries: Iterable[Entry]) -> str:
    for entry in entries:
        parts = entry.key.split("/")
        for at, part in enumerate(parts[:-1]):
            if at and _REPO.fullmatch(part):
                above = parts[: at - 1] if parts[at - 1] == _HUB else parts[:at]
                return f"name the folder {'/'.join(above)}/ in it as SOURCE"
    return "name the folder as SOURCE that holds hub/models--ORG--NAME/ or torch/"
