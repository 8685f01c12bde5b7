"""The locks under which huggingface_hub downloads blobs: while we hold one, it waits, and then finds the blob."""

from __future__ import annotations

import threading

from cas.local.locks import Lock
from cas.local.targets import Target

# Locks held at once, so that a restore of thousands of files does not run out of file descriptors. A blob whose lock
# we do not hold may be downloaded a second time, and is right all the same.
_MAX_LOCKS = 16


class BlobLocks:
    """The blob locks of one restore; safe to use from several threads."""

    def __init__(self, *, locks_work: bool) -> None:
        """Start without a lock.

        Args:
            locks_work: whether locks work here. Where they do not (a dead lock manager), each try may take seconds, so
                none is made.
        """
        self._locks_work = locks_work
        self._locks: dict[Target, Lock] = {}
        self._guard = threading.Lock()

    def try_acquire(self, target: Target) -> None:
        """Acquire the lock of a target in a repo, if nobody else holds it."""
        if target.repo is None or not self._locks_work or len(self._locks) >= _MAX_LOCKS:
            return
        lock = Lock(target.repo.blob_lock(target.components[-1]), target.repo.hub)
        acquired = lock.try_acquire()
        if acquired is None:
            self._locks_work = False
        if acquired:
            with self._guard:
                self._locks[target] = lock

    def release(self, target: Target) -> None:
        """Release the lock of a target, if we hold it."""
        with self._guard:
            lock = self._locks.pop(target, None)
        if lock:
            lock.release()

    def release_all(self) -> None:
        """Release every lock that we hold."""
        for target in list(self._locks):
            self.release(target)
