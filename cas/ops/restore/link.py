"""The last step of a restore: make complete files visible through snapshot links, tree listings and refs.

They are written in this order, so that a reader who follows a ref finds everything that it names. The record of
verified files comes last: it is written for files that have their final names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from cas import events
from cas.errors import CacheError, IntegrityError
from cas.formats.digest import hex_of
from cas.formats.manifest import Repo
from cas.local.directory import Directory, LinksUnsupported
from cas.local.fs import read_at, read_bounded, sync, write_all
from cas.local.hf_cache import RepoCache, tree_document, tree_entries
from cas.local.small_files import MAX_REF
from cas.local.targets import PART_DIRECTORY, Target
from cas.local.verified import FileStamp, Stamps, VerifiedFiles
from cas.ops.restore.registration import Registration


def make_visible(
    repos: Iterable[Repo],
    hub: Path,
    complete: Mapping[Target, Stamps],
    registration: Registration,
    listen: events.Listener,
) -> None:
    """Make every file of a restore visible to readers of the cache; write only what differs.

    Args:
        repos: the repos of the restored versions.
        hub: the hub cache.
        complete: the stamps of the verified files that hold each target; updated for files that are made or moved here.
        registration: enters the version, and the links that are made.
        listen: hears about file systems without symlinks and moved refs, and a warning when no record can be written.

    Raises:
        CacheError: the cache cannot be written.
        FileNotFoundError: a complete file has vanished.
    """
    heard: set[str] = set()

    def listen_once(event: events.Event) -> None:
        if str(event) not in heard:
            heard.add(str(event))
            listen(event)

    missing = [
        (target, path)
        for target, stamps in complete.items()
        for path in target.snapshot_paths
        if not _is_linked(target, path, stamps)
    ]
    registration.claim((target.root, path) for target, path in missing)
    for target, path in missing:
        _link(target, path, complete[target], listen_once)
    for repo in repos:
        cache = RepoCache(hub, repo.repo_type, repo.repo_id)
        _write_tree(cache, repo)
        for ref in repo.refs:
            _write_ref(cache, ref, repo.commit, registration, listen)
    write_records(complete, listen)
    registration.settle()
    registration.enter(used=True)


def _link_text(target: Target, snapshot_path: tuple[str, ...]) -> str:
    """Return what the symlink at a snapshot path must say."""
    return RepoCache.link_to_blob("/".join(snapshot_path[2:]), target.components[-1])


def _is_linked(target: Target, snapshot_path: tuple[str, ...], stamps: Stamps) -> bool:
    """Return whether a snapshot path leads to verified bytes already."""
    if snapshot_path in stamps:
        return True
    if target.components not in stamps:
        return False
    path = target.root.joinpath(*snapshot_path)
    try:
        if path.is_symlink() and os.readlink(path) != _link_text(target, snapshot_path):
            return False
        return os.path.samefile(path, target.path)
    except OSError:
        return False


def _link(target: Target, snapshot_path: tuple[str, ...], stamps: Stamps, listen: events.Listener) -> None:
    """Make a snapshot path a symlink to the blob, else a hard link, else a file of its own."""
    source = target.components if target.components in stamps else next(iter(stamps))
    *parents, name = snapshot_path
    with (
        Directory.open(target.root, parents) as parent,
        Directory.open(target.root, source[:-1]) as origin,
        Directory.open(target.root, PART_DIRECTORY) as scratch,
    ):
        if source == target.components:
            try:
                parent.symlink(_link_text(target, snapshot_path), name, scratch)
                return
            except LinksUnsupported:
                listen(events.Noted(f"{target.root} offers no symlinks"))
        try:
            parent.hardlink(origin, source[-1], name, scratch)
            stamps[snapshot_path] = stamps[source]
        except LinksUnsupported:
            if source == target.components:
                # Without links the blob is moved to its first snapshot path, as huggingface_hub does: a copy would need
                # the space twice.
                origin.rename(source[-1], parent, name)
                stamps[snapshot_path] = stamps.pop(source)
            else:
                stamps[snapshot_path] = _copy(target, origin, source[-1], parent, name, scratch)


def _copy(
    target: Target, origin: Directory, source: str, parent: Directory, name: str, scratch: Directory
) -> FileStamp:
    """Copy a file of the target, hashing every chunk on the way, and return the stamp of the copy.

    The stamp is taken before the copy gets its name: afterwards another program may write to it.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with scratch.temporary_name() as temporary:
        with origin.file(source, os.O_RDONLY) as old, scratch.file(temporary, flags) as new:
            for offset, chunk in target.chunk_offsets():
                buffer = bytearray(chunk.size)
                if read_at(old, memoryview(buffer), offset) != chunk.size or hex_of(buffer) != chunk.digest:
                    raise IntegrityError(f"{origin.path / source} changed while it was copied: restore again")
                write_all(new, memoryview(buffer))
            sync(new)
            stats = os.fstat(new)
        scratch.rename(temporary, parent, name)
    return FileStamp(target.content, stats.st_size, stats.st_mtime_ns)


def _write_tree(cache: RepoCache, repo: Repo) -> None:
    """Write the tree listing of a snapshot: the version's files, and those of an earlier listing that still exist."""
    snapshot = cache.root / "snapshots" / repo.commit
    ours = tree_entries({file.path: (file.size, file.blob) for file in repo.files})
    listed = cache.tree_listing(repo.commit)
    wanted = {path: entry for path, entry in listed.items() if path in ours or os.path.exists(snapshot / path)}
    for path, entry in ours.items():
        before = wanted.get(path)
        # Other fields of an entry that the hub wrote (a xet hash) are kept.
        if not isinstance(before, dict) or not entry.items() <= before.items():
            wanted[path] = entry
    if wanted != listed:
        *parents, name = cache.tree_components(repo.commit)
        with Directory.open(cache.root, parents) as directory, Directory.open(cache.root, PART_DIRECTORY) as scratch:
            directory.write(name, tree_document(wanted), scratch)


def _write_ref(cache: RepoCache, ref: str, commit: str, registration: Registration, listen: events.Listener) -> None:
    """Point a ref at the commit; without a newline, which huggingface_hub would take as part of the commit."""
    *parents, name = cache.ref_components(ref)
    path = cache.root.joinpath(*parents, name)
    try:
        before = read_bounded(path, MAX_REF)
    except OSError:
        before = b""
    if before == commit.encode():
        return
    with Directory.open(cache.root, parents) as directory, Directory.open(cache.root, PART_DIRECTORY) as scratch:
        directory.write(name, commit.encode(), scratch)
    if before:
        moved = before.decode(errors="replace").strip()
        if text := registration.describe_move(cache, ref, moved, commit):
            listen(events.Noted(text, important=True))
        else:
            listen(events.Noted(f"{cache.repo_id}: {ref} moved from {moved[:12]} to {commit[:12]}"))


def write_records(complete: Mapping[Target, Stamps], listen: events.Listener) -> None:
    """Record the verified files of each root, unless its record holds them already.

    Args:
        complete: the stamps of the verified files that hold each target.
        listen: hears a warning when no record can be written.
    """
    for root in {target.root for target in complete}:
        record = VerifiedFiles(root)
        of_root = [(target, stamps) for target, stamps in complete.items() if target.root == root]
        files = {components: stamp for _, stamps in of_root for components, stamp in stamps.items()}
        if all(record.is_recorded(components, stamp) for components, stamp in files.items()):
            continue
        try:
            record.update(files, {target.content: target.chunks for target, _ in of_root})
        except CacheError as error:
            # The version is complete and right without a record; only the next restore will hash its files again.
            listen(events.Warned(f"no record was written: {error}"))
