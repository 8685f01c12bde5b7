"""File operations of this machine: reading, writing, cloning and syncing by descriptor, and what its errors mean."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cas.errors import NO_PERMISSION, NO_SPACE, CacheError, DiskFull
from cas.formats.digest import Buffer

_FICLONE = 0x40049409

_FSYNC_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def sync(fd: int) -> bool:
    """fsync; False where the file system does not offer it. Raises OSError when it fails: data may be lost."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno in _FSYNC_UNSUPPORTED:
            return False
        raise
    return True


def write_all(fd: int, data: Buffer, offset: int | None = None) -> None:
    """Writes all of `data`, at `offset` or at the descriptor's position."""
    view = memoryview(data)
    while view:
        done = os.write(fd, view) if offset is None else os.pwrite(fd, view, offset)
        view = view[done:]
        offset = None if offset is None else offset + done


def start_writing_out(fd: int, offset: int, size: int) -> None:
    """Has the kernel begin to write these bytes to disk, so that little is left for fsync to wait for.

    On Linux this is what POSIX_FADV_DONTNEED does to dirty pages (mm/fadvise.c); they stay in the page cache.
    """
    if sys.platform == "linux":
        os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def open_for_reading(path: Path) -> Iterator[int]:
    """A descriptor to read a file by, wherever its path leads; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


def clone(source: int, target: int) -> bool:
    """Makes a file share the bytes of another, copied on write; False where the file system cannot (XFS, Btrfs can).

    The ioctl FICLONE of Linux (linux/fs.h).
    """
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        return False
    return True


def can_clone(source: Path, beside: Path) -> bool:
    """Whether files in the folder `beside` can be clones of `source`; tried with a file that never has a name."""
    if sys.platform != "linux":
        return False
    try:
        with open_for_reading(source) as fd:
            trial = os.open(beside, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC)
            try:
                return clone(fd, trial)
            finally:
                os.close(trial)
    except OSError:
        return False


def read_at(fd: int, view: memoryview, offset: int) -> int:
    """Fills `view` from `offset` on as far as the file goes; the bytes read."""
    done = 0
    while done < len(view) and (got := os.preadv(fd, [view[done:]], offset + done)):
        done += got
    return done


def free_bytes(path: Path) -> int:
    """Space for ordinary users on the file system of `path`."""
    with disk_errors(path):
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize


def nearest_existing(path: Path) -> Path:
    """`path`, or its nearest parent that can be seen."""
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return path


def is_file(found: os.stat_result | None) -> bool:
    """Whether a stat says an ordinary file."""
    return found is not None and stat.S_ISREG(found.st_mode)


@contextlib.contextmanager
def disk_errors(path: Path, otherwise: Callable[[str], str] | None = None) -> Iterator[None]:
    """Turns an operating system's error into one that names the path and the way out.

    otherwise: the message for an error without one of its own, given the system's words.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFull(
                f"no room left for {path} ({error.strerror}): free some space, or choose another --cache-dir"
            ) from error
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise CacheError(
                f"{path} is a symlink or a file where a directory belongs: remove it and restore again"
            ) from error
        if error.errno in (errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY):
            raise CacheError(
                f"{path} is in the way, and is not what belongs there: remove it and restore again"
            ) from error
        if error.errno in NO_PERMISSION:
            raise CacheError(
                f"{path} cannot be written ({error.strerror}): check its owner and mode, or choose another --cache-dir"
            ) from error
        words = error.strerror or str(error)
        raise CacheError(otherwise(words) if otherwise else f"{path}: {words}") from error
