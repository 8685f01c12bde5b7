"""The locks under which huggingface_hub downloads blobs: while we hold one it waits, then finds the blob."""

from __future__ import annotations

import threading

from cas.local.locks import Lock
from cas.local.targets import Target

# A restore of thousands of files must not run out of file descriptors; a blob without its lock may be
# downloaded twice, and is right all the same.
_AT_ONCE = 16


class BlobLocks:
    """The blob locks of one restore; safe to use from several threads."""

    def __init__(self, *, work: bool) -> None:
        """work: whether locks work here; where they do not (a dead lock manager), each try may take seconds."""
        self._work = work
        self._held: dict[Target, Lock] = {}
        self._guard = threading.Lock()

    def try_acquire(self, target: Target) -> None:
        """Takes the lock of a target in a repo, if that takes no waiting."""
        if target.repo is None or not self._work or len(self._held) >= _AT_ONCE:
            return
        lock = Lock(target.repo.blob_lock(target.components[-1]), target.repo.hub)
        got = lock.try_acquire()
        if got is None:
            self._work = False
        if got:
            with self._guard:
                self._held[target] = lock

    def release(self, target: Target) -> None:
        """Lets go of a target's lock, if it is held."""
        with self._guard:
            lock = self._held.pop(target, None)
        if lock:
            lock.release()

    def release_all(self) -> None:
        """Lets go of every lock."""
        for target in list(self._held):
            self.release(target)
