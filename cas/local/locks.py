"""Advisory locks that save bandwidth and never decide correctness: where locks are broken, work is done twice.

A lock is flock(2) on the file that huggingface_hub locks too, so its download waits for us and then finds the blob. On
network volumes flock may succeed for everyone, fail, or hang; callers get an answer in each case (decision 8).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cas.errors import CacheError
from cas.local.directory import Directory

# Seconds after which a lock call counts as hanging (a dead NFS lock manager).
_CALL_TIMEOUT = 5.0
_POLL_INTERVAL = 0.2
# Seconds without progress after which we go on without the lock: its holder is stuck, or the lock has outlived the
# machine of its holder.
_STUCK_AFTER = 30.0


class Lock:
    """One lock file and, once acquired, the lock on it; not reentrant.

    Attributes:
        path: the lock file.
    """

    def __init__(self, path: Path, below: Path | None = None, *, shared: bool = False) -> None:
        """Name the lock file; it is made when the lock is first tried.

        Args:
            path: the lock file.
            below: follow no symlink between this directory and the lock file; by default the file's own directory.
            shared: any number may hold the lock at once, and nobody who wants it alone.
        """
        self._kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self.path, self._root = path, below or path.parent
        self._components = path.relative_to(self._root).parts
        self._fd: int | None = None
        self._guard = threading.Lock()
        self._abandoned = False

    def try_acquire(self) -> bool | None:
        """Try to acquire the lock without waiting for another holder.

        flock runs in a thread of its own, which is given up when the call hangs.

        Returns:
            True when we hold the lock now, False when somebody else does, None when locks do not work here.
        """
        result: list[bool | None] = []
        thread = threading.Thread(target=lambda: result.append(self._acquire()), daemon=True)
        thread.start()
        thread.join(_CALL_TIMEOUT)
        with self._guard:
            if not result and self._fd is None:
                # If the call returns after all, its thread must release the lock: nobody else will.
                self._abandoned = True
                return None
            return result[0] if result else True

    def _acquire(self) -> bool | None:
        try:
            fd = self._open()
        except (OSError, CacheError):
            return None
        try:
            fcntl.flock(fd, self._kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError:
            os.close(fd)
            return None
        with self._guard:
            if self._abandoned:
                os.close(fd)
                return None
            self._fd = fd
            return True

    def _open(self) -> int:
        *parents, name = self._components
        try:
            with Directory.open(self._root, parents) as directory, directory.file(name, os.O_RDWR | os.O_CREAT) as fd:
                return os.dup(fd)
        except CacheError:
            if self._kind != fcntl.LOCK_SH:
                raise
            # Who may only read the directory can share a lock that is there, and must, to be seen by those who write.
            with (
                Directory.open(self._root, parents, create=False) as directory,
                directory.file(name, os.O_RDONLY) as fd,
            ):
                return os.dup(fd)

    def descriptor(self) -> int | None:
        """Return the open descriptor of the lock file while we hold the lock; the lock ends with its last copy."""
        return self._fd

    def release(self) -> None:
        """Release the lock, if we hold it.

        The file stays: removing it would break the lock of a process that has just opened it.
        """
        with self._guard:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None


@contextlib.contextmanager
def hold_lock(
    path: Path, below: Path, progress: Callable[[], object], on_wait: Callable[[], None]
) -> Iterator[bool | None]:
    """Hold the lock at `path` for the time of the block, after waiting for its holder as long as that one works.

    Args:
        path: the lock file.
        below: as for Lock.
        progress: returns a value that changes while the present holder works. When the value stays the same for 30 s,
            the block runs without the lock.
        on_wait: called once when somebody else holds the lock.

    Yields:
        True when the lock is held, False when its holder was given up, None when locks do not work here.
    """
    lock = Lock(path, below)
    acquired = lock.try_acquire()
    if acquired is False:
        on_wait()
        last, since = progress(), time.monotonic()
        while acquired is False and time.monotonic() - since < _STUCK_AFTER:
            time.sleep(_POLL_INTERVAL)
            acquired = lock.try_acquire()
            if (now := progress()) != last:
                last, since = now, time.monotonic()
    try:
        yield acquired
    finally:
        lock.release()
