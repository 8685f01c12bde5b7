"""The mark of `cas prune` at work: by it a restore that found all files here, and took no lock, sees that some went.

    <hub>/.locks/.cas/prune/lock      held by the prune that is at work; at most one is
                           /at-work   there while it is, or since it was killed

The time of that directory changes when a prune begins and when it ends. A restore that reads the mark before its scan,
and the same mark after its links were made, has not overlapped with any prune.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cas import events
from cas.config import REGISTER
from cas.errors import CacheError
from cas.local.directory import Directory
from cas.local.locks import hold_lock

_FOLDER = (*REGISTER, "prune")
_MARK, _LOCK = "at-work", "lock"

Mark = tuple[int, bool] | None
"""The time of the mark's directory in nanoseconds, and whether a prune is at work; None if none ever was."""


def read_mark(hub: Path) -> Mark:
    """Return the mark of a hub cache."""
    folder = hub.joinpath(*_FOLDER)
    try:
        return os.stat(folder).st_mtime_ns, os.path.lexists(folder / _MARK)
    except OSError:
        return None


def wait_for_prune(hub: Path, listen: events.Listener) -> Mark:
    """Return the mark of a hub cache once no prune is at work; wait for one that is, and clear up after a killed one.

    Args:
        hub: the hub cache.
        listen: hears that another process is waited for.
    """
    mark = read_mark(hub)
    if mark is None or not mark[1]:
        return mark
    with contextlib.suppress(CacheError), _held(hub, listen) as alone:
        if alone:
            with Directory.open(hub, _FOLDER, create=False) as folder:
                folder.remove(_MARK)
    return read_mark(hub)


@contextlib.contextmanager
def marked(hub: Path, listen: events.Listener) -> Iterator[None]:
    """Set the mark for the time of the block, in which the caller may remove files.

    Args:
        hub: the hub cache.
        listen: hears that another prune is waited for.

    Raises:
        CacheError: another prune does not end, locks do not work here, or the cache cannot be written.
    """
    with _held(hub, listen) as alone:
        if not alone:
            why = (
                "locks do not work there" if alone is None else "another `cas prune` is at work there, and does not end"
            )
            raise CacheError(f"nothing can be removed from {hub} safely: {why}")
        with Directory.open(hub, _FOLDER) as folder:
            folder.touch(_MARK)
            os.utime(folder.path)  # the mark may have been there, left by a killed prune
            try:
                yield
            finally:
                folder.remove(_MARK)


def _held(hub: Path, listen: events.Listener) -> contextlib.AbstractContextManager[bool | None]:
    def on_wait() -> None:
        listen(events.Noted(f"`cas prune` is at work in {hub}: waiting for it", important=True))

    return hold_lock(hub.joinpath(*_FOLDER, _LOCK), hub, lambda: _progress(hub), on_wait)


def _progress(hub: Path) -> object:
    """Return a value that changes while a prune removes versions."""
    try:
        return sorted(os.listdir(hub.joinpath(*REGISTER)))
    except OSError:
        return None
