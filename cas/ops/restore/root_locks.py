"""The locks that restores take on the directories they write to, so that one restore waits for another's work."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cas import events
from cas.local import locks
from cas.local.hf_cache import PRIVATE
from cas.local.targets import PART_DIRECTORY, Target


class RootLocks(NamedTuple):
    """The outcome of locking every root.

    Attributes:
        all_held: whether we hold the lock of every root: then no other restore is at work, and the owners of part files
            that lie there are gone.
        locks_work: False when locks do not work below some root.
    """

    all_held: bool
    locks_work: bool


@contextlib.contextmanager
def hold_root_locks(targets: Sequence[Target], listen: events.Listener) -> Iterator[RootLocks]:
    """Hold the lock of every root of `targets` for the time of the block.

    A restore that works below one of them is waited for, as long as its part files change. Roots are locked in the
    order of their paths, so two restores never wait for each other.
    """
    lock_files = {
        target.root: (target.repo.restore_lock(), target.repo.hub)
        if target.repo
        else (target.root / PRIVATE / "cas.lock", target.root)
        for target in targets
    }
    with contextlib.ExitStack() as stack:
        results: list[bool | None] = []
        for root, (lock_file, below) in sorted(lock_files.items()):

            def on_wait(root: Path = root) -> None:
                listen(events.Noted(f"another restore is working on {root}: waiting for it"))

            lock = locks.hold_lock(lock_file, below, functools.partial(_progress, root), on_wait)
            results.append(stack.enter_context(lock))
        yield RootLocks(all(results), None not in results)


def restore_progress(targets: Sequence[Target]) -> list[object]:
    """Return a value that changes while other restores write below the roots of `targets`, and when they end."""
    return [_progress(root) for root in sorted({target.root for target in targets})]


def _progress(root: Path) -> object:
    try:
        paths = [*(root / PRIVATE).iterdir(), *root.joinpath(*PART_DIRECTORY).iterdir()]
        return sorted((path.name, path.stat().st_mtime_ns) for path in paths)
    except OSError:
        return None
