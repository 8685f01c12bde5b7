"""Prune: free what restores put on this machine, the versions that were used least recently first.

Order of steps:
    1. set the mark of a prune at work; nobody else prunes meanwhile
    2. end the removals that a killed prune began
    3. list the register; keep the versions used most recently, and those used lately
    4. for each of the others, until enough space is free: take its lock alone, and those of its repos; without them it
       is in use, and stays
    5. plan: of what restores made, that which no other version and no foreign link needs
    6. take the version out of the register; remove its view, its refs, listings and links, and last its files
    7. take the mark away

Why in this order: a restore that began before the mark and took no lock sees the mark when it ends, and looks again.
A version leaves the register before anything of it goes, so nobody who holds a version of the register lacks a file.
What needs the files is looked up with the locks held, when no restore can be about to link to them.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Iterator
from pathlib import Path

from cas import config, events
from cas.config import CacheDirs
from cas.formats.manifest import timestamp
from cas.local.fs import free_bytes, nearest_existing
from cas.local.hf_cache import PRIVATE
from cas.local.locks import Lock
from cas.local.prune_mark import marked
from cas.local.register import Register, Registered
from cas.local.register_entry import Entry
from cas.local.view import View
from cas.ops.prune.erase import erase_plain_files, erase_repo
from cas.ops.prune.plan import VersionPlan, plan_removal
from cas.ops.prune.result import KeptVersion, Pruned, PrunedVersion

_AT_WORK = "a restore is at work on its repos"
_IN_USE = "it is in use"


def prune(
    *,
    cache_dir: str | Path | None = None,
    keep_free: int | None = None,
    keep: int = 0,
    unused_for: float = 0.0,
    dry_run: bool = False,
    on_event: events.Listener = events.log,
) -> Pruned:
    """Remove versions that restores put into a hub cache and that nothing uses, least recently used first.

    Without a limit, all of them go: each can be restored again.

    Args:
        cache_dir: the hub cache; by default HF_HUB_CACHE.
        keep_free: stop when so many bytes are free; None removes whatever the other limits leave.
        keep: how many versions of each model stay: those used most recently.
        unused_for: seconds; versions that were used since stay.
        dry_run: remove nothing, and return what a prune would do.
        on_event: hears what happens.

    Raises:
        CacheError: the cache cannot be written, locks do not work in it, or another prune does not end.
    """
    dirs = config.cache_dirs(cache_dir)
    # Where no restore has put anything, and be it no cache at all, nothing is written either.
    writes = not dry_run and os.path.isdir(dirs.hub.joinpath(*config.REGISTER))
    with marked(dirs.hub, on_event) if writes else contextlib.nullcontext():
        return _Prune(dirs, keep_free, keep, unused_for, dry_run=dry_run, listen=on_event).run()


class _Prune:
    """One prune under way."""

    def __init__(
        self,
        dirs: CacheDirs,
        keep_free: int | None,
        keep: int,
        unused_for: float,
        *,
        dry_run: bool,
        listen: events.Listener,
    ) -> None:
        self._dirs, self._keep_free, self._keep, self._unused_for = dirs, keep_free, keep, unused_for
        self._dry_run, self._listen = dry_run, listen
        self._register = Register(dirs.hub)
        self._planned: list[VersionPlan] = []
        self._removed: list[PrunedVersion] = []
        self._kept: list[KeptVersion] = []
        self._freed = 0

    def run(self) -> Pruned:
        self._listen(events.Phase("prune"))
        if not self._dry_run:
            for entry in self._register.leaving():
                self._remove(Registered(entry, 0.0), report=False)
            for reference in self._register.abandoned():
                if lock := self._register.hold_alone(reference):
                    self._register.end_removal(reference)
                    lock.release()
        listed = self._register.entries()
        newest = _newest(listed, self._keep)
        since = time.time() - self._unused_for
        for registered in listed:
            entry, last_use = registered
            if entry.reference in newest:
                self._keeps(registered, f"it is one of the {self._keep} of {entry.model} that were used last")
            elif self._unused_for and last_use > since:
                self._keeps(registered, "it was used lately")
            elif self._keep_free is not None and self._free() >= self._keep_free:
                self._keeps(registered, "enough space is free")
            elif reason := self._remove(registered):
                self._keeps(registered, reason)
        return Pruned(
            hub=self._dirs.hub,
            dry_run=self._dry_run,
            removed=tuple(self._removed),
            kept=tuple(self._kept),
            freed=self._freed,
            free=self._free(),
        )

    def _free(self) -> int:
        """Return the free bytes, with those that a dry run would have freed."""
        return free_bytes(nearest_existing(self._dirs.hub)) + (self._freed if self._dry_run else 0)

    def _keeps(self, registered: Registered, reason: str) -> None:
        self._kept.append(KeptVersion(registered.entry.reference, _time(registered), reason))

    def _remove(self, registered: Registered, *, report: bool = True) -> str:
        """Remove a version; return why it stays, or nothing."""
        entry = registered.entry
        with contextlib.ExitStack() as stack:
            lock = self._register.hold_alone(entry.reference)
            if lock is None:
                if not self._dry_run:
                    self._register.touch(entry.reference)  # what runs for longer than --unused-for is used all the time
                return _IN_USE
            stack.callback(lock.release)
            for repo_lock in self._repo_locks(entry):
                if not repo_lock.try_acquire():
                    return _AT_WORK
                stack.callback(repo_lock.release)
            gone = {done.entry.reference for done in self._planned}  # a dry run leaves them in the register
            others = [
                other
                for other, _ in reversed(self._register.entries())
                if other.reference != entry.reference and other.reference not in gone
            ]
            plan = plan_removal(entry, others, self._dirs, self._planned)
            if self._dry_run:
                self._planned.append(plan)
            else:
                self._execute(plan, others)
        if report:
            self._removed.append(PrunedVersion(entry.reference, _time(registered), plan.freed, plan.files))
            self._freed += plan.freed
        return ""

    def _repo_locks(self, entry: Entry) -> Iterator[Lock]:
        """Yield the locks that a restore of the version takes, in the order in which it takes them."""
        locks = {
            cache.root: (cache.restore_lock(), cache.hub)
            for cache in (repo.cache(self._dirs.hub) for repo in entry.repos)
        }
        if entry.files:
            locks[self._dirs.home] = (self._dirs.home / PRIVATE / "cas.lock", self._dirs.home)
        for _, (path, below) in sorted(locks.items()):
            yield Lock(path, below)

    def _execute(self, plan: VersionPlan, others: list[Entry]) -> None:
        entry = plan.entry
        self._register.begin_removal(entry.reference)
        is_clear = View(self._dirs, entry).remove()
        shared = {(repo.repo_type, repo.repo_id) for other in others for repo in other.repos}
        for repo in plan.repos:
            erase_repo(repo, is_last=(repo.cache.repo_type, repo.cache.repo_id) not in shared)
        if plan.plain_files:
            erase_plain_files(self._dirs.home, plan.plain_files)
        self._register.end_removal(entry.reference)
        if not is_clear:
            folder = self._dirs.hub.joinpath(*self._register.components(entry.reference))
            self._listen(events.Warned(f"{folder} stays: other programs have put files into it"))


def _newest(listed: list[Registered], keep: int) -> set[str]:
    """Return the references of the versions of each model that were used most recently, so many of each."""
    found: dict[str, list[str]] = {}
    for entry, _ in reversed(listed):
        found.setdefault(entry.model, []).append(entry.reference)
    return {reference for references in found.values() for reference in references[:keep]}


def _time(registered: Registered) -> str:
    return timestamp(datetime.datetime.fromtimestamp(registered.last_use, datetime.UTC))
