"""Restore: write a version from a store into a Hugging Face cache; every byte is verified before it gets a name.

Order of steps:
    1. resolve each reference to a manifest, and choose the files that the patterns name
    2. scan this machine for files and chunks of the version; search seeds for the chunks that are missing; plan
    3. if no file is missing: make the version visible (step 6) and end, or look again if a prune was at work meanwhile
    4. lock every directory to be written to; plan again if another restore changed something meanwhile
    5. check the free space; record the version and what is going to be made of it; copy chunks from local files and
       fetch the others meanwhile; fetch what the local files did not hold after all; sync and rename each file once its
       last chunk is written
    6. make the version visible: snapshot links, tree listings, refs, and last the record of verified files; in a folder
       the record alone, after which leftovers of earlier restores are removed if that is wanted
    7. remove part files that killed restores left

Why in this order: steps 1 to 3 write no file of the version, so a warm restore takes no lock. Free space is checked
before the first byte moves, so a version that does not fit writes nothing. Links come after the files and refs after
the links, so a reader who follows a ref finds all that it names, even if the restore is killed. Part files of other
restores are removed only while every lock is held: only then are their owners surely gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cas import config, events, host, refs
from cas.errors import InputError
from cas.formats.manifest import Manifest
from cas.local.hf_cache import RepoCache
from cas.ops.restore.cache_targets import CacheTargets
from cas.ops.restore.execution import Execution
from cas.ops.restore.result import Restored, RestoredVersion
from cas.refs.reference import Resolved, signed_entry
from cas.store.reading import open_to_read
from cas.store.store import Store, open_store

if TYPE_CHECKING:
    from cas.ops.restore.folder import Folder
    from cas.ops.restore.folder_targets import FolderTargets

__all__ = ["Restored", "RestoredVersion", "restore"]


def restore(
    reference: str | Resolved | Sequence[str | Resolved],
    store: Store | str | None = None,
    *,
    cache_dir: str | Path | None = None,
    to: Folder | str | Path | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    seeds: Iterable[str | Path] = (),
    verify: bool = False,
    refuse_pickle: bool = False,
    receipt: bool = False,
    dry_run: bool = False,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Restored:
    """Write the versions that references name into a Hugging Face cache, or into a folder.

    Chunks that several versions share are fetched once. What was fetched when an error ends the restore is kept for the
    next call.

    Args:
        reference: `model`, `model:tag`, `model@digest`, `pin:deployment/model`, or another text that
            `cas.refs.resolve` takes; or an already resolved version, such as `read_lock` returns: then only chunks are
            read from the store. Or several of these.
        store: an open store, a URL, or None for the default.
        cache_dir: the hub cache; by default HF_HUB_CACHE.
        to: a folder that gets the files instead of the cache; see `cas.Folder`.
        include: glob patterns of the files to restore, as `hf download` understands them; all files without one.
        exclude: glob patterns of files to leave out.
        seeds: directories that may hold chunks of the version (another cache, a volume), searched before those that
            CAS_SEEDS names.
        verify: hash the files of the version that are on this machine, even those recorded as verified.
        refuse_pickle: refuse a version with pickle files among those to restore.
        receipt: keep a receipt in the store, to which `cas.phase` adds; a dry run leaves none.
        dry_run: change nothing, and return what a restore would do.
        limits: bounds of memory, requests and threads.
        on_event: hears what happens.

    Raises:
        InputError: a reference, a pattern or an option is no valid one, or files of the versions collide.
        NotFoundError: the store has no such version.
        SignatureError: keys are trusted, and none of them signed the tag or pin as it is, or it is older than its floor
            or than what the cache has seen.
        IntegrityError: a chunk or a manifest is damaged, or a file changed while it was written.
        FormatError: the store's format is not known, or a version has pickle files.
        StoreError: the store cannot be read.
        CacheError: the cache or folder cannot be written, or a file that no restore wrote is where one belongs.
    """
    begun = time.monotonic()
    limits = limits or host.Limits()
    if receipt and not dry_run:
        from cas.ops.restore.receipts import ReceiptWriter

        with ReceiptWriter(open_store(store), on_event, reason="named by the caller") as writer:
            done = restore(
                reference,
                writer.store,
                cache_dir=cache_dir,
                to=to,
                include=include,
                exclude=exclude,
                seeds=seeds,
                verify=verify,
                refuse_pickle=refuse_pickle,
                limits=limits,
                on_event=writer.listen,
            )
            writer.finished(done)
        return done
    store = open_to_read(store, on_event)
    folder = None
    if to is not None:
        from cas.ops.restore.folder import checked

        folder = checked(to)
    dirs = None if folder and not folder.link else config.cache_dirs(cache_dir)
    on_event(events.Phase("resolve"))
    references = [reference] if isinstance(reference, str | Resolved) else list(reference)
    hubs = (dirs.hub,) if dirs else ()
    found = (
        each if isinstance(each, Resolved) else refs.resolve(store, each, hubs, keep=not dry_run, listen=on_event)
        for each in references
    )
    versions = list({each.exact: each for each in found}.values())
    if not versions:
        raise InputError("no version is named: give a reference")
    if include or exclude or refuse_pickle:
        from cas.ops.restore.wanted import choose_files, refuse_pickles

        versions = choose_files(versions, include, exclude)
        if refuse_pickle:
            refuse_pickles(version.manifest for version in versions)
    manifests = [version.manifest for version in versions]
    for version in versions:
        signed = signed_entry(version.reference, version.move, store)
        on_event(events.Resolved(version.exact, version.manifest.plain_size, signed))

    def run(what: CacheTargets | FolderTargets, *more_seeds: Path) -> Execution:
        where_chunks_may_be = (*config.seed_dirs(seeds), *more_seeds)
        job = Execution(what, store, limits, on_event, rehash=verify, seeds=where_chunks_may_be)
        job.run(dry_run=dry_run)
        return job

    filled = None
    if folder:
        from cas.ops.restore.into_folder import fill

        job, filled = fill(
            folder, versions, dirs or _cache_to_take_from(cache_dir), run, limits, on_event, dry_run=dry_run
        )
    else:
        assert dirs
        job = run(CacheTargets(versions, dirs, on_event))
    snapshots = [_snapshots(manifest, dirs) for manifest in manifests]
    return Restored(
        reference=", ".join(version.exact for version in versions),
        hub=dirs.hub if dirs else None,
        home=dirs.home if dirs else None,
        snapshots={repo_id: path for of_version in snapshots for repo_id, path in of_version.items()},
        total=sum(manifest.plain_size for manifest in manifests),
        fetched=job.fetcher.fetched,
        wire=job.fetcher.wire,
        seconds=time.monotonic() - begun,
        changed=job.changed or bool(filled and (filled.linked or filled.removed)),
        dry_run=dry_run,
        reused=sum(job.reused.values()),
        reused_from={str(seed): size for seed, size in job.reused.items()},
        second_requests=job.fetcher.second,
        versions=tuple(
            RestoredVersion(version.exact, of_version, version.manifest.plain_size)
            for version, of_version in zip(versions, snapshots, strict=True)
        ),
        folder=Path(folder.path) if folder else None,
        files=filled.files if filled else {},
        linked=filled.linked if filled else 0,
        removed=filled.removed if filled else (),
    )


def _snapshots(manifest: Manifest, dirs: config.CacheDirs | None) -> dict[str, Path]:
    """Return the snapshot directory of each repo in a cache; none without a cache."""
    if dirs is None:
        return {}
    return {
        repo.repo_id: RepoCache(dirs.hub, repo.repo_type, repo.repo_id).root / "snapshots" / repo.commit
        for repo in manifest.repos
    }


def _cache_to_take_from(cache_dir: str | Path | None) -> config.CacheDirs | None:
    """Return the cache that may hold chunks for a folder; None for a user without one."""
    try:
        return config.cache_dirs(cache_dir)
    except InputError:
        if cache_dir:
            raise
        return None
