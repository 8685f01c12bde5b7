"""Advisory locks that save bandwidth and never decide correctness: broken ones cost time, not bytes.

flock(2) on the files huggingface_hub locks too, so that it waits for us and finds the blob. On network
volumes flock may succeed for everyone, fail, or hang; each is survived.
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

# A lock call that takes longer is taken to hang (a dead NFS lock manager).
_CALL_TIMEOUT = 5.0
_POLL_INTERVAL = 0.2
# Nothing moving for this long: its holder is stuck, or on another machine whose lock outlived it.
_STUCK_AFTER = 30.0


class Lock:
    """One lock file; not reentrant."""

    def __init__(self, path: Path, below: Path | None = None) -> None:
        """below: follow no symlink between this folder and the lock file; by default its own folder."""
        self._root = below or path.parent
        self._parts = path.relative_to(self._root).parts
        self._fd: int | None = None
        self._guard = threading.Lock()
        self._abandoned = False

    def try_acquire(self) -> bool | None:
        """True when held now, False when somebody else holds it, None when locks do not work here."""
        answer: list[bool | None] = []
        thread = threading.Thread(target=lambda: answer.append(self._acquire()), daemon=True)
        thread.start()
        thread.join(_CALL_TIMEOUT)
        with self._guard:
            if not answer and self._fd is None:
                # Whenever the call comes back, nobody will be there to let go of what it got.
                self._abandoned = True
                return None
            return answer[0] if answer else True

    def _acquire(self) -> bool | None:
        try:
            fd = self._open()
        except (OSError, CacheError):
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        *folders, name = self._parts
        with Directory.open(self._root, folders) as folder, folder.file(name, os.O_RDWR | os.O_CREAT) as fd:
            return os.dup(fd)

    def release(self) -> None:
        """Lets go; the file stays, as removing it would break the lock for whoever just opened it."""
        with self._guard:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None


@contextlib.contextmanager
def hold_lock(
    path: Path, below: Path, progress: Callable[[], object], waiting: Callable[[], None]
) -> Iterator[bool | None]:
    """Holds the lock at `path` if it can be had; yields True when it is held, None when locks do not work there.

    below: as for Lock. progress: a value that changes while the present holder works; when it stays the same
    for 30 s we go on without the lock. waiting: called once when somebody else holds it.
    """
    lock = Lock(path, below)
    got = lock.try_acquire()
    if got is False:
        waiting()
        seen, since = progress(), time.monotonic()
        while got is False and time.monotonic() - since < _STUCK_AFTER:
            time.sleep(_POLL_INTERVAL)
            got = lock.try_acquire()
            if (now := progress()) != seen:
                seen, since = now, time.monotonic()
    try:
        yield got
    finally:
        lock.release()
