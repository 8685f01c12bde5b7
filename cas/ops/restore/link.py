"""The last steps of a restore, in the order in which a reader may trust them: links, trees, refs, record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cas import events
from cas.errors import CacheError, IntegrityError
from cas.formats.digest import hex_of
from cas.formats.manifest import Manifest, Repo
from cas.local import verified
from cas.local.directory import Directory, LinksUnsupported
from cas.local.fs import read_at, sync, write_all
from cas.local.hf_cache import RepoCache, tree_document, tree_entries
from cas.local.targets import PART_DIRECTORY, Target
from cas.local.verified import FileStamp, VerifiedFiles

Whole = dict[tuple[str, ...], FileStamp]


def finish(manifest: Manifest, hub: Path, whole: Mapping[Target, Whole], listen: events.Listener) -> None:
    """Makes every target visible under its names. whole: the verified files of each target.

    Writes nothing where all is as it should be. Raises CacheError.
    """
    told: set[str] = set()

    def listen_once(event: events.Event) -> None:
        if str(event) not in told:
            told.add(str(event))
            listen(event)

    for target, files in whole.items():
        for name in target.snapshot_paths:
            if not _shown(target, name, files):
                _show(target, name, files, listen_once)
    for repo in manifest.repos:
        cache = RepoCache(hub, repo.repo_type, repo.repo_id)
        _write_tree(cache, repo)
        for ref in repo.refs:
            _write_ref(cache, ref, repo.commit, listen)
    _write_records(whole, listen)


def _link(target: Target, name: tuple[str, ...]) -> str:
    return RepoCache.link_to_blob("/".join(name[2:]), target.components[-1])


def _shown(target: Target, name: tuple[str, ...], files: Whole) -> bool:
    """Whether the snapshot file `name` leads to verified bytes already."""
    if name in files:
        return True
    if target.components not in files:
        return False
    path = target.root.joinpath(*name)
    try:
        if path.is_symlink() and os.readlink(path) != _link(target, name):
            return False
        return os.path.samefile(path, target.path)
    except OSError:
        return False


def _show(target: Target, name: tuple[str, ...], files: Whole, listen: events.Listener) -> None:
    """Makes the snapshot file `name` a symlink, else a hard link, else a file of its own."""
    source = target.components if target.components in files else next(iter(files))
    with (
        Directory.open(target.root, name[:-1]) as parent,
        Directory.open(target.root, source[:-1]) as origin,
        Directory.open(target.root, PART_DIRECTORY) as scratch,
    ):
        if source == target.components:
            try:
                parent.symlink(_link(target, name), name[-1], scratch)
                return
            except LinksUnsupported:
                listen(events.Noted(f"{target.root} offers no symlinks"))
        try:
            parent.hardlink(origin, source[-1], name[-1], scratch)
        except LinksUnsupported:
            if source == target.components:
                # huggingface_hub moves a blob to its first name too: a copy would take the room twice.
                origin.rename(source[-1], parent, name[-1])
                del files[source]
            else:
                _copy(target, origin, source[-1], parent, name[-1], scratch)
        if seen := verified.stamp_of(parent.path / name[-1], target.content):
            files[name] = seen


def _copy(target: Target, origin: Directory, source: str, parent: Directory, name: str, scratch: Directory) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with scratch.temporary_name() as private:
        with origin.file(source, os.O_RDONLY) as old, scratch.file(private, flags) as new:
            for offset, chunk in target.chunk_offsets():
                buffer = bytearray(chunk.size)
                if read_at(old, memoryview(buffer), offset) != chunk.size or hex_of(buffer) != chunk.digest:
                    raise IntegrityError(f"{origin.path / source} changed while it was copied: restore again")
                write_all(new, memoryview(buffer))
            sync(new)
        scratch.rename(private, parent, name)


def _write_tree(cache: RepoCache, repo: Repo) -> None:
    """Lists the snapshot's files: ours, and those of an earlier listing that are really there."""
    snapshot = cache.root / "snapshots" / repo.commit
    ours = tree_entries({file.path: (file.size, file.blob) for file in repo.files})
    listed = cache.tree_listing(repo.commit)
    wanted = {path: entry for path, entry in listed.items() if path in ours or os.path.exists(snapshot / path)}
    for path, entry in ours.items():
        before = wanted.get(path)
        # What the hub said beside (a xet hash) stays.
        if not isinstance(before, dict) or not entry.items() <= before.items():
            wanted[path] = entry
    if wanted != listed:
        *folders, name = cache.tree_components(repo.commit)
        with Directory.open(cache.root, folders) as folder, Directory.open(cache.root, PART_DIRECTORY) as scratch:
            folder.write(name, tree_document(wanted), scratch)


def _write_ref(cache: RepoCache, ref: str, commit: str, listen: events.Listener) -> None:
    """Points a ref at the commit; without a newline, which huggingface_hub would take as part of it."""
    *folders, name = cache.ref_components(ref)
    path = cache.root.joinpath(*folders, name)
    try:
        before = path.read_bytes()
    except OSError:
        before = b""
    if before == commit.encode():
        return
    with Directory.open(cache.root, folders) as folder, Directory.open(cache.root, PART_DIRECTORY) as scratch:
        folder.write(name, commit.encode(), scratch)
    if before:
        moved = before.decode(errors="replace").strip()[:12]
        listen(events.Noted(f"{cache.repo_id}: {ref} moved from {moved} to {commit[:12]}"))


def _write_records(whole: Mapping[Target, Whole], listen: events.Listener) -> None:
    for root in {target.root for target in whole}:
        record = VerifiedFiles(root)
        files = {parts: seen for target, held in whole.items() if target.root == root for parts, seen in held.items()}
        if all(record.is_recorded(parts, seen) for parts, seen in files.items()):
            continue
        chunks = {target.content: target.chunks for target in whole if target.root == root}
        try:
            record.update(files, chunks)
        except CacheError as error:
            # The model is there and right; only the next restore will hash it again.
            listen(events.Warned(f"no record was written: {error}"))
