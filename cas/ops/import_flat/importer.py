"""Import: rebuild, on this machine, the hub cache that a flat sync left in a bucket, so that it can be published.

    plan:  list the source once; sort its objects into repos and plain files
           choose the commit of each repo, from its refs; read the tree listings of these commits
           choose the object of each file; refuse contradictions, gaps and placeholders
    fetch: claim the folder, and recall what an earlier import fetched into it
           fetch the other objects in pieces; hash each file, then rename it to its blob's name
           write snapshot links, tree listings and refs

All that names and sizes tell is checked before anything large is fetched. The links come last, so that a broken-off
import never looks like a complete cache. `source` is never written to, and the publish is the caller's: operations do
not know each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cas import events
from cas.bucket import open_bucket
from cas.config import CacheDirs, expand_user
from cas.local.hf_cache import RepoCache
from cas.ops.import_flat.fetch import Fetcher
from cas.ops.import_flat.listing import Selection, read_listing
from cas.ops.import_flat.plan import Plan, make_plan
from cas.ops.import_flat.repo_plan import RepoPlan
from cas.ops.import_flat.workspace import SnapshotLink, Workspace

__all__ = ["Plan", "Rebuilt", "Selection", "fetch", "plan"]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A cache that an import has rebuilt.

    Attributes:
        dirs: its directories.
        repos: the repos that it holds.
        has_plain_files: whether it holds TORCH_HOME content.
    """

    dirs: CacheDirs
    repos: tuple[RepoPlan, ...]
    has_plain_files: bool


def plan(
    source: str,
    *,
    selections: Sequence[Selection] | None = None,
    revision: str | None = None,
    plain_patterns: Sequence[str] | None = None,
    partial: bool = False,
    on_event: events.Listener = events.log,
) -> Plan:
    """Decide what to import. Only listings, refs and small objects are read.

    Args:
        source: the URL of a bucket, or a folder.
        selections: the repos that are wanted; None for all.
        revision: the ref or commit to take, if one repo is to be imported.
        plain_patterns: glob patterns of the plain files that are wanted; None for all.
        partial: accept that files are missing: wanted ones, or, where all files of a repo are wanted, some that its
            tree listing names.
        on_event: receives phases and warnings.

    Raises:
        InputError: the source or the selection is ambiguous, or holds what no manifest may name.
        NotFoundError: something that is wanted is not there.
        IntegrityError: something is damaged, or a placeholder.
        StoreError: the source cannot be read.
    """
    bucket = open_bucket(source)
    on_event(events.Phase("plan"))
    return make_plan(
        bucket,
        read_listing(bucket),
        selections,
        on_event,
        revision=revision,
        plain_patterns=plain_patterns,
        partial=partial,
    )


def fetch(source: str, planned: Plan, folder: Path, *, on_event: events.Listener = events.log) -> Rebuilt:
    """Copy what was planned into a folder, verified, in the layout of a hub cache.

    Args:
        source: the URL of a bucket, or a folder, as it was given to `plan`.
        planned: what `plan` returned.
        folder: a new folder, or that of an earlier import of the same source, whose complete files are used again.
        on_event: receives phases and progress.

    Raises:
        IntegrityError: an object is damaged.
        DiskFull: the folder's disk has not enough free space.
        CacheError: the folder cannot be used, or another import is at work in it.
        InputError: the folder is not empty, and of no import of this source.
        StoreError: the source cannot be read, or is written to while it is read.
    """
    bucket = open_bucket(source)
    workspace = Workspace(expand_user(folder).absolute())
    caches = [RepoCache(workspace.dirs.hub, repo.repo_type, repo.repo_id) for repo in planned.repos]
    with workspace.claimed(bucket.url):
        fetcher = Fetcher(bucket, workspace, on_event)
        files = [(cache.name, file) for cache, repo in zip(caches, planned.repos, strict=True) for file in repo.files]
        fetcher.fetch([*files, *(("", file) for file in planned.plain_files)])
        on_event(events.Phase("link"))
        for cache, repo in zip(caches, planned.repos, strict=True):
            links = [SnapshotLink(file.path, fetcher.names[file.entry.key]) for file in repo.files]
            workspace.write_snapshot(cache, repo.commit, repo.revision, links)
        workspace.remove_other_plain_files(file.path for file in planned.plain_files)
    return Rebuilt(workspace.dirs, planned.repos, bool(planned.plain_files))
