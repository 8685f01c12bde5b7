"""Operations on files by descriptor (read, write, clone, sync), free space, and errors of the disk in the user's terms.

Writes below a cache's root need a directory that was opened without following symlinks: cas/local/directory.py.
"""

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
    """Make a file or directory durable (fsync).

    Returns:
        False where the file system offers no fsync.

    Raises:
        OSError: fsync failed, so data may be lost.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno in _FSYNC_UNSUPPORTED:
            return False
        raise
    return True


def write_all(fd: int, data: Buffer, offset: int | None = None) -> None:
    """Write all of `data`, at `offset` (bytes) or else at the descriptor's position."""
    view = memoryview(data)
    while view:
        done = os.write(fd, view) if offset is None else os.pwrite(fd, view, offset)
        view = view[done:]
        offset = None if offset is None else offset + done


def start_writing_out(fd: int, offset: int, size: int) -> None:
    """Make the kernel begin to write these bytes to disk now, so that the fsync that follows has little to wait for.

    On Linux, POSIX_FADV_DONTNEED starts the write of dirty pages (mm/fadvise.c) and leaves them in the page cache.
    """
    if sys.platform == "linux":
        os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def open_for_reading(path: Path) -> Iterator[int]:
    """Open a file for reading, following symlinks, and yield its descriptor; raises OSError.

    O_NONBLOCK: opening a named pipe returns at once instead of waiting for a writer.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


def clone(source: int, target: int) -> bool:
    """Make the file `target` a clone of `source`: both share their bytes until one of them is written to.

    This is Linux's ioctl FICLONE (linux/fs.h).

    Returns:
        False where the file system has no clones (XFS and Btrfs have them).

    Raises:
        OSError: the disk is full.
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
    """Return whether files in the directory `beside` can be clones of `source`.

    The trial clone is a file without a name (O_TMPFILE), so it vanishes when it is closed.
    """
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
    """Fill `view` with the bytes from `offset` on; return how many were read, fewer where the file ends."""
    done = 0
    while done < len(view) and (got := os.preadv(fd, [view[done:]], offset + done)):
        done += got
    return done


def free_bytes(path: Path) -> int:
    """Return the free space, in bytes, that ordinary users have on the file system of `path`."""
    with disk_errors(path):
        stats = os.statvfs(path)
        return stats.f_bavail * stats.f_frsize


def nearest_existing(path: Path) -> Path:
    """Return `path`, or its nearest parent that exists and can be seen."""
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return path


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether the directory entry `path` lies below `folder`, once the symlinks on the way to it are resolved.

    The entry itself is not resolved: to remove a symlink is to remove nothing else.
    """
    parent, top = os.path.realpath(path.parent), os.path.realpath(folder)
    return path.name not in ("", ".", "..") and os.path.commonpath((parent, top)) == top


def is_file(stats: os.stat_result | None) -> bool:
    """Return whether `stats` are those of a regular file; None stands for an absent one."""
    return stats is not None and stat.S_ISREG(stats.st_mode)


@contextlib.contextmanager
def disk_errors(path: Path, otherwise: Callable[[str], str] | None = None) -> Iterator[None]:
    """Turn an OSError into an error that names the path and tells the user what to do.

    FileNotFoundError passes unchanged: callers treat an absent file as a case of its own.

    Args:
        path: what the operation is about, for the message.
        otherwise: makes the message of an error that has none here from the system's words.

    Raises:
        DiskFull: the disk or the quota is full.
        CacheError: any other OSError.
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
