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

# A lock call that takes longer is taken to hang (a dead NFS lock manager).
_HANGS = 5.0
_POLL = 0.2
# Nothing moving for this long: its holder is stuck, or on another machine whose lock outlived it.
_STUCK = 30.0


class Lock:
    """One lock file; not reentrant."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def try_acquire(self) -> bool | None:
        """True when held now, False when somebody else holds it, None when locks do not work here."""
        answer: list[bool | None] = []
        thread = threading.Thread(target=lambda: answer.append(self._acquire()), daemon=True)
        thread.start()
        thread.join(_HANGS)
        return answer[0] if answer else None

    def _acquire(self) -> bool | None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError:
            os.close(fd)
            return None
        self._fd = fd
        return True

    def release(self) -> None:
        """Lets go; the file stays, as removing it would break the lock for whoever just opened it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextlib.contextmanager
def held(path: Path, progress: Callable[[], object], waiting: Callable[[], None]) -> Iterator[bool]:
    """Holds the lock at `path` if it can be had; yields whether it is held.

    progress: a value that changes while the present holder works; when it stays the same for 30 s we go
    on without the lock. waiting: called once when somebody else holds it.
    """
    lock = Lock(path)
    got = lock.try_acquire()
    if got is False:
        waiting()
        seen, since = progress(), time.monotonic()
        while got is False and time.monotonic() - since < _STUCK:
            time.sleep(_POLL)
            got = lock.try_acquire()
            if (now := progress()) != seen:
                seen, since = now, time.monotonic()
    try:
        yield got is True
    finally:
        lock.release()
