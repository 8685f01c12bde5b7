"""A version in use: held against `cas prune`, and seen through a view of its own.

Order of steps:
    1. restore the version
    2. hold it; if a prune has removed it meanwhile, begin again
    3. make its view, or mend it; if another restore has replaced one of its plain files meanwhile, begin again

Why in this order: a hold cannot be had of what the register does not know, and a view is made of what is here. Nothing
of the version is removed from step 2 on, so whatever step 3 links to stays.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cas import config, events, host
from cas.config import CacheDirs
from cas.errors import CacheError, DiskFull
from cas.local.environment import client_variables
from cas.local.register import Hold, Register
from cas.local.register_entry import Entry, entry_of
from cas.local.verified import VerifiedFiles
from cas.local.view import NoView, View
from cas.ops.restore.restorer import Restored, restore
from cas.refs.reference import Resolved
from cas.store.store import Store, open_store

_MAX_TRIES = 3


@dataclass(frozen=True, slots=True)
class InUse:
    """A version that is held, and where clients find it.

    Attributes:
        restored: what the restore did.
        hub: the hub cache to use: the version's view, or the whole cache where there can be no view.
        variables: the variables under which clients find the version.
        hold: keeps the version on this machine.
    """

    restored: Restored
    hub: Path
    variables: dict[str, str]
    hold: Hold


def restore_for_use(restore_once: Callable[[], Restored], dirs: CacheDirs, listen: events.Listener) -> InUse:
    """Restore a version, hold it, and make its view.

    Args:
        restore_once: restores the version; called again when a prune or a restore got in between.
        dirs: the cache that it restores into.
        listen: hears a warning when there can be no view.

    Raises:
        CasError: what `restore_once` raises.
        CacheError: other processes keep removing or replacing the version, or something is in the view's way.
    """
    for attempt in range(_MAX_TRIES):
        done = restore_once()
        if in_use := _use(done, dirs, listen, is_last=attempt == _MAX_TRIES - 1):
            return in_use
    raise CacheError(
        f"other processes keep removing or replacing files of {done.reference} in {dirs.hub}: "
        "run the command again when they are done"
    )


def view_variables(version: Resolved, dirs: CacheDirs, listen: events.Listener) -> dict[str, str] | None:
    """Return the variables under which clients find a version that is on this machine, through its view.

    Nothing is held: `cas prune` may remove the version as soon as this returns.

    Args:
        version: the version.
        dirs: the cache.
        listen: hears a warning when there can be no view.

    Returns:
        None when a file of the version is not in the cache, or a plain file is that of another version.

    Raises:
        CacheError: something is in the view's way.
    """
    entry = entry_of(version.exact, version.manifest, dirs)
    if not all(os.path.exists(path) for path in _paths(entry, dirs)) or _plain_files_are_others(entry, dirs):
        return None  # and the view of those who use the version now stays what it is
    register = Register(dirs.hub)
    with contextlib.suppress(DiskFull):
        try:
            register.add(entry)
            register.touch(entry.reference)
        except CacheError:
            if register.can_be_written():
                raise
    hold = register.hold(version.exact)
    try:
        hub, torch = _view(entry, dirs, listen)
    finally:
        if hold:
            hold.release()
    return _variables(hub, torch, dirs)


@contextlib.contextmanager
def view(
    reference: str | Resolved,
    store: Store | str | None = None,
    *,
    cache_dir: str | Path | None = None,
    seeds: Iterable[str | Path] = (),
    verify: bool = False,
    limits: host.Limits | None = None,
    on_event: events.Listener = events.log,
) -> Iterator[Path]:
    """Restore a version, and yield a hub cache in which clients find this version, whatever is restored beside it.

    Give it to clients as their `cache_dir`: in it, `main` (or what else the version was published as) names this
    version. Until the block ends, `cas prune` leaves the version alone.

    Args:
        reference: as for `restore`.
        store: an open store, a URL, or None for the default.
        cache_dir: the hub cache to restore into; by default HF_HUB_CACHE.
        seeds: as for `restore`.
        verify: as for `restore`.
        limits: bounds of memory, requests and threads.
        on_event: hears what happens; a warning, if the file system has no symlinks and the hub cache itself is yielded.

    Raises:
        CasError: as for `restore`.
    """
    opened, chosen = open_store(store), list(seeds)
    in_use = restore_for_use(
        lambda: restore(
            reference, opened, cache_dir=cache_dir, seeds=chosen, verify=verify, limits=limits, on_event=on_event
        ),
        config.cache_dirs(cache_dir),
        on_event,
    )
    try:
        yield in_use.hub
    finally:
        in_use.hold.release()


def _use(done: Restored, dirs: CacheDirs, listen: events.Listener, *, is_last: bool) -> InUse | None:
    """Hold a restored version and make its view; None when other processes changed it since it was restored.

    Args:
        done: what the restore did.
        dirs: the cache.
        listen: hears a warning when there can be no view.
        is_last: do without a view if the register still lacks the version.
    """
    register = Register(dirs.hub)
    entry = register.entry(done.reference)
    if entry is None:
        if register.can_be_written() and not is_last:
            return None
        # A cache that takes no register has no versions to prune, and nowhere for a view.
        listen(_no_view(done.reference, dirs, "the cache cannot be written"))
        return InUse(done, dirs.hub, _variables(dirs.hub, None, dirs), Hold(None))
    hold = register.hold(done.reference)
    if hold is None:
        return None
    try:
        hub, torch = _view(entry, dirs, listen)
        if torch and not _plain_files_are_right(entry, dirs):
            hold.release()
            return None
    except BaseException:
        hold.release()
        raise
    return InUse(done, hub, _variables(hub, torch, dirs), hold)


def _view(entry: Entry, dirs: CacheDirs, listen: events.Listener) -> tuple[Path, Path | None]:
    """Make the view of a version; return its hub cache and its TORCH_HOME, or those of all where it cannot be made."""
    view = View(dirs, entry)
    try:
        view.prepare()
    except NoView as error:
        listen(_no_view(entry.reference, dirs, str(error)))
        return dirs.hub, None
    return view.hub, view.torch


def _no_view(reference: str, dirs: CacheDirs, why: str) -> events.Warned:
    return events.Warned(
        f"{reference} gets no view of its own ({why}): programs use {dirs.hub} itself, where a restore may move main"
    )


def _paths(entry: Entry, dirs: CacheDirs) -> Iterator[Path]:
    """Yield each path by which clients find a file of a version in the cache."""
    for repo in entry.repos:
        snapshot = repo.cache(dirs.hub).root / "snapshots" / repo.commit
        yield from (snapshot / path for path in repo.files)
    yield from (dirs.home / path for path in entry.files)


def _plain_files_are_right(entry: Entry, dirs: CacheDirs) -> bool:
    """Return whether the plain files that a view has just been linked to are still those of its version."""
    record = VerifiedFiles(dirs.home)
    return all(record.valid_stamp(tuple(path.split("/")), content) for path, content in entry.files.items())


def _plain_files_are_others(entry: Entry, dirs: CacheDirs) -> bool:
    """Return whether the record says of a plain file that it is another version's, or was changed."""
    record = VerifiedFiles(dirs.home) if entry.files else None
    files = ((tuple(path.split("/")), content) for path, content in entry.files.items())
    return any(record.names(path) and not record.valid_stamp(path, content) for path, content in files if record)


def _variables(hub: Path, torch: Path | None, dirs: CacheDirs) -> dict[str, str]:
    variables = client_variables(CacheDirs(hub, dirs.home))
    return {**variables, "TORCH_HOME": str(torch)} if torch else variables
