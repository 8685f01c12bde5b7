"""Restore: write a version from a store into a Hugging Face cache; every byte is verified before it gets a name.

Order of steps:
    1. resolve the reference to a manifest
    2. scan this machine for files and chunks of the version; search seeds for the chunks that are missing; plan
    3. if no file is missing: make the version visible (step 6) and end
    4. lock every directory to be written to; plan again if another restore changed something meanwhile
    5. check the free space; claim the plain files; copy chunks from local files and fetch the others meanwhile; fetch
       what the local files did not hold after all; sync and rename each file once its last chunk is written
    6. make the version visible: snapshot links, tree listings, refs, and last the record of verified files
    7. remove part files that killed restores left

Why in this order: steps 1 to 3 write no file of the version, so a warm restore takes no lock. Free space is checked
before the first byte moves, so a version that does not fit writes nothing. Links come after the files and refs after
the links, so a reader who follows a ref finds all that it names, even if the restore is killed. Part files of other
restores are removed only while every lock is held: only then are their owners surely gone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cas import config, events, host, refs
from cas.errors import CacheError, DiskFull, FormatError
from cas.formats.manifest import ChunkRef, Manifest
from cas.formats.paths import PICKLE_SUFFIXES
from cas.local.hf_cache import RepoCache
from cas.local.scan import scan
from cas.local.seeds import find_chunks
from cas.local.targets import ChunkLocation, Target, targets_of
from cas.local.verified import Stamps
from cas.ops.restore.blob_locks import BlobLocks
from cas.ops.restore.disk_space import check_free_space
from cas.ops.restore.fetch import Fetcher, Second
from cas.ops.restore.link import make_visible
from cas.ops.restore.part_files import PartFileLost, PartFiles, remove_part_files
from cas.ops.restore.plain_files import PlainFileGuard, check_home
from cas.ops.restore.plan import Plan, make_plan
from cas.ops.restore.reuse import BackgroundCopies
from cas.ops.restore.root_locks import hold_root_locks, restore_progress
from cas.refs.reference import Resolved
from cas.store.store import Store, open_store

# How often to plan at most, when other processes take our part files over because locks do not work. Each of them does
# so at most once, when it starts.
_MAX_PLANS = 20


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        reference: names the version for ever: `model@blake3:<64 hex>`.
        hub: the hub cache (HF_HUB_CACHE).
        home: HF_HOME.
        snapshots: the snapshot directory of each repo, by repo id.
        total: plain bytes of the version.
        fetched: plain bytes fetched from the store.
        wire: bytes of their frames, which crossed the connection.
        seconds: wall time.
        changed: False when every file was complete and verified before.
        dry_run: True when nothing was written, and the figures say what a restore would do.
        reused: plain bytes copied from other files on this machine.
        reused_from: the same, by the seed in which the files were found.
        second_requests: the requests for chunks whose first body was far behind: how many, how many of them brought
            the last byte of a chunk, and how many bytes arrived twice.
    """

    reference: str
    hub: str
    home: str
    snapshots: dict[str, str]
    total: int
    fetched: int
    wire: int
    seconds: float
    changed: bool
    dry_run: bool = False
    reused: int = 0
    reused_from: dict[str, int] = field(default_factory=dict)
    second_requests: Second = field(default_factory=Second)


def restore(
    reference: str | Resolved,
    store: Store | str | None = None,
    *,
    cache_dir: str | Path | None = None,
    seeds: Iterable[str | Path] = (),
    verify: bool = False,
    refuse_pickle: bool = False,
    dry_run: bool = False,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.ignore,
) -> Restored:
    """Write the version that `reference` names into a Hugging Face cache.

    What was fetched when an error ends the restore is kept for the next call.

    Args:
        reference: `model`, `model:tag`, `model@<8+ hex>`, `model@blake3:<64 hex>` or `pin:deployment/model`; or an
            already resolved version, such as `read_lock` returns: then only chunks are read from the store.
        store: an open store, a URL, or None for the default.
        cache_dir: the hub cache; by default HF_HUB_CACHE.
        seeds: directories that may hold chunks of the version (another cache, a volume), searched before those that
            CAS_SEEDS names.
        verify: hash the files of the version that are on this machine, even those recorded as verified.
        refuse_pickle: refuse a version with pickle files.
        dry_run: change nothing, and return what a restore would do.
        limits: bounds of memory, requests and threads.
        on_event: hears what happens.

    Raises:
        InputError: the reference or an option is no valid one.
        NotFoundError: the store has no such version.
        IntegrityError: a chunk or a manifest is damaged, or a file changed while it was written.
        FormatError: the store's format is not known, or the version has pickle files.
        StoreError: the store cannot be read.
        CacheError: the cache cannot be written, or a file that no restore wrote is where a plain file belongs.
    """
    begun = time.monotonic()
    limits = limits or host.Limits()
    store = open_store(store)
    if read_url := config.read("CAS_READ_URL"):
        from cas.store.cdn import through_cdn

        store = through_cdn(store, read_url, on_event)
    dirs = config.cache_dirs(cache_dir)
    on_event(events.Phase("resolve"))
    resolved = reference if isinstance(reference, Resolved) else refs.resolve(store, reference)
    on_event(events.Resolved(resolved.exact, resolved.manifest.plain_size))
    if refuse_pickle:
        _refuse_pickles(resolved.manifest)
    job = _Restore(store, resolved.manifest, dirs, limits, on_event, rehash=verify, seeds=config.seed_dirs(seeds))
    job.run(dry_run=dry_run)
    return Restored(
        reference=resolved.exact,
        hub=str(dirs.hub),
        home=str(dirs.home),
        snapshots={
            repo.repo_id: str(RepoCache(dirs.hub, repo.repo_type, repo.repo_id).root / "snapshots" / repo.commit)
            for repo in resolved.manifest.repos
        },
        total=resolved.manifest.plain_size,
        fetched=job.fetcher.fetched,
        wire=job.fetcher.wire,
        seconds=time.monotonic() - begun,
        changed=job.changed,
        dry_run=dry_run,
        reused=sum(job.reused.values()),
        reused_from={str(seed): size for seed, size in job.reused.items()},
        second_requests=job.fetcher.second,
    )


class _Restore:
    """One restore under way, and its counts."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        dirs: config.CacheDirs,
        limits: host.Limits,
        listen: events.Listener,
        *,
        rehash: bool,
        seeds: Sequence[Path],
    ) -> None:
        self._manifest, self._dirs = manifest, dirs
        self._limits, self._listen, self._rehash = limits, listen, rehash
        self._targets = targets_of(manifest, dirs)
        self._seeds = seeds
        self._locations: Mapping[ChunkRef, ChunkLocation] | None = None
        self.fetcher = Fetcher(store, limits, listen)
        self.reused: dict[Path, int] = {}
        self.changed = False
        self._owner = os.urandom(8).hex()
        self._guard = PlainFileGuard()

    def run(self, *, dry_run: bool) -> None:
        if self._manifest.files:
            check_home(self._dirs)
        progress = restore_progress(self._targets)
        plan = self._plan()
        if dry_run:
            self.fetcher.fetched, self.reused, self.changed = plan.fetch_bytes, plan.reused, bool(plan.pending_files)
            check_free_space(plan)
            return
        if not plan.pending_files:
            self._make_visible(plan, {})
            return
        self.changed = True
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
                            f"other processes keep taking part files in {self._dirs.hub}: locks do not work there; "
                            "restore again when they are done, or choose another --cache-dir"
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
        self._guard.check(plan)
        return plan

    def _execute(self, plan: Plan, blob_locks: BlobLocks) -> None:
        check_free_space(plan)
        self._guard.claim(plan)
        with PartFiles(plan.pending_files, self._owner, blob_locks, self._guard, self._listen) as part_files:
            try:
                part_files.finish_complete()
                self._transfer(plan, part_files)
            except DiskFull:
                part_files.discard()
                raise
            part_files.sync()
            self._make_visible(plan, part_files.finished)

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
            make_visible(self._manifest, self._dirs.hub, complete, self._listen)
        except FileNotFoundError as error:
            raise CacheError(
                f"{self._dirs.hub}: {error.filename} vanished while its links were made: another program is "
                "clearing the cache; restore again when it is done"
            ) from error


def _refuse_pickles(manifest: Manifest) -> None:
    found: Sequence[str] = [file.path for file in manifest.all_files() if file.path.endswith(PICKLE_SUFFIXES)]
    if found:
        raise FormatError(
            f"{manifest.model} contains pickle files ({', '.join(found[:3])}), refused by --refuse-pickle"
        )
