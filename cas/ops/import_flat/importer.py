"""Import: what a plain sync of a cache left in a bucket, rebuilt on this machine as a cache that can be published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cas import events
from cas.bucket import open_bucket
from cas.config import CacheDirs
from cas.local.hf_cache import RepoCache
from cas.ops.import_flat.fetch import Fetcher
from cas.ops.import_flat.listing import find
from cas.ops.import_flat.plan import Plan, RepoPlan, make_plan
from cas.ops.import_flat.selection import Selection
from cas.ops.import_flat.workspace import Link, Place

__all__ = ["Plan", "Rebuilt", "Selection", "fetch", "plan"]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A cache that was made anew. dirs: where. repos: what it holds. plain: whether it has TORCH_HOME content."""

    dirs: CacheDirs
    repos: tuple[RepoPlan, ...]
    plain: bool


def plan(
    source: str,
    *,
    selections: Sequence[Selection] | None = None,
    revision: str | None = None,
    plain: Sequence[str] | None = None,
    partial: bool = False,
    on_event: events.Listener = events.ignore,
) -> Plan:
    """What would be imported from `source`, a bucket's URL or a folder.

    selections: the repos wanted, all that are there when None. revision: a ref or commit, for one repo. plain: glob
    patterns of the plain files wanted, all when None. partial: accept that some of what is wanted is missing, or of
    what a repo's listing names where all of it is wanted. Raises InputError, NotFoundError, IntegrityError or
    StoreError.
    """
    bucket = open_bucket(source)
    on_event(events.Phase("plan"))
    return make_plan(bucket, find(bucket), selections, on_event, revision=revision, plain=plain, partial=partial)


def fetch(source: str, planned: Plan, folder: Path, *, on_event: events.Listener = events.ignore) -> Rebuilt:
    """Copies what was planned from `source` into a folder, verified, in the layout of a hub cache.

    folder: a new one, or that of an earlier import of the same source, from which is taken what is whole. Raises
    IntegrityError for what is damaged, DiskFull, CacheError, InputError or StoreError; `source` is never written to.
    """
    bucket = open_bucket(source)
    place = Place(folder.expanduser().absolute())
    caches = [RepoCache(place.dirs.hub, repo.repo_type, repo.repo_id) for repo in planned.repos]
    with place.opened(bucket.url):
        fetcher = Fetcher(bucket, place, on_event)
        files = [(cache.name, file) for cache, repo in zip(caches, planned.repos, strict=True) for file in repo.files]
        fetcher.fetch([*files, *(("", file) for file in planned.plain)])
        on_event(events.Phase("link"))
        for cache, repo in zip(caches, planned.repos, strict=True):
            links = [Link(file.path, fetcher.names[file.entry.key]) for file in repo.files]
            place.lay_out(cache, repo.commit, repo.revision, links)
        place.keep_plain(file.path for file in planned.plain)
    return Rebuilt(place.dirs, planned.repos, bool(planned.plain))
