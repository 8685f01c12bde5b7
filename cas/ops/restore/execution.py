"""The execution of a restore: plan, lock, copy and fetch, make visible; the same for a cache and for a folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cas import events, host
from cas.errors import CacheError, DiskFull
from cas.formats.manifest import ChunkRef
from cas.local.prune_mark import read_mark, wait_for_prune
from cas.local.scan import scan
from cas.local.seeds import find_chunks
from cas.local.targets import ChunkLocation, Target
from cas.local.verified import Stamps
from cas.ops.restore.blob_locks import BlobLocks
from cas.ops.restore.disk_space import check_free_space
from cas.ops.restore.part_files import PartFileLost, PartFiles, remove_part_files
from cas.ops.restore.plan import Plan, make_plan
from cas.ops.restore.reuse import BackgroundCopies
from cas.ops.restore.root_locks import hold_root_locks, restore_progress
from cas.store.fetch import Fetcher
from cas.store.store import Store

if TYPE_CHECKING:
    from cas.ops.restore.cache_targets import CacheTargets
    from cas.ops.restore.folder_targets import FolderTargets

# How often to plan at most, when other processes take our part files over because locks do not work. Each of them does
# so at most once, when it starts.
_MAX_PLANS = 20


class Execution:
    """One restore under way, and its counts.

    Attributes:
        fetcher: counts what is fetched.
        reused: plain bytes copied from local files, by seed.
        changed: whether something has to be written that was not there, or had another content.
        complete: the verified files that hold each target, once they are visible.
    """

    def __init__(
        self,
        what: CacheTargets | FolderTargets,
        store: Store,
        limits: host.Limits,
        listen: events.Listener,
        *,
        rehash: bool,
        seeds: Sequence[Path],
    ) -> None:
        """Prepare the restore; nothing is read or written.

        Args:
            what: the targets, and how they become visible.
            store: where the chunks are.
            limits: bounds of memory, requests and threads.
            listen: hears what happens.
            rehash: hash the files that are there, even those recorded as verified.
            seeds: directories that may hold chunks.
        """
        self._what, self._targets = what, what.targets
        self._limits, self._listen, self._rehash = limits, listen, rehash
        self._seeds = seeds
        self._locations: Mapping[ChunkRef, ChunkLocation] | None = None
        self.fetcher = Fetcher(store, limits, listen)
        self.reused: dict[Path, int] = {}
        self.changed = False
        self._owner = os.urandom(8).hex()
        self.complete: Mapping[Target, Stamps] = {}

    def run(self, *, dry_run: bool) -> None:
        """Restore; a dry run only counts what would be done.

        Raises:
            CasError: as `restore` does.
        """
        self._what.check()
        progress = restore_progress(self._targets)
        mark = wait_for_prune(self._what.directory, self._listen)
        plan = self._plan()
        if dry_run:
            self.fetcher.fetched, self.reused, self.changed = plan.fetch_bytes, plan.reused, bool(plan.pending_files)
            check_free_space(plan)
            return
        for _ in range(_MAX_PLANS):
            if plan.pending_files or self._what.wants_lock(plan):
                break
            self._make_visible(plan, {})
            if mark == read_mark(self._what.directory):
                return
            # A prune may have removed files that we found here.
            mark = wait_for_prune(self._what.directory, self._listen)
            plan = self._plan()
        self.changed = bool(plan.pending_files)
        with hold_root_locks(self._targets, self._listen) as locks:
            # The part file of another restore is resumed only if a lock proves that its owner is gone.
            if not locks.all_held or restore_progress(self._targets) != progress:
                plan = self._plan(None if locks.all_held else self._owner)
            for attempt in range(1, _MAX_PLANS + 1):
                try:
                    self._execute(plan, BlobLocks(locks_work=locks.locks_work))
                    break
                except PartFileLost:
                    if attempt == _MAX_PLANS:
                        raise CacheError(
                            f"other processes keep taking part files in {self._what.directory}: locks do not work "
                            "there; restore again when they are done, or choose another --cache-dir"
                        ) from None
                plan = self._plan(self._owner)
            if locks.all_held:
                remove_part_files(self._targets)

    def _plan(self, owner: str | None = None) -> Plan:
        """Scan this machine and plan; seeds are searched the first time only."""
        self._listen(events.Phase("plan"))
        local = scan(self._targets, self._limits, self._listen, rehash=self._rehash)
        if self._locations is None:
            self._locations = find_chunks(self._targets, local, self._seeds, self._limits, self._listen)
        plan = make_plan(self._targets, local, owner, self._locations)
        self._what.guard.check(plan)
        for target, stamps in zip(plan.targets, plan.complete, strict=True):
            for components, stamp in stamps.items():
                self._listen(target.completed(components, stamp))
        return plan

    def _execute(self, plan: Plan, blob_locks: BlobLocks) -> None:
        check_free_space(plan)
        self._what.claim(plan)
        with (
            self._settled_on_failure(),
            PartFiles(plan.pending_files, self._owner, blob_locks, self._what.guard, self._listen) as part_files,
        ):
            try:
                part_files.finish_complete()
                self._transfer(plan, part_files)
            except DiskFull:
                part_files.discard()
                raise
            part_files.sync()
            self._make_visible(plan, part_files.finished)

    @contextlib.contextmanager
    def _settled_on_failure(self) -> Iterator[None]:
        """Settle what was claimed if the block fails: what other programs put there from then on is not ours."""
        try:
            yield
        except BaseException:
            self._what.settle()
            raise

    def _transfer(self, plan: Plan, part_files: PartFiles) -> None:
        """Copy and fetch at the same time, then fetch the chunks that local files did not hold after all."""
        copied = sum(plan.reused.values())
        self._listen(events.Phase("fetch" if plan.fetches else "copy", plan.fetch_bytes + copied))
        with BackgroundCopies(plan.copies, part_files, self._limits, self._listen, self.reused) as copies:
            self.fetcher.fetch(plan.fetches, part_files, max(1, self._limits.budget - copies.buffer_bytes))
        for seed, size in self.reused.items():
            self._listen(events.Noted(f"{size / 1e6:,.1f} MB taken from {seed}"))
        self.fetcher.fetch(copies.not_found, part_files, self._limits.budget)

    def _make_visible(self, plan: Plan, finished: Mapping[Target, Stamps]) -> None:
        """Link the files that were complete before, and those `finished` now."""
        self._listen(events.Phase("link"))
        complete = {target: dict(stamps) for target, stamps in zip(plan.targets, plan.complete, strict=True)}
        complete.update(finished)
        try:
            self._what.make_visible(complete, self._listen)
        except FileNotFoundError as error:
            raise CacheError(
                f"{self._what.directory}: {error.filename} vanished while its links were made: another program is "
                "clearing the cache; restore again when it is done"
            ) from error
        self.complete = complete
