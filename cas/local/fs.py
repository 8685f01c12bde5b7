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
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from pathlib import Path

from cas.errors import NO_FSYNC, NO_PERMISSION, NO_SPACE, CacheError, DiskFull, InputError
from cas.formats.digest import Buffer
from cas.host import WRITE_AT_ONCE

_FICLONE = 0x40049409


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
        if error.errno in NO_FSYNC:
            return False
        raise
    return True


def write_all(fd: int, data: Buffer, offset: int | None = None) -> None:
    """Write all of `data`, at `offset` (bytes) or else at the descriptor's position."""
    view = memoryview(data)
    while view:
        piece = view[:WRITE_AT_ONCE]
        done = os.write(fd, piece) if offset is None else os.pwrite(fd, piece, offset)
        view = view[done:]
        offset = None if offset is None else offset + done


def start_writing_out(fd: int, offset: int, size: int) -> None:
    """Make the kernel begin to write these bytes to disk now, so that the fsync that follows has little to wait for.

    On Linux, POSIX_FADV_DONTNEED starts the write of dirty pages (mm/fadvise.c) and leaves them in the page cache.
    """
    if sys.platform == "linux":
        os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)


class NotAFile(OSError):
    """Something that is no regular file is where a file belongs: a directory, a named pipe, a socket, a device."""

    def __init__(self, path: str | Path) -> None:
        if os.path.isdir(path):
            super().__init__(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        else:
            super().__init__(errno.EEXIST, "it is no regular file", str(path))


class FileTooLarge(OSError):
    """A file is larger than anything that belongs there."""

    def __init__(self, path: str | Path, limit: int) -> None:
        super().__init__(errno.EFBIG, f"it is larger than {limit:,} bytes", str(path))


@contextlib.contextmanager
def open_for_reading(path: Path) -> Iterator[int]:
    """Open a regular file for reading, following symlinks, and yield its descriptor.

    Raises:
        NotAFile: there is something else. A device is not even opened, as that may have effects.
        OSError: the file cannot be opened.
    """
    if not is_file(os.stat(path)):
        raise NotAFile(path)
    # O_NONBLOCK: opening a named pipe that has just taken the file's place returns at once, without a writer.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        check_regular(fd, path)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def open_binary(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file as a Python file for reading, as `open_for_reading` does."""
    with open_for_reading(path) as fd, open(fd, "rb", closefd=False) as file:
        yield file


def may_be_there(path: str | Path) -> bool:
    """Return whether something has that path, or that cannot be found out: the read that follows reports the error."""
    try:
        os.lstat(path)
    except OSError as error:
        return not isinstance(error, FileNotFoundError | NotADirectoryError)
    return True


def read_bounded(path: Path, limit: int) -> bytes:
    """Return the content of a small file that others may have written.

    Every such file (a ref, a tree listing, a record, a lock file) is read by this function, so that whatever is in its
    place costs neither time without end nor memory without bound.

    Args:
        path: the file; symlinks are followed.
        limit: the most bytes that it may have.

    Raises:
        NotAFile: there is something else than a regular file.
        FileTooLarge: it has more bytes than `limit`.
        OSError: it cannot be read.
    """
    with open_for_reading(path) as fd:
        size = os.fstat(fd).st_size
        if size > limit:
            raise FileTooLarge(path, limit)
        # One byte more, and no more than that: the file may grow while it is read.
        data = bytearray(min(size + 4096, limit + 1))
        done = read_at(fd, memoryview(data), 0)
    if done > limit:
        raise FileTooLarge(path, limit)
    return bytes(memoryview(data)[:done])


def check_size(path: Path, limit: int | None = None) -> None:
    """Look at a file that another program is going to read.

    Args:
        path: the file; symlinks are followed.
        limit: the most bytes that it may have, None for any number.

    Raises:
        NotAFile: there is something else than a regular file.
        FileTooLarge: it has more bytes than `limit`.
        OSError: it cannot be looked at.
    """
    stats = os.stat(path)
    if not is_file(stats):
        raise NotAFile(path)
    if limit is not None and stats.st_size > limit:
        raise FileTooLarge(path, limit)


def check_regular(fd: int, path: str | Path) -> None:
    """Raise NotAFile unless a descriptor is that of a regular file; `path` is for the message."""
    if not is_file(os.fstat(fd)):
        raise NotAFile(path)


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


def check_name_encoding(paths: Iterable[str]) -> None:
    """Refuse names beyond ASCII where this process does not take file names for UTF-8, as manifests have them.

    A process whose locale is none of UTF-8 would read and write other names than those in the manifest.

    Args:
        paths: the paths of a version's files.

    Raises:
        InputError: a path is not ASCII, and file names are not UTF-8 here.
    """
    encoding = sys.getfilesystemencoding()
    if encoding == "utf-8":
        return
    if odd := next((path for path in paths if not path.isascii()), None):
        raise InputError(
            f"file {odd!a}: this process takes file names for {encoding}, and they are UTF-8: set PYTHONUTF8=1, or a "
            "locale such as LC_ALL=C.UTF-8"
        )


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
        # ENXIO: a named pipe without a reader, or a socket.
        if error.errno in (errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENXIO):
            raise CacheError(
                f"{path} is in the way, and is not what belongs there: remove it and restore again"
            ) from error
        if error.errno in NO_PERMISSION:
            raise CacheError(
                f"{path} cannot be written ({error.strerror}): check its owner and mode, or choose another --cache-dir"
            ) from error
        words = error.strerror or str(error)
        raise CacheError(otherwise(words) if otherwise else f"{path}: {words}") from error
