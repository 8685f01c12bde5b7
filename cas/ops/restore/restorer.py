"""Restore: from a store to a Hugging Face cache, every byte verified before it gets a name."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cas import config, events, refs
from cas.errors import CacheError, DiskFull, FormatError
from cas.formats.manifest import ChunkRef, Manifest
from cas.local import locks, verified
from cas.local.hf_cache import PRIVATE, RepoCache
from cas.local.scan import scan
from cas.local.seeds import find_chunks
from cas.local.targets import PART_DIRECTORY, ChunkLocation, Target, targets_of
from cas.ops.restore.blob_locks import BlobLocks
from cas.ops.restore.disk_space import check_room
from cas.ops.restore.link import Whole, finish
from cas.ops.restore.part_files import PartLost, Parts, sweep
from cas.ops.restore.plan import Fetch, Plan, make_plan
from cas.ops.restore.reuse import Copying
from cas.parallel import Pool, ReusableBuffer, Workers, for_each
from cas.refs.reference import Resolved
from cas.store.store import Store, open_store

# How often to plan anew when other processes take our part files over, because locks do not work. Each of them
# does so at most once, when it starts.
_PLANS = 20

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    reference: names the version for ever. hub, home: HF_HUB_CACHE and HF_HOME. snapshots: folder of each repo
    by its id. total: plain bytes of the model. fetched: plain bytes taken from the store. wire: bytes that crossed the
    connection for them. seconds: wall time. changed: False when everything was there and verified. reused: plain
    bytes copied from other files on this machine. reused_from: the same, by the folder they were found in.
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


def restore(
    reference: str | Resolved,
    store: Store | str | None = None,
    *,
    cache_dir: str | Path | None = None,
    seeds: Iterable[str | Path] = (),
    verify: bool = False,
    refuse_pickle: bool = False,
    dry_run: bool = False,
    limits: config.Limits | None = None,
    on_event: events.Listener = events.ignore,
) -> Restored:
    """Materialises the version that `reference` names in a Hugging Face cache.

    reference: `model`, `model:tag`, `model@<8+ hex>`, `model@blake3:<64 hex>` or `pin:deployment/model`; or a version
    at hand, such as `read_lock` returns, for which the store is asked for chunks alone. store: an open one, a URL, or
    None for the default. cache_dir: the hub cache (HF_HUB_CACHE). seeds: folders that may hold some of it (another
    cache, a volume), looked through before those that CAS_SEEDS names. verify: hash what is there instead of
    trusting its record. refuse_pickle: raise FormatError for a version with pickle files. dry_run: change nothing.
    Raises InputError, NotFoundError, IntegrityError, FormatError, StoreError or CacheError; what was fetched by
    then is kept for the next call.
    """
    begun = time.monotonic()
    limits = limits or config.Limits()
    held = open_store(store)
    dirs = config.cache_dirs(cache_dir)
    on_event(events.Phase("resolve"))
    resolved = reference if isinstance(reference, Resolved) else refs.resolve(held, reference)
    on_event(events.Resolved(resolved.exact, resolved.manifest.plain_size))
    if refuse_pickle:
        _refuse_pickles(resolved.manifest)
    job = _Restore(held, resolved.manifest, dirs, limits, on_event, rehash=verify, seeds=config.seed_dirs(seeds))
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
        fetched=job.fetched,
        wire=job.wire,
        seconds=time.monotonic() - begun,
        changed=job.changed,
        dry_run=dry_run,
        reused=sum(job.reused.values()),
        reused_from={str(seed): size for seed, size in job.reused.items()},
    )


class _Restore:
    """One restore under way, and its counts."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        dirs: config.CacheDirs,
        limits: config.Limits,
        listen: events.Listener,
        *,
        rehash: bool,
        seeds: Sequence[Path],
    ) -> None:
        self._store, self._manifest, self._dirs = store, manifest, dirs
        self._limits, self._listen, self._rehash = limits, listen, rehash
        self._targets = targets_of(manifest, dirs)
        self._seeds = seeds
        self._spots: Mapping[ChunkRef, ChunkLocation] | None = None
        self.fetched = self.wire = 0
        self.reused: dict[Path, int] = {}
        self.changed = False
        self._counting = threading.Lock()
        self._owner = os.urandom(8).hex()

    def run(self, *, dry_run: bool) -> None:
        found = self._traces()
        plan = self._plan()
        if dry_run:
            self.fetched, self.reused, self.changed = plan.fetch_bytes, plan.reused, bool(plan.works)
            check_room(plan)
            return
        if not plan.works:
            self._finish(plan, {})
            return
        self.changed = True
        with self._locked() as (alone, working):
            # Nobody else's part file is taken over unless the lock says that its owner is gone.
            if not alone or self._traces() != found:
                plan = self._plan(None if alone else self._owner)
            for attempt in range(1, _PLANS + 1):
                try:
                    self._execute(plan, BlobLocks(work=working))
                    break
                except PartLost:
                    if attempt == _PLANS:
                        raise CacheError(
                            f"other processes keep taking part files in {self._dirs.hub}: locks do not work there; "
                            "restore again when they are done, or choose another --cache-dir"
                        ) from None
                plan = self._plan(self._owner)
            if alone:
                sweep(self._targets)

    def _plan(self, owner: str | None = None) -> Plan:
        self._listen(events.Phase("plan"))
        local = scan(self._targets, self._limits, self._listen, rehash=self._rehash)
        if self._spots is None:
            self._spots = find_chunks(self._targets, local, self._seeds, self._limits, self._listen)
        return make_plan(self._targets, local, owner, self._spots)

    def _execute(self, plan: Plan, locks: BlobLocks) -> None:
        check_room(plan)
        with Parts(plan.works, self._owner, locks, self._listen) as parts:
            try:
                parts.finish_complete()
                self._move(plan, parts)
            except DiskFull:
                parts.discard()
                raise
            parts.sync()
            self._finish(plan, parts.finished)

    def _move(self, plan: Plan, parts: Parts) -> None:
        """Copies and fetches at the same time, then fetches what was not where it seemed to be."""
        copied = sum(plan.reused.values())
        self._listen(events.Phase("fetch" if plan.fetches else "copy", plan.fetch_bytes + copied))
        with Copying(plan.copies, parts, self._limits, self._listen, self.reused) as copying:
            self._fetch(plan.fetches, parts, max(1, self._limits.budget - copying.memory))
        for seed, size in self.reused.items():
            self._listen(events.Noted(f"{size / 1e6:,.1f} MB taken from {seed}"))
        self._fetch(copying.gone, parts, self._limits.budget)

    def _fetch(self, fetches: Sequence[Fetch], parts: Parts, budget: int) -> None:
        from cas.formats.frame import Decoder

        if not fetches:
            return
        threads = min(self._limits.requests, len(fetches))
        rooms, decoders = Pool(ReusableBuffer, threads), Workers(Decoder, self._limits.workers)

        def fetch_one(fetch: Fetch) -> None:
            with rooms.acquire() as room:
                frame = self._store.get_frame(fetch.chunk, room)
                decoders.run(
                    lambda decoder: parts.write(fetch.places, self._store.open_frame(fetch.chunk, frame, decoder))
                )
                self._count(fetch.chunk.size, len(frame))

        for_each(
            fetch_one,
            fetches,
            threads=threads,
            cost=lambda fetch: fetch.chunk.size,
            budget=budget,
        )

    def _count(self, plain: int, wire: int) -> None:
        with self._counting:
            self.fetched += plain
            self.wire += wire
        self._listen(events.Moved(plain, wire))

    def _finish(self, plan: Plan, finished: dict[Target, tuple[tuple[str, ...], verified.FileStamp]]) -> None:
        self._listen(events.Phase("link"))
        whole: dict[Target, Whole] = {}
        for target, held in zip(plan.targets, plan.whole, strict=True):
            whole[target] = dict(held)
        for target, (parts, seen) in finished.items():
            whole[target] = {parts: seen}
        try:
            finish(self._manifest, self._dirs.hub, whole, self._listen)
        except FileNotFoundError as error:
            raise CacheError(
                f"{self._dirs.hub}: {error.filename} vanished while its links were made: another program is "
                "clearing the cache; restore again when it is done"
            ) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[tuple[bool, bool]]:
        """Holds the lock of every folder to be written to; yields whether all are held, and whether locks work."""
        files = {
            target.root: (target.repo.restore_lock(), target.repo.hub)
            if target.repo
            else (target.root / PRIVATE / "cas.lock", target.root)
            for target in self._targets
        }
        with contextlib.ExitStack() as stack:
            answers: list[bool | None] = []
            for root, (file, below) in sorted(files.items()):

                def waiting(root: Path = root) -> None:
                    self._listen(events.Noted(f"another restore is working on {root}: waiting for it"))

                held = locks.hold_lock(file, below, functools.partial(_trace, root), waiting)
                answers.append(stack.enter_context(held))
            yield all(answers), None not in answers

    def _traces(self) -> list[object]:
        return [_trace(root) for root in sorted({target.root for target in self._targets})]


def _trace(root: Path) -> object:
    """Changes while another restore writes below `root`, and when it ends."""
    try:
        private = root / PRIVATE
        paths = [*private.iterdir(), *root.joinpath(*PART_DIRECTORY).iterdir()]
        return sorted((path.name, path.stat().st_mtime_ns) for path in paths)
    except OSError:
        return None


def _refuse_pickles(manifest: Manifest) -> None:
    found: Sequence[str] = [file.path for file in manifest.all_files() if file.path.endswith(_PICKLES)]
    if found:
        raise FormatError(
            f"{manifest.model} contains pickle files ({', '.join(found[:3])}), refused by --refuse-pickle"
        )
