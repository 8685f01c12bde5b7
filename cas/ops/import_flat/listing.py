"""What a flat sync left in a bucket: which objects belong to which repo of a hub cache, and which are plain files.

A flat sync uploads what a symlink points to, so every file of a snapshot is a full copy of its blob:

    hub/models--<org>--<name>/snapshots/<commit>/<path>    the files by name
                              blobs/<etag>                 the same bytes by content; some syncs left one of the two out
                              refs/<branch>                a commit
                              trees/<commit>.json          what the commit consists of (huggingface_hub >= 1.33)
    torch/…                                                TORCH_HOME: plain files
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cas.bucket import Bucket, Entry
from cas.errors import InputError, NotFoundError
from cas.formats.manifest import REPO_PATTERN
from cas.formats.paths import PLAIN_FILE_FOLDER, is_hidden
from cas.local.hf_cache import is_commit

_REPO_FOLDER = re.compile(r"(model|dataset|space)s--(.+)")
_REPO_ID = re.compile(REPO_PATTERN)
_UNFINISHED = (".incomplete", ".partial", ".lock", ".tmp")
_HUB = "hub"


@dataclass(slots=True)
class RepoListing:
    """The objects of one repo.

    Attributes:
        folder: the key of the repo's folder, relative to the source.
        repo_type: model, dataset or space.
        repo_id: `ORG/NAME`, or a name alone.
        blobs: objects by etag.
        snapshots: objects by commit, then by path in the repo.
        refs: objects by the name of the ref; each holds a commit.
        trees: tree listings by commit.
        unfinished: etags of blobs whose download was under way, or broken off, when the cache was synced.
    """

    folder: str
    repo_type: str
    repo_id: str
    blobs: dict[str, Entry] = field(default_factory=dict)
    snapshots: dict[str, dict[str, Entry]] = field(default_factory=dict)
    refs: dict[str, Entry] = field(default_factory=dict)
    trees: dict[str, Entry] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)

    def add(self, components: tuple[str, ...], entry: Entry) -> None:
        """File an object by its path below the repo's folder. Objects that no rebuilt cache needs are left out."""
        match components:
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
class Listing:
    """The objects of a source, sorted by what they belong to.

    Attributes:
        repos: ordered by repo type and id.
        plain_files: objects by their paths below HF_HOME.
        ignored: for each top-level folder of other objects, how many there are.
    """

    repos: tuple[RepoListing, ...]
    plain_files: dict[str, Entry]
    ignored: dict[str, int]


@dataclass(frozen=True, slots=True)
class Selection:
    """One repo that the user wants.

    Attributes:
        repo_id: `ORG/NAME`, or a name alone.
        repo_type: model, dataset or space; None for any.
        revision: a ref or a commit; None for main, or for the only revision that the source has.
        include: glob patterns of the files that are wanted; empty for all.
        exclude: glob patterns of files that are not, whatever `include` says.
    """

    repo_id: str
    repo_type: str | None = None
    revision: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def matches(self, repo: RepoListing) -> bool:
        """Return whether `repo` is the repo that is wanted."""
        return repo.repo_id == self.repo_id and self.repo_type in (None, repo.repo_type)


def read_listing(bucket: Bucket) -> Listing:
    """List everything below the bucket's prefix, and sort it.

    Raises:
        NotFoundError: there is neither a repo nor a plain file.
        InputError: a repo is there twice, in two folders.
    """
    entries = _without_folder_objects(bucket.list(""))
    repos: dict[tuple[str, str], RepoListing] = {}
    plain_files: dict[str, Entry] = {}
    ignored: Counter[str] = Counter()
    for entry in entries:
        components = tuple(entry.key.split("/"))
        index = 1 if components[0] == _HUB and len(components) > 1 else 0
        if repo := _repo_at(components, index):
            known = repos.setdefault((repo.repo_type, repo.repo_id), repo)
            if known.folder != repo.folder:
                raise InputError(
                    f"{repo.repo_id} is in {bucket.url} twice, as {known.folder} and as {repo.folder}: "
                    "name the folder above the right one as SOURCE"
                )
            known.add(components[index + 1 :], entry)
        elif components[0] == PLAIN_FILE_FOLDER and len(components) > 1:
            if is_hidden(entry.key):
                ignored[PLAIN_FILE_FOLDER] += 1
            elif not entry.key.endswith(_UNFINISHED):
                plain_files[entry.key] = entry
        elif not index:
            ignored[components[0]] += 1
    if not repos and not plain_files:
        raise NotFoundError(f"nothing in {bucket.url} can be imported: {_advice(entries)}")
    return Listing(tuple(repos[key] for key in sorted(repos)), plain_files, dict(sorted(ignored.items())))


def _without_folder_objects(entries: list[Entry]) -> list[Entry]:
    """Drop the empty objects by which some tools mark folders that hold other objects."""
    folders = {entry.key.rsplit("/", depth)[0] for entry in entries for depth in range(1, entry.key.count("/") + 1)}
    return [entry for entry in entries if entry.size or entry.key not in folders]


def _repo_at(components: tuple[str, ...], index: int) -> RepoListing | None:
    """An empty listing of the repo whose folder is the component at `index`; None if that is no repo's folder."""
    matched = _REPO_FOLDER.fullmatch(components[index]) if len(components) > index + 1 else None
    if matched is None:
        return None
    repo_id = matched[2].replace("--", "/")
    if not _REPO_ID.fullmatch(repo_id):
        return None
    return RepoListing("/".join(components[: index + 1]), matched[1], repo_id)


def _advice(entries: Iterable[Entry]) -> str:
    """What to name as the source instead: the folder above the first repo that lies deeper in it."""
    for entry in entries:
        components = entry.key.split("/")
        for index, component in enumerate(components[:-1]):
            if index and _REPO_FOLDER.fullmatch(component):
                above = components[: index - 1] if components[index - 1] == _HUB else components[:index]
                return f"name the folder {'/'.join(above)}/ in it as SOURCE"
    return "name the folder as SOURCE that holds hub/models--ORG--NAME/ or torch/"
