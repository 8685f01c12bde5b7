"""Whether a version that an earlier release published, with a manifest of version 1, is what is to be published now.

Such a manifest names its version after the time of its making too, and its files are cut by other rules. So a new
manifest would have another name although nothing changed, and whoever runs the tag would restore all for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TypeAlias, TypeVar

from cas.formats.digest import hex_of
from cas.formats.manifest import ChunkRef, Manifest1, PlainFile, Repo, RepoFile
from cas.hub.gather import Gathered, LocalRepo
from cas.local.fs import open_for_reading, read_at
from cas.local.hf_cache import SnapshotFile
from cas.ops.publish.file_reader import reading_errors
from cas.ops.publish.plan import Content, FileKey, content_commit, key_of
from cas.parallel import ReusableBuffer

_File = TypeVar("_File", bound=SnapshotFile | RepoFile | PlainFile)
_Known: TypeAlias = Sequence[RepoFile | PlainFile]
_Pairs: TypeAlias = list[tuple[SnapshotFile, RepoFile | PlainFile]]


def contents_in(old: Manifest1, gathered: Gathered) -> dict[FileKey, Content] | None:
    """Return the contents of gathered files as a manifest of version 1 records them, if it records just these.

    Files of a hub cache are compared by their blobs' names. Files that have none are read, and compared by the digests
    of the manifest's chunks; they are read only if all else is equal.

    Args:
        old: the manifest.
        gathered: the files that are to be published.

    Returns:
        None when something differs.

    Raises:
        CacheError: a file changed since it was listed, or its disk fails.
        InputError: this user may not read a file.
    """
    pairs = _pairs(old, gathered)
    if pairs is None or old.derived is not None or old.annotations:
        return None
    buffer = ReusableBuffer()
    found: dict[FileKey, Content] = {}
    for file, known in pairs:
        if key_of(file) not in found and file.blob is None and not _consists_of(file, known.chunks, buffer):
            return None
        blob = known.blob if isinstance(known, RepoFile) else ""
        found.setdefault(key_of(file), Content(known.size, blob, known.chunks))
    return found


def _pairs(old: Manifest1, gathered: Gathered) -> _Pairs | None:
    """Each gathered file beside the file of the manifest at its path; None when there are others, or other blobs."""
    ours = sorted(gathered.repos, key=lambda repo: (repo.repo_type, repo.repo_id, repo.commit or ""))
    theirs = sorted(old.repos, key=lambda repo: (repo.repo_type, repo.repo_id, repo.commit))
    if len(ours) != len(theirs) or not all(map(_is_same_repo, ours, theirs)):
        return None
    pairs: _Pairs = []
    lists: list[tuple[Sequence[SnapshotFile], _Known]] = [(gathered.plain_files, old.files)]
    lists += [(repo.files, same.files) for repo, same in zip(ours, theirs, strict=True)]
    for files, known in lists:
        both = list(zip(_by_path(files), _by_path(known), strict=False))
        if len(files) != len(known) or not all(_may_be_same(file, same) for file, same in both):
            return None
        pairs += both
    return pairs


def _is_same_repo(ours: LocalRepo, theirs: Repo) -> bool:
    commit = ours.commit or content_commit(_by_path(theirs.files))
    same = (ours.repo_type, ours.repo_id, commit) == (theirs.repo_type, theirs.repo_id, theirs.commit)
    return same and set(ours.refs) == set(theirs.refs)


def _may_be_same(file: SnapshotFile, known: RepoFile | PlainFile) -> bool:
    blob = known.blob if isinstance(known, RepoFile) else None
    return (file.path, file.size) == (known.path, known.size) and file.blob in (None, blob)


def _consists_of(file: SnapshotFile, chunks: Sequence[ChunkRef], buffer: ReusableBuffer) -> bool:
    offset = 0
    with reading_errors(file), open_for_reading(file.real) as fd:
        for chunk in chunks:
            view = buffer.view(chunk.size)
            if read_at(fd, view, offset) != chunk.size or hex_of(view) != chunk.digest:
                return False
            offset += chunk.size
    return True


def _by_path(files: Iterable[_File]) -> list[_File]:
    return sorted(files, key=attrgetter("path"))
